"""Instants: whole milliseconds since the epoch internally, RFC 3339 in UTC externally."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


_FIRST: Final = -62_135_596_800_000
_LAST: Final = 253_402_300_799_999
"""Earliest and latest time that can be shown (years 1 to 9999); a time beyond them is shown as the nearer one."""
_FRACTIONS: Final = [f".{number:03}Z" for number in range(1_000)]
_REMEMBERED: Final = 4_096
_seconds: Final[dict[int, str]] = {}
_days: Final[dict[int, str]] = {}
"""Cached texts of seconds and days: records that arrive together share them, and formatting a datetime is slow."""
_IN_SENTENCE: Final = re.compile(r"(?:(?<=\S )|(?<=\())(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{3}Z(?!\w)")
"""An instant as ``to_text`` writes it, within a sentence; a column that begins with one stays as it is."""


def to_text(milliseconds: int) -> str:
    """Format milliseconds like ``2025-11-19T14:30:00.000Z``."""
    if not _FIRST <= milliseconds <= _LAST:
        milliseconds = _FIRST if milliseconds < 0 else _LAST
    second = milliseconds // 1_000
    text = _seconds.get(second)
    if text is None:
        if len(_seconds) >= _REMEMBERED:
            _seconds.clear()
        text = _seconds[second] = (_EPOCH + timedelta(seconds=second)).isoformat()[:-6]
    return text + _FRACTIONS[milliseconds - second * 1_000]


def readable(text: str) -> str:
    """Return a text for people with the instants in its sentences like ``2025-11-19 14:30:00 UTC``.

    The engine's sentences have milliseconds, because programs read them in JSON too.
    """
    return _IN_SENTENCE.sub(r"\1 \2 UTC", text) if "T" in text else text


def from_text(text: str) -> int:
    """Parse RFC 3339 into milliseconds; raise ``ValueError`` if there is no such time.

    A leap second, ``23:59:60``, becomes the last millisecond before midnight.
    """
    if text[17:19] == "60":
        text = f"{text[:17]}59.999Z"
    return (datetime.fromisoformat(text).astimezone(UTC) - _EPOCH) // _MILLISECOND


def day(milliseconds: int) -> str:
    """Format the day for use in ids, like ``20251119``."""
    number = min(max(milliseconds, _FIRST), _LAST) // 86_400_000
    text = _days.get(number)
    if text is None:
        if len(_days) >= _REMEMBERED:
            _days.clear()
        text = _days[number] = (_EPOCH + timedelta(days=number)).strftime("%Y%m%d")
    return text
