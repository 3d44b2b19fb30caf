"""Instants: whole milliseconds since the epoch inside, RFC 3339 in UTC outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_text(milliseconds: int) -> str:
    """``2025-11-19T14:30:00.000Z``."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def from_text(text: str) -> int:
    """Milliseconds of an RFC 3339 text; ``ValueError`` when there is no such instant."""
    return (datetime.fromisoformat(text).astimezone(UTC) - _EPOCH) // _MILLISECOND


def day(milliseconds: int) -> str:
    """``20251119``: the day that ids carry, for people."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).strftime("%Y%m%d")
