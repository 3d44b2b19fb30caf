"""The hour on this machine, in the forms that ``crl`` needs."""

from __future__ import annotations

import time

from crl_stream.core.instant import to_text


def now_ms() -> int:
    """In whole milliseconds since the epoch, as the engine counts."""
    return time.time_ns() // 1_000_000


def second_now() -> str:
    """For people: ``2025-11-19T14:30:00Z``."""
    return f"{to_text(now_ms())[:19]}Z"
