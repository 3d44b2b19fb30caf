"""The version of the engine: equal versions produce equal bytes from equal logs."""

from typing import Final

ENGINE_VERSION: Final = "10"
"""Increases whenever facts or rows may differ from those of the previous version; facts carry the version."""
