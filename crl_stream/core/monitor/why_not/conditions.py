"""A question about the engine's next step, and the conditions that answer it.

Each condition is computed by the function with which the engine itself decides, so an answer never differs from what
the engine does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from crl_stream.core.figures import number
from crl_stream.core.instant import to_text
from crl_stream.core.monitor.baseline import lifetime_of
from crl_stream.core.monitor.decision_matrix import span_of
from crl_stream.core.monitor.evidence import e_value
from crl_stream.core.monitor.grounds import source_of
from crl_stream.core.monitor.row import MICRO, RETIRED, StandingOrder, Sums, TaskRow, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.verdict import DEGRADED, Verdict, baseline_of


class Condition(NamedTuple):
    """One condition of a step, true or false, with its figures."""

    key: str
    """Names the condition, like ``cooldown``; does not change between releases."""
    label: str
    """What must be true."""
    holds: bool
    text: str
    """What is true, with figures and limit."""
    number: float | None = None
    limit: float | None = None
    details: tuple[str, ...] = ()
    """Further figures, a line each: one for each metric, or for each candidate."""


class Question(NamedTuple):
    """Whether the engine would do one thing if the task were judged now."""

    key: str
    variant_id: str
    """The variant that it is about; empty if it is about the whole task."""
    title: str
    """What would happen."""
    acts: bool
    """Whether the engine does it, according to the engine itself."""
    conditions: list[Condition]
    """Everything that must be true, in the order in which the engine looks at it."""

    @property
    def stops(self) -> Condition | None:
        """The first condition that is false; None if all are true."""
        return next((condition for condition in self.conditions if not condition.holds), None)


# -- what several questions ask ----------------------------------------------------------------------
def verdict_conditions(variant: Variant, verdict: Verdict, rules: Rules) -> list[Condition]:
    """Return what must be true for a DEGRADED verdict: outcomes, a baseline, the rule, and evidence.

    A full window without a success needs only itself.
    """
    judged, baseline = variant.judged, baseline_of(variant, rules)
    absolute = judged.successes == 0 and judged.n >= rules.size
    instead = f"not needed: no success in a full window of {judged.n}"
    degradation = rules.policy.degradation
    recent = Condition(
        "outcomes",
        "enough outcomes to judge",
        absolute or judged.n >= rules.min_recent,
        f"{judged.n} judged since {_since(variant)}, {rules.min_recent} needed",
        float(judged.n),
        float(rules.min_recent),
    )
    known = Condition(
        "baseline",
        "enough outcomes to compare with",
        absolute or baseline.n >= rules.min_baseline,
        instead
        if absolute and baseline.n < rules.min_baseline
        else f"{baseline.n} in the baseline ({_source(variant, rules)}), {rules.min_baseline} needed",
        float(baseline.n),
        float(rules.min_baseline),
    )
    found = e_value(variant)
    if not rules.guarded:
        words = "not asked for (degradation.guard is none)"
    else:
        words = f"e-value {number(found)}, {number(rules.threshold)} needed"
    evidence = Condition(
        "evidence",
        "enough evidence that it is no chance",
        absolute or not rules.guarded or found >= rules.threshold,
        f"{instead}; {words}" if absolute and rules.guarded else words,
        found,
        rules.threshold if rules.guarded else None,
    )
    return [recent, known, _rule(variant, baseline, verdict, rules, degradation, absolute=absolute), evidence]


def _rule(
    variant: Variant, baseline: Sums, verdict: Verdict, rules: Rules, degradation: object, *, absolute: bool
) -> Condition:
    """Return whether the guide's rule finds the window degraded, with the figures of every metric."""
    label, judged = "worse than the limits allow", variant.judged
    if not judged.n or not baseline.n:
        return Condition("rule", label, absolute, "nothing to compare yet")
    lines, worst, most = [], None, None
    for detector, limit, floor in rules.checks:
        finding = detector.detect(baseline, judged, floored=bool(floor))
        change = None if finding is None else finding.change
        allowed = detector.value_of(degradation)
        words = f"{detector.name} {detector.figure(judged):.3g} against {detector.figure(baseline):.3g}"
        if finding is None:
            words += ": cannot be compared"
        else:
            words += f": {change_in_words(finding.change)}, limit {allowed:.1%}"
            if floor:
                words += f"; loses {max(0.0, finding.lost):.1f} outcomes, floor {floor / MICRO:g}"
        if detector.exceeds(baseline, judged, limit, floor):
            words += " (beyond)"
        lines.append(words)
        share = None if change is None or not allowed else change / allowed
        if detector is verdict.worst or (
            verdict.worst is None and share is not None and (most is None or share > most)
        ):
            worst, most = (words, change, allowed), share
    text, number, limit_of_it = worst if worst is not None else ("nothing to compare with", None, None)
    if absolute:
        text = f"no success in a full window of {judged.n}"
    return Condition("rule", label, absolute or verdict.rule == DEGRADED, text, number, limit_of_it, tuple(lines))


