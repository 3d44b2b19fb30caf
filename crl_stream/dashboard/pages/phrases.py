"""Times, ages and numbers as the pages show them; all times are UTC, in milliseconds since the epoch."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

from crl_stream.core.instant import from_text, to_text

_DAY: Final = 86_400_000


def age(milliseconds: int) -> str:
    """Return an age in one unit: ``5 s``, ``12 min``, ``3 h``, ``2 d``; ``app.js`` counts in the same way."""
    seconds = max(0, milliseconds // 1_000)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def left(milliseconds: int) -> str:
    """Return how long something still lasts: ``29 d left``, ``no time left``."""
    return f"{age(milliseconds)} left" if milliseconds > 0 else "no time left"


def clock(milliseconds: int, now: int) -> str:
    """Return a time of today as ``03:07:08``, of another day as ``25 Nov 22:22``, of another year with the year."""
    then, today = _utc(milliseconds), _utc(now)
    if then.date() == today.date():
        return f"{then:%H:%M:%S}"
    return f"{then.day} {then:%b %H:%M}" if then.year == today.year else f"{then.day} {then:%b %Y %H:%M}"


def day_of(milliseconds: int, now: int) -> str:
    """Return the day as a heading: ``Today``, ``Yesterday``, ``25 Nov 2026``."""
    then = _utc(milliseconds)
    days = now // _DAY - milliseconds // _DAY
    return {0: "Today", 1: "Yesterday"}.get(days, f"{then.day} {then:%b %Y}")


def at(text: str | int, now: int) -> Markup:
    """Return a time as HTML; its exact value is in the attribute."""
    when = from_text(text) if isinstance(text, str) else text
    return Markup('<time datetime="{}">{}</time>').format(_exact(when), clock(when, now))


def ago(text: str | int, now: int) -> Markup:
    """Return an age as HTML, which the script keeps up to date."""
    when = from_text(text) if isinstance(text, str) else text
    return Markup('<time datetime="{}" data-age>{} ago</time>').format(_exact(when), age(now - when))


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage; ``-`` for what is no number."""
    return f"{share:.{digits}%}" if math.isfinite(share) else "-"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 task``, ``1,000 tasks``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(words: list[str]) -> str:
    """Return words as a list in a sentence: ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _utc(milliseconds: int) -> datetime:
    return datetime.fromisoformat(to_text(milliseconds)).astimezone(UTC)


def _exact(milliseconds: int) -> str:
    return f"{to_text(milliseconds)[:19]}Z"
