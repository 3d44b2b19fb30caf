"""The weekly review: the pending proposals that are most worth a look (guide: "Review top 5")."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final, NamedTuple

from crl_stream.core.instant import to_text
from crl_stream.core.messages import Alert, Overview
from crl_stream.core.overview.condition import Condition
from crl_stream.core.version import ENGINE_VERSION

TOP: Final = 5


class Digest(NamedTuple):
    """One week's review."""

    text: str
    """For people: a heading, then the proposals; ends with a newline."""
    alert: Alert
    """The same in one line, with an id of its week: published again, it is recognised as a repetition."""


def digest(overview: Overview, now: int) -> Digest:
    """The review of the ISO week of ``now``, in milliseconds since the epoch, UTC."""
    moment = datetime.fromtimestamp(now / 1_000, UTC)
    year, number, _ = moment.isocalendar()
    week = f"{year}-W{number:02d}"
    monday = datetime.fromisocalendar(year, number, 1)
    condition = Condition(overview, now)
    top = condition.proposals[:TOP]
    count = f"{condition.pending} proposal{'' if condition.pending == 1 else 's'} pending"
    lines = [f"Weekly review {week}: {count}" + (f", the top {len(top)} by confidence:" if top else "."), ""]
    for proposal in top:
        lines += [
            f"{proposal.proposal_id}",
            f"  Agent: {proposal.agent_name}",
            f"  Task: {proposal.task_type}",
            f"  Type: {proposal.proposal_type}",
            f"  Variant: {proposal.target_variant}",
            f"  Confidence: {proposal.confidence:.0%}",
            f"  Status: {proposal.status}, expires {proposal.expires_at}",
            f"  crl proposals show {proposal.proposal_id}",
            "",
        ]
    lines.append("Approve, reject or defer each: crl proposals --help" if top else "Nothing waits for a decision.")
    best = "; ".join(
        f"{p.proposal_id} ({p.confidence:.0%}, {p.proposal_type}, {p.agent_name}/{p.task_type})" for p in top
    )
    action = "review them: crl proposals list" if top else "nothing"
    identity = hashlib.blake2b(f"weekly_review {week}".encode(), digest_size=6).hexdigest()
    alert = Alert(
        alert_id=f"alert-{monday:%Y%m%d}-{identity}",
        timestamp=to_text(now),
        kind="weekly_review",
        severity="info",
        subject="all tasks",
        action=action,
        text=f"Weekly review {week}: {count}" + (f"; top {len(top)}: {best}; {action}" if top else ""),
        cause_id=week,
        number=float(condition.pending),
        engine_version=ENGINE_VERSION,
    )
    return Digest("\n".join(lines) + "\n", alert)
