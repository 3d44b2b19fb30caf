"""Summarises in one line what a channel missed while it was down, or before it existed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

from crl_stream.core.instant import to_text
from crl_stream.notifiers.notice import Notice, one_line
from crl_stream.notifiers.options import SEVERITIES

_NAMED: Final = 3


def summarise(notices: Sequence[Notice], now_ms: int, max_age_hours: float) -> Notice:
    """Return one notice for all of ``notices``, which must not be empty.

    The text names the newest critical notices that no later notice resolves. The id is derived from the ids of all
    notices, so the same notices give the same summary after a crash.
    """
    open_ones: dict[tuple[str, str], Notice] = {}
    for notice in notices:
        key = notice.kind, notice.subject
        open_ones.pop(key, None)
        if not notice.resolved:
            open_ones[key] = notice
    told = [notice for notice in notices if not notice.resolved]
    counts = Counter(notice.severity for notice in told)
    parts = [f"{counts[severity]} {severity}" for severity in reversed(SEVERITIES) if counts[severity]]
    if recovered := len(notices) - len(told):
        parts.append(f"{recovered} recovered")
    urgent = [notice for notice in reversed(open_ones.values()) if notice.severity == "critical"]
    times = sorted(notice.timestamp for notice in notices)
    text = f"{len(notices)} notices older than {max_age_hours:g} h, {times[0]} to {times[-1]}: {', '.join(parts)}"
    if urgent:
        text += "; critical and not resolved by then: " + " | ".join(notice.text for notice in urgent[:_NAMED])
        text += f" | and {len(urgent) - _NAMED} more" if len(urgent) > _NAMED else ""
    text += "; all of them: crl tail alerts --from-beginning"
    ids = [notice.id for notice in notices]
    digest = hashlib.blake2b("\n".join(ids).encode(), digest_size=6).hexdigest()
    return Notice(
        id=f"backlog-{digest}",
        timestamp=to_text(now_ms),
        kind="backlog",
        severity="critical" if urgent else "warning" if open_ones else "info",
        subject="backlog",
        text=one_line(text),
        data={"count": len(notices), "ids": ids[-1_000:]},
    )
