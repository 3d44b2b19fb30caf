"""The current time on this machine, in the forms that ``crl`` needs."""

from __future__ import annotations

import time

from crl_stream.core.instant import to_text


def now_ms() -> int:
    """Return the time in whole milliseconds since the Unix epoch, the engine's unit."""
    return time.time_ns() // 1_000_000


def second_now() -> str:
    """Return the time as text for people: ``2025-11-19T14:30:00Z``."""
    return f"{to_text(now_ms())[:19]}Z"
