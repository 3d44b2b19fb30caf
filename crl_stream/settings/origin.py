"""Where a setting's value came from."""

from __future__ import annotations

from typing import Any

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """A value and where it came from."""

    value: Any
    source: str
    line: int | None = None
    """Line of the setting in the settings file."""

    @property
    def place(self) -> str:
        """Return the source and line, for an error message."""
        return f"{self.source}, line {self.line}" if self.line else self.source
