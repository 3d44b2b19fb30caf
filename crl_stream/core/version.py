"""The version of the rules: equal versions reach equal bytes from equal logs."""

from typing import Final

ENGINE_VERSION: Final = "2"
"""Grows whenever a fact or a row may come out otherwise than before; facts carry it."""
