"""The dashboard as text: the guide's five sections in 80 columns. The same page and time give the same bytes.

Pure: it uses no colour, locale or terminal. So cron can mail the text, and two versions of it can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Final

from crl_stream.core.instant import from_text
from crl_stream.core.messages import AlertNote, Overview, ProposalNote, RollbackNote, TaskStanding
from crl_stream.core.overview import Condition

WIDTH: Final = 80
SYMBOLS: Final = {"HEALTHY": "✓", "STABLE": "●", "ATTENTION NEEDED": "⚠"}
_LABEL: Final = 14
"""Width of an entry's labels."""


def render(overview: Overview, now: int, troubles: Sequence[str] = ()) -> str:
    """Render the page at ``now`` (milliseconds since the epoch); the text ends with one newline.

    ``troubles`` has one line for each thing that is not working. If there are any, the system is shown as not healthy,
    whatever the page says.
    """
    condition = Condition(overview, now)
    lines = ["=" * WIDTH, "CRL SAFETY DASHBOARD", "=" * WIDTH]
    lines += [f"Generated: {_moment(now)}", "=" * WIDTH]
    lines += _section("SYSTEM HEALTH OVERVIEW", _health(overview, condition, troubles))
    lines += _section("RECENT ROLLBACKS", _rollbacks(overview.rollbacks))
    lines += _section("PENDING PROPOSALS", _proposals(condition))
    lines += _section("HIGH-CONFIDENCE VARIANTS (Q≥0.9, n≥10)", _high_confidence(overview))
    lines += _section("DEGRADATION ALERTS", _degradations(overview, condition.alerts))
    as_of = f"{_moment(from_text(overview.timestamp))}, crl.overview-events offset {overview.as_of.offset}"
    lines += ["", "=" * WIDTH, f"As of: {as_of}", "=" * WIDTH]
    return "\n".join(lines) + "\n"


def _section(title: str, body: list[str]) -> list[str]:
    return ["", "-" * WIDTH, title, "-" * WIDTH, *body]


def _health(overview: Overview, condition: Condition, troubles: Sequence[str]) -> list[str]:
    word = "ATTENTION NEEDED" if troubles else condition.word
    lines = [
        f"Total Q-table Entries: {overview.q_table_entries}",
        f"Active Agents with Variants: {overview.agents}",
        f"Rollbacks (Last 30 Days): {condition.rollbacks_month}",
        f"Pending Proposals: {condition.pending}",
        "",
        f"System Status: {SYMBOLS[word]} {word}",
    ]
    for concern in [*troubles, *condition.concerns]:
        lines += _wrapped(concern, first="- ", rest="  ")
    return lines


def _rollbacks(rollbacks: Iterable[RollbackNote]) -> list[str]:
    entries = []
    for event in rollbacks:
        fields = [
            ("When", _moment(from_text(event.timestamp))),
            ("Task", f"{event.agent_name}/{event.task_type}"),
            ("Change", f"{event.from_variant} → {event.to_variant}"),
            ("Reason", event.reason),
        ]
        if not event.enforced:
            fields.append(("Mode", "shadow: nothing was changed"))
        elif event.undo_command is not None:
            fields.append(("Undo", event.undo_command))
        entries.append(_entry(event.rollback_id, fields))
    return _list(entries, len(entries), "No rollbacks.")


def _proposals(condition: Condition) -> list[str]:
    entries = [_entry(proposal.proposal_id, _proposal_fields(proposal)) for proposal in condition.proposals]
    return _list(entries, condition.pending, "No pending proposals.")


def _proposal_fields(proposal: ProposalNote) -> list[tuple[str, str]]:
    fields = [
        ("Agent", proposal.agent_name),
        ("Task", proposal.task_type),
        ("Type", proposal.proposal_type),
        ("Variant", proposal.target_variant),
        ("Confidence", f"{proposal.confidence:.0%}"),
        ("Expires", _moment(from_text(proposal.expires_at))),
        ("Review", f"crl proposals show {proposal.proposal_id}"),
    ]
    if proposal.status != "pending":
        fields.insert(5, ("Status", proposal.status))
    return fields


def _high_confidence(overview: Overview) -> list[str]:
    entries = [
        _entry(
            f"{variant.agent_name}/{variant.task_type} {variant.variant_id}",
            [("Q-value", _figures(variant)), ("Status", _readiness(variant))],
        )
        for variant in overview.high_confidence
    ]
    return _list(entries, overview.n_high_confidence, "No high-confidence variants.")


def _degradations(overview: Overview, alerts: Iterable[AlertNote]) -> list[str]:
    entries = [
        _entry(
            f"{variant.agent_name}/{variant.task_type} {variant.variant_id}",
            [
                ("Since", _moment(from_text(variant.since)) if variant.since else "unknown"),
                *_present(variant),
                ("Q-value", _figures(variant)),
                ("Status", _protection(variant)),
            ],
        )
        for variant in overview.degraded
    ]
    lines = _list(entries, overview.n_degraded, "No active degradation warnings.")
    others = [alert for alert in alerts if alert.kind != "degradation"]
    if others:
        lines += ["", "Other critical alerts that are open:"]
        for alert in others:
            lines += _wrapped(f"{_moment(from_text(alert.timestamp))} {alert.text}", first="- ", rest="  ")
    return lines


def _readiness(variant: TaskStanding) -> str:
    """Return what will happen to a proven variant, as far as the records of its task show it."""
    if variant.active:
        return "active"
    if variant.decision == "human_approval":
        return "waits for a person's approval"
    waits = variant.not_applied
    if waits is None or waits.startswith("applied with the next outcome"):
        return "ready for auto-apply"
    return f"not applied yet: {waits}"


def _present(variant: TaskStanding) -> list[tuple[str, str]]:
    """Return a sentence on the current verdict, and the verdict itself if it is better than the alert's."""
    if variant.verdict in {None, "DEGRADED"}:
        return [("Reason", variant.reason)]
    return [("Now", f"{variant.verdict}, not recovered yet"), ("Reason", variant.reason)]


def _protection(variant: TaskStanding) -> str:
    if not variant.active:
        return "not active"
    return f"ACTIVE, not rolled back: {variant.no_rollback}" if variant.no_rollback else "ACTIVE"


def _figures(variant: TaskStanding) -> str:
    return f"{variant.q_value:.2f}, n = {variant.n_visits}"


def _list(entries: list[list[str]], total: int, empty: str) -> list[str]:
    """Return the entries separated by empty lines, and how many were left out."""
    if not entries:
        return [empty]
    lines = [line for number, entry in enumerate(entries) for line in ([""] if number else []) + entry]
    return lines + (["", f"... and {total - len(entries)} more"] if total > len(entries) else [])


def _entry(title: str, fields: Iterable[tuple[str, str]]) -> list[str]:
    lines = _wrapped(title, first="", rest="    ")
    for label, text in fields:
        lines += _wrapped(text, first=f"  {label}:".ljust(_LABEL), rest=" " * _LABEL)
    return lines


def _wrapped(text: str, *, first: str, rest: str) -> list[str]:
    """Wrap the text to ``WIDTH`` columns, with question marks for control characters."""
    plain = "".join(c if c.isprintable() and ord(c) < 0x2E80 else "?" for c in " ".join(text.split()))
    lines = wrap(plain, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return [line.rstrip() for line in lines] or [first.rstrip()]


def _moment(milliseconds: int) -> str:
    """Format a time like ``2025-11-19 14:30:00 UTC``."""
    return f"{datetime.fromtimestamp(milliseconds // 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
