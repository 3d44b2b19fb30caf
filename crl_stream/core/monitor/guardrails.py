"""Guardrail metrics: what follows if the active variant, or a rollout's candidate, costs more or is slower.

Quality decides which variant is used (``protection``); guardrails only notice that the same quality now costs more.
This module decides; ``lifecycle`` makes the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.messages.parts import BaselineSource, Candidate, Evidence, Judged
from crl_stream.core.monitor import gauges
from crl_stream.core.monitor.changes import (
    Change,
    GuardrailBroken,
    GuardrailKept,
    QuarantineLifted,
    RolledBack,
    RolloutAborted,
)
from crl_stream.core.monitor.grounds import Grounds
from crl_stream.core.monitor.guardrail import Guardrail
from crl_stream.core.monitor.promise import delivered
from crl_stream.core.monitor.rollout import is_held
from crl_stream.core.monitor.row import MICRO, Gauge, Variant
from crl_stream.core.monitor.staging import takes_part
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.window import judged_outcomes

MONITOR: Final = "monitor"


def keep(turn: Turn, variant: Variant) -> Sequence[Change]:
    """Return what follows from the values in ``turn.measured``: an alert, its end, or a rollback."""
    row = turn.row
    if variant.variant_id != row.active and not takes_part(row, variant):
        return ()
    changes: list[Change] = []
    for guardrail in turn.measured:
        gauge = variant.gauges[guardrail.name]
        found = gauges.change_of(
            gauge, turn.rules.gauge_memory, turn.rules.min_recent, guardrail.limit, guardrail.floor
        )
        is_open = bool(gauge.open_alert)
        if is_open and found is None and gauge.since_alert >= turn.rules.size:
            changes.append(
                GuardrailKept(variant, guardrail.name, gauge.open_alert, _level_in_words(gauge, guardrail, turn))
            )
        if found is None or (is_open and not _tries_again(turn, guardrail, gauge)):
            continue
        alert_id = turn.identify("gr", "guardrail", f"{variant.variant_id} {guardrail.name}")
        grounds = _grounds(turn, variant, guardrail, gauge, found)
        rollback = _roll_back(turn, variant, guardrail, found, grounds, alert_id)
        if is_open and not rollback:
            continue
        broken = GuardrailBroken(variant, guardrail.name, grounds, alert_id, leads=bool(rollback))
        if rollback and turn.rules.enforced:
            return [broken, *rollback]  # this ends the alerts about all metrics, so none is opened or ended here
        changes += [broken, *rollback]
        if rollback:
            break
    return changes


def _tries_again(turn: Turn, guardrail: Guardrail, gauge: Gauge) -> bool:
    """Return whether to look for a rollback again, because a hold or a missing target may have prevented it.

    The evidence starts from zero with the alert, and must have become sufficient again.
    """
    return guardrail.action == "rollback" and turn.rules.enforced and gauges.e_value(gauge) >= turn.rules.threshold


def _roll_back(
    turn: Turn, variant: Variant, guardrail: Guardrail, found: gauges.Change, grounds: Grounds, alert_id: str
) -> Sequence[Change]:
    """Return the rollback to a variant that is cheaper and not worse, or the end of the rollout; empty if neither."""
    row, rules = turn.row, turn.rules
    if guardrail.action != "rollback":
        return ()
    if is_held(turn) or row.incident is not None or rules.mode == "observe":
        return ()
    rollback_id = turn.identify("rb", "rollback", variant.variant_id)
    if takes_part(row, variant):
        if not rules.enforced:
            return ()
        return [RolloutAborted(variant, MONITOR, grounds.reason, rollback_id, grounds, alert_id)]
    if not rules.enforced and row.latch:
        return ()
    ranked = ways_out(turn, guardrail, found)
    target = next((each.variant_id for each in ranked if each.chosen), None)
    if target is None:
        return ()
    chosen = row.variants[target]
    lifted = [QuarantineLifted(chosen)] if chosen.quarantined and rules.enforced else []
    return [*lifted, RolledBack(variant, chosen, grounds, ranked, rollback_id, alert_id, delivered(variant, rules))]


def ways_out(turn: Turn, guardrail: Guardrail, found: gauges.Change) -> list[Candidate]:
    """Return every other variant, best first; at most one is chosen as the way out of a broken guardrail."""
    return candidates(turn.row, turn.rules, dearer=lambda other: _objection(turn, other, guardrail, found))


def _objection(turn: Turn, other: Variant, guardrail: Guardrail, found: gauges.Change) -> str | None:
    """Return why another variant does not help against a broken guardrail; None if it is better by the limit."""
    gauge = other.gauges.get(guardrail.name)
    level = None if gauge is None or gauge.sign != guardrail.sign else gauges.level_of(gauge)
    if level is None or level.n < turn.policy.rollback.min_samples:
        return f"its {guardrail.name} is not known"
    lately = gauges.recent_of(other.gauges[guardrail.name])
    for each in (level, lately) if lately is not None and lately.n >= turn.rules.min_recent else (level,):
        if found.recent.mean - each.mean <= max(guardrail.limit * abs(each.mean), guardrail.floor):
            mine, its = (f"{guardrail.sign * mean:.4g}" for mean in (found.recent.mean, each.mean))
            return f"its {guardrail.name} is {its} against {mine}"
    return None


def _words(guardrail: Guardrail, change: gauges.Change) -> str:
    before, after = guardrail.sign * change.baseline.mean, guardrail.sign * change.recent.mean
    verb, noun = ("rose", "increase") if guardrail.sign > 0 else ("fell", "drop")
    by = f"{change.relative:.1%} {noun}" if change.baseline.mean else f"{noun} of {abs(after):.4g}"
    label = guardrail.name[:1].upper() + guardrail.name[1:].replace("_", " ")
    return f"{label} {verb} from {before:.4g} to {after:.4g} ({by}) over {change.recent.n} outcomes"


def _level_in_words(gauge: Gauge, guardrail: Guardrail, turn: Turn) -> str:
    base, recent = gauges.baseline_of(gauge, turn.rules.gauge_memory), gauges.recent_of(gauge)
    assert base is not None, "an alert opens only with a baseline, which stays until it ends"
    assert recent is not None
    usual = guardrail.sign * base.total / base.n
    is_now = f"{guardrail.name} is {guardrail.sign * recent.mean:.4g} over the last {recent.n} outcomes"
    return f"{is_now}, baseline {usual:.4g}"


def _grounds(turn: Turn, variant: Variant, guardrail: Guardrail, gauge: Gauge, change: gauges.Change) -> Grounds:
    """Return what facts report about a broken guardrail."""
    rules, name = turn.rules, guardrail.name
    e_value = gauges.e_value(gauge)
    evidence = Evidence(
        rule="DEGRADED",
        guard="evidence",
        e_value=e_value,
        threshold=rules.threshold,
        sufficient=e_value >= rules.threshold,
        e_values={name: e_value},
    )
    outcomes = judged_outcomes(variant)
    replaced = gauges.baseline_of(gauge, rules.gauge_memory) is gauge.frozen
    source: BaselineSource = "replaced_variant" if replaced else "recent"
    judged = Judged(
        offsets=[outcome.offset for outcome in outcomes],
        successes="".join([outcome.letter for outcome in outcomes]),
        rewards=[outcome.reward / MICRO for outcome in outcomes],
        baseline_n=change.baseline.n,
        baseline_source=source,
        baseline_variant=variant.variant_id if source == "recent" else None,
    )
    figures = {
        f"baseline_{name}": guardrail.sign * change.baseline.mean,
        f"recent_{name}": guardrail.sign * change.recent.mean,
        f"{name}_increase_pct" if guardrail.sign > 0 else f"{name}_drop_pct": change.relative,
        "sample_size": float(change.recent.n),
    }
    return Grounds(_words(guardrail, change), name, figures, evidence, judged, change.relative, guardrail.limit)