def change_in_words(change: float) -> str:
    """Return a relative change for the worse in words: ``5.6% worse``, ``no worse``."""
    return f"{change:.1%} worse" if change > 0 else "no worse"


def _since(variant: Variant) -> str:
    if variant.baseline is not None and variant.baseline.concurrent:
        return "this stage of its rollout began"
    origin = variant.origin
    accepted = origin is not None and variant.judged.n >= lifetime_of(variant).n
    return "its level was accepted" if accepted else "its last activation"


def _source(variant: Variant, rules: Rules) -> str:
    frozen, source = variant.baseline, source_of(variant, rules).replace("_", " ")
    return f"{source}: {frozen.variant_id}" if frozen is not None and source == "replaced variant" else source


def nothing_before(acted: str | None) -> Condition:
    """Return whether nothing has happened earlier in the same step; ``acted`` says what did."""
    return Condition("earlier", "nothing else happens with the same outcome", acted is None, acted or "nothing does")


def mode_condition(turn: Turn, what: str) -> Condition:
    """Return whether the mode allows ``what``, like ``rollbacks``."""
    mode = turn.rules.mode
    text = {
        "enforce": "mode enforce",
        "shadow": f"shadow mode: {what} are only reported",
        "observe": "observe mode: alerts only",
    }[mode]
    return Condition("mode", "the mode allows it", turn.rules.enforced, text)


def hold_conditions(turn: Turn, *, promotes: bool = False) -> list[Condition]:
    """Return whether neither the task nor the fleet is held.

    ``promotes`` is whether a hold on the promotions of the fleet stops the step too.
    """
    row, fleet = turn.row, turn.at.fleet
    held = "the fleet is held" if stops_all(fleet) else "promotions are stopped in the whole fleet"
    words = _order(row, fleet, held, "no hold on the fleet", "crl resume --all releases it")
    if fleet is not None and not stops_all(fleet) and not promotes:
        words = f"{words}; this does not stop protection"
    return [
        Condition("hold", "the task is not held", row.held is None, _order(row, row.held, "held", "no hold")),
        Condition(
            "fleet_hold",
            "the fleet is not held",
            fleet is None if promotes else not stops_all(fleet),
            words,
        ),
    ]


def pin_condition(row: TaskRow) -> Condition:
    """Return whether the task is not pinned."""
    task = f"{row.agent_name}/{row.task_type}"
    words = _order(row, row.pinned, "pinned", "no pin", f"crl unpin {task} releases it")
    return Condition("pin", "the task is not pinned", row.pinned is None, words)


def _order(row: TaskRow, order: StandingOrder | None, what: str, otherwise: str, release: str | None = None) -> str:
    if order is None:
        return otherwise
    release = release or f"crl resume {row.agent_name}/{row.task_type} releases it"
    why = f": {order.reason}" if order.reason else ""
    return f"{what} by {order.actor} since {to_text(order.since)}, {span_of(order, row)}{why}; {release}"


def free(variant: Variant) -> Condition:
    """Return whether a variant is not quarantined."""
    words = "quarantined after a rollback; crl quarantine lift ends it" if variant.quarantined else "not quarantined"
    return Condition("quarantine", "it is not quarantined", not variant.quarantined, words)


def in_use(variant: Variant) -> Condition:
    """Return whether a variant is not retired."""
    retired = variant.state == RETIRED
    return Condition("retired", "it is not retired", not retired, "retired" if retired else "not retired")


def incident_condition(turn: Turn) -> Condition:
    """Return whether the task has an incident."""
    incident = turn.row.incident
    words = "no incident" if incident is None else f"{incident.tag} is failing ({incident.incident_id})"
    return Condition("incident", "there is an incident", incident is not None, words)


def no_incident(row: TaskRow) -> Condition:
    """Return whether the task has no incident."""
    incident = row.incident
    words = "no incident" if incident is None else f"{incident.tag} is failing ({incident.incident_id})"
    return Condition("incident", "there is no incident", incident is None, words)


def has(changes: Sequence[Any], kind: type) -> bool:
    """Return whether a change of this kind is among ``changes``."""
    return any(type(change) is kind for change in changes)
