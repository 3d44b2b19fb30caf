"""The version of the rules: equal versions produce equal bytes from equal logs."""

from typing import Final

ENGINE_VERSION: Final = "2"
"""Grows whenever a fact or a row may differ from before; facts carry it."""
