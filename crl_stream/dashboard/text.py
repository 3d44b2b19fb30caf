"""The dashboard as text: the guide's five sections in 80 columns. The same page and time give the same bytes.

Pure: it uses no colour, locale or terminal. So cron can mail the text, and two versions of it can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

from crl_stream.core.instant import from_text, readable
from crl_stream.core.messages import AlertNote, Overview
from crl_stream.core.overview import Condition
from crl_stream.core.reach import with_reach
from crl_stream.dashboard import entries
from crl_stream.dashboard.entries import SYMBOLS, moment

__all__ = ["SYMBOLS", "WIDTH", "render"]

WIDTH: Final = 80
_LABEL: Final = 14
"""Width of an entry's labels."""


def render(overview: Overview, now: int, troubles: Sequence[str] = ()) -> str:
    """Render the page at ``now`` (milliseconds since the epoch); the text ends with one newline.

    ``troubles`` has one line for each thing that is not working. If there are any, the system is shown as not healthy,
    whatever the page says.
    """
    condition = Condition(overview, now)
    lines = ["=" * WIDTH, "CRL SAFETY DASHBOARD", "=" * WIDTH]
    lines += [f"Generated: {moment(now)}", "=" * WIDTH]
    lines += _section(entries.HEALTH, _health(overview, condition, troubles))
    lines += _section(entries.ROLLBACKS, _rollbacks(overview))
    lines += _section(entries.PROPOSALS, _proposals(condition))
    lines += _section(entries.HIGH_CONFIDENCE, _high_confidence(overview), f" ({entries.THRESHOLDS})")
    lines += _section(entries.DEGRADATIONS, _degradations(overview, condition.alerts))
    as_of = f"{moment(from_text(overview.timestamp))}, crl.overview-events offset {overview.as_of.offset}"
    lines += ["", "=" * WIDTH, f"As of: {as_of}", "=" * WIDTH]
    return "\n".join(lines) + "\n"


def _section(title: str, body: list[str], limits: str = "") -> list[str]:
    return ["", "-" * WIDTH, title.upper() + limits, "-" * WIDTH, *body]


def _health(overview: Overview, condition: Condition, troubles: Sequence[str]) -> list[str]:
    word = entries.health_word(condition, troubles)
    lines = [f"{name}: {number}" for name, number in entries.health_figures(overview, condition)]
    lines += ["", f"System Status: {SYMBOLS[word]} {word}"]
    for concern in [*troubles, *condition.concerns]:
        lines += _wrapped(concern, first="- ", rest="  ")
    return lines


def _rollbacks(overview: Overview) -> list[str]:
    found = [_entry(event.rollback_id, entries.rollback_fields(event)) for event in overview.rollbacks]
    return _list(found, len(found), entries.NO_ROLLBACKS)


def _proposals(condition: Condition) -> list[str]:
    found = [_entry(proposal.proposal_id, entries.proposal_fields(proposal)) for proposal in condition.proposals]
    return _list(found, condition.pending, entries.NO_PROPOSALS)


def _high_confidence(overview: Overview) -> list[str]:
    found = [
        _entry(f"{v.agent_name}/{v.task_type} {v.variant_id}", entries.high_confidence_fields(v))
        for v in overview.high_confidence
    ]
    return _list(found, overview.n_high_confidence, entries.NO_HIGH_CONFIDENCE)


def _degradations(overview: Overview, alerts: Sequence[AlertNote]) -> list[str]:
    found = [
        _entry(f"{v.agent_name}/{v.task_type} {v.variant_id}", entries.degradation_fields(v)) for v in overview.degraded
    ]
    lines = _list(found, overview.n_degraded, entries.NO_DEGRADATIONS)
    others = entries.others_open(alerts)
    if others:
        lines += ["", entries.OTHER_ALERTS]
        for alert in others:
            words = with_reach(alert.text, alert)
            lines += _wrapped(f"{moment(from_text(alert.timestamp))} {words}", first="- ", rest="  ")
    return lines


def _list(found: list[list[str]], total: int, empty: str) -> list[str]:
    """Return the entries separated by empty lines, and how many were left out."""
    if not found:
        return [empty]
    lines = [line for number, entry in enumerate(found) for line in ([""] if number else []) + entry]
    return lines + (["", f"... and {total - len(found)} more"] if total > len(found) else [])


def _entry(title: str, fields: Iterable[tuple[str, str]]) -> list[str]:
    lines = _wrapped(title, first="", rest="    ")
    for label, text in fields:
        lines += _wrapped(text, first=f"  {label}:".ljust(_LABEL), rest=" " * _LABEL)
    return lines


def _wrapped(text: str, *, first: str, rest: str) -> list[str]:
    """Wrap the text to ``WIDTH`` columns, with question marks for control characters."""
    plain = "".join(c if c.isprintable() and ord(c) < 0x2E80 else "?" for c in " ".join(readable(text).split()))
    lines = wrap(plain, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return [line.rstrip() for line in lines] or [first.rstrip()]
