"""Where a setting's value came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Origin:
    """A value and where it came from."""

    value: Any
    source: str
