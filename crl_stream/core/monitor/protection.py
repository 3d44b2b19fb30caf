"""What follows from a verdict: alert, rollback or recovery.  This module decides; ``lifecycle`` makes the changes.

An alert is sent when a variant becomes degraded.  A rollback is attempted on every outcome while the active variant
stays degraded, so a hold or a missing target does not use up the one rollback of an activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from crl_stream.core.instant import to_text
from crl_stream.core.messages import Candidate
from crl_stream.core.monitor.changes import (
    AlertOpened,
    BecameDegraded,
    Change,
    CountedHealthy,
    FoundNoTarget,
    FoundOneRuntime,
    HeldBack,
    OneRuntimeEnded,
    QuarantineLifted,
    Recovered,
    RolledBack,
    StayedDegraded,
)
from crl_stream.core.monitor.common_cause import find_incident, found_cause
from crl_stream.core.monitor.grounds import grounds_of
from crl_stream.core.monitor.promise import delivered
from crl_stream.core.monitor.rollout import abort, is_held
from crl_stream.core.monitor.row import Incident, Variant
from crl_stream.core.monitor.scorecard import watch
from crl_stream.core.monitor.staging import takes_part
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.core.monitor.tags import covers
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.verdict import DEGRADED, HEALTHY, Verdict, is_suspect, judge
from crl_stream.core.monitor.witnesses import one_runtime

_NOTHING: Final[Sequence[Change]] = ()


class Way(NamedTuple):
    """Where a rollback leads."""

    ranked: list[Candidate]
    """Every other variant, best first."""
    target: str | None
    """The variant that is chosen; None if none qualifies."""
    incident: Incident | None
    """The incident that covers the degraded variant, so that only a variant without its tag is chosen."""
    is_new: bool
    """Whether the incident is found only now."""


def protect(turn: Turn, variant: Variant, *, outcome: bool) -> Sequence[Change]:
    """Return the changes that follow from the verdict on ``variant``, including ``RolledBack`` if a rollback is due.

    Only an ``outcome`` counts towards a recovery: a late score, or judging again, is no new evidence of health.
    """
    if not variant.degraded and not is_suspect(variant, turn.rules):
        return _NOTHING
    verdict = judge(variant, turn.rules)
    if verdict.kind == DEGRADED:
        return _degraded(turn, variant, verdict)
    if variant.degraded and verdict.kind == HEALTHY and outcome:
        needed = turn.policy.degradation.clean_verdicts
        if variant.clean + 1 < needed:
            return [CountedHealthy(variant)]
        return [Recovered(variant, grounds_of(variant, verdict, turn.rules), needed)]
    return _NOTHING


def _degraded(turn: Turn, variant: Variant, verdict: Verdict) -> Sequence[Change]:
    row = turn.row
    target = incident = None
    tries = may_roll_back(turn, variant)
    # Grounds are expensive to compute, and most outcomes of a degraded variant do not need them.
    started, alert_id, grounds = not variant.degraded, variant.alert_id, None
    changes: list[Change] = [StayedDegraded(variant)]
    if started:
        grounds = grounds_of(variant, verdict, turn.rules)
        alert_id = turn.identify("deg", "degraded", variant.variant_id)
        changes = [BecameDegraded(variant, grounds, alert_id)]
    alone = one_runtime(row, variant, verdict, turn.rules) if tries else None
    if alone is not None:
        if _is_time(turn, -1 if row.one_runtime is None else row.one_runtime.n):
            changes.append(FoundOneRuntime(variant, alone, alert_id))
    elif tries and is_held(turn):
        if _is_time(turn, row.held_n):
            changes.append(HeldBack(variant, _who_holds(turn), alert_id))
    elif tries:
        ranked, target, incident, is_new = find_way(turn, variant, verdict)
        if incident is not None and is_new:
            changes.append(found_cause(turn, incident))
        if target is not None:
            rollback_id = turn.identify("rb", "rollback", variant.variant_id)
            grounds = grounds or grounds_of(variant, verdict, turn.rules)
            chosen = row.variants[target]
            if chosen.quarantined and turn.rules.enforced:
                changes.append(QuarantineLifted(chosen))
            left = delivered(variant, turn.rules) if turn.policy.rollback.verify else None
            seen = None if turn.rules.enforced else watch(row, variant, chosen, grounds, rollback_id, turn.rules)
            changes.append(RolledBack(variant, chosen, grounds, ranked, rollback_id, alert_id, left, seen))
            if incident is not None and turn.rules.enforced:
                changes.append(QuarantineLifted(variant))  # a shared provider or model has failed, not the variant
        elif incident is None and _is_time(turn, row.no_target_n):
            changes.append(FoundNoTarget(variant, ranked, alert_id))
    if takes_part(row, variant):
        aborted = abort(turn, variant, grounds or grounds_of(variant, verdict, turn.rules), alert_id)
        if aborted is not None:
            return [*changes, aborted]
    if tries and alone is None and row.one_runtime is not None and (target is None or not turn.rules.enforced):
        changes.append(OneRuntimeEnded(variant, alert_id))
    # Without an enforced rollback, the variant stays degraded, and an alert about a rollback never stays open.  The
    # alert about an incident stays open and covers all of its variants.
    if grounds is not None and started and incident is None and (target is None or not turn.rules.enforced):
        changes.append(AlertOpened(variant, grounds, alert_id))
    return changes


def find_way(turn: Turn, variant: Variant, verdict: Verdict) -> Way:
    """Return where a rollback of the degraded active ``variant`` leads, and the incident that restricts the choice."""
    row = turn.row
    incident = row.incident if covers(row.incident, variant) else None
    ranked = candidates(row, turn.rules, verdict.worst)
    target = chosen_in(ranked)
    if target is None or incident is not None:
        return Way(ranked, target, incident, is_new=False)
    incident = find_incident(turn, variant, reported=True)
    if incident is None:
        return Way(ranked, target, None, is_new=False)
    ranked = candidates(row, turn.rules, verdict.worst, incident.tag)
    return Way(ranked, chosen_in(ranked), incident, is_new=True)


def chosen_in(ranked: Sequence[Candidate]) -> str | None:
    """Return the variant that was chosen as the target; None if none was."""
    return next((candidate.variant_id for candidate in ranked if candidate.chosen), None)


def may_roll_back(turn: Turn, variant: Variant) -> bool:
    """Return whether to try to roll back ``variant``: it must be active, and the mode must allow a rollback.

    In shadow mode, the latch prevents the same rollback from being reported twice.  If rollbacks are enforced, the
    latch is ignored: the activation clears it, and a latch from shadow mode must not outlive that mode.
    """
    if variant.variant_id != turn.row.active or turn.rules.mode == "observe":
        return False
    return turn.rules.enforced or not turn.row.latch


def _is_time(turn: Turn, last_n: int) -> bool:
    """Return whether to repeat an alert that was last sent at outcome ``last_n`` of the task (-1: never)."""
    return last_n < 0 or turn.row.n - last_n >= turn.policy.rollback.renotify


def _who_holds(turn: Turn) -> str:
    """Describe each hold and the command that releases it; all must be released before a rollback can happen."""
    row, fleet, words = turn.row, turn.at.fleet, []
    if row.held is not None:
        releases = f"crl resume {row.agent_name}/{row.task_type} releases the hold"
        words.append(f"held by {row.held.actor} since {to_text(row.held.since)}; {releases}")
    if fleet is not None and stops_all(fleet):
        words.append(
            f"the fleet has been held by {fleet.actor} since {to_text(fleet.since)}; crl resume --all releases it"
        )
    return "; ".join(words)
