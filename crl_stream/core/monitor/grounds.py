"""The grounds of a verdict: the sentence, the figures and the outcomes, computed once for all facts."""

from __future__ import annotations

from typing import NamedTuple

from crl_stream.core.messages.parts import BaselineSource, Evidence, Judged
from crl_stream.core.monitor import evidence
from crl_stream.core.monitor.detectors import DETECTORS, figures_of
from crl_stream.core.monitor.row import MICRO, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.verdict import DEGRADED, HEALTHY, INCONCLUSIVE, Verdict, is_newcomer
from crl_stream.core.monitor.window import judged_outcomes


class Grounds(NamedTuple):
    """Everything that facts report about a verdict."""

    reason: str
    metric: str | None
    """The metric beyond its limit that costs the most outcomes; None if there is none."""
    metrics: dict[str, float]
    evidence: Evidence
    judged: Judged
    """The outcomes that were judged, so that anyone can reproduce the verdict."""
    number: float | None = None
    """If DEGRADED: the change in ``metric``, or the number of outcomes in a full window without a success."""
    limit: float | None = None
    """If DEGRADED: the limit that the change exceeds, or the size of the full window without a success."""


def sentence(variant: Variant, verdict: Verdict, rules: Rules) -> str:
    """Return the sentence that explains the verdict."""
    judged = variant.judged
    if verdict.absolute:
        errors = f", {judged.errors} of them with errors" if judged.errors else ""
        return f"No success in the last {judged.n} outcomes{errors}"
    if verdict.worst is not None and verdict.finding is not None:
        text = verdict.worst.describe(verdict.baseline, judged, verdict.finding.change)
        if verdict.kind == INCONCLUSIVE:
            text += f", evidence {evidence.e_value(variant):,.1f} < {rules.threshold:,.0f}"
        return text
    if verdict.kind == HEALTHY:
        text = (
            f"Success rate {judged.successes / judged.n:.0%} over {judged.n} outcomes "
            f"against {verdict.baseline.successes / verdict.baseline.n:.0%}"
        )
        if judged.errors and not verdict.baseline.errors and not rules.floors[2]:
            limit = rules.policy.degradation.error_increase
            text += f"; {judged.errors} of {judged.n} had errors (limit {limit:.0%}, because the baseline has none)"
        return text
    if verdict.baseline.n < rules.min_baseline:
        return f"Too few outcomes in the baseline: {verdict.baseline.n} of {rules.min_baseline}"
    if judged.n < rules.min_recent:
        origin = variant.origin
        accepted = origin is not None and judged.n >= variant.life.n - origin.n
        since = "its level was accepted" if accepted else "the last activation"
        if variant.baseline is not None and variant.baseline.concurrent:
            since = "its rollout began"
        return f"Too few outcomes since {since}: {judged.n} of {rules.min_recent}"
    first, last = ", ".join(detector.nothing for detector in DETECTORS[:-1]), DETECTORS[-1].nothing
    return f"Nothing to compare with: the baseline has {first} and {last}"


def source_of(variant: Variant, rules: Rules) -> BaselineSource:
    """Return where the baseline of a variant comes from."""
    frozen = variant.baseline
    if frozen is None or not is_newcomer(variant, rules):
        return rules.policy.degradation.baseline
    if frozen.concurrent:
        return "active_variant"
    is_own = frozen.variant_id == variant.variant_id and variant.origin is not None
    return "accepted_level" if is_own else "replaced_variant"


def grounds_of(variant: Variant, verdict: Verdict, rules: Rules) -> Grounds:
    """Return the grounds of the verdict just reached on ``variant``."""
    reason = sentence(variant, verdict, rules)
    metrics = figures_of(verdict.baseline, variant.judged, verdict.worst)
    number: float | None = None
    limit: float | None = None
    if verdict.kind == DEGRADED and verdict.absolute:
        number, limit = float(variant.judged.n), float(rules.size)
    elif verdict.kind == DEGRADED:
        assert verdict.worst is not None and verdict.finding is not None
        number, limit = verdict.finding.change, verdict.worst.limit(rules.policy.degradation) / MICRO
    e_value, frozen = evidence.e_value(variant), variant.baseline if is_newcomer(variant, rules) else None
    both_judges = Evidence(
        rule=verdict.rule,
        guard="evidence" if rules.guarded else "none",
        e_value=e_value,
        threshold=rules.threshold,
        sufficient=e_value >= rules.threshold,
        e_values=evidence.by_metric(variant),
        absolute=verdict.absolute,
    )
    outcomes = judged_outcomes(variant)
    judged = Judged(
        offsets=[outcome.offset for outcome in outcomes],
        successes="".join([outcome.letter for outcome in outcomes]),
        rewards=[outcome.reward / MICRO for outcome in outcomes],
        baseline_n=verdict.baseline.n,
        baseline_source=source_of(variant, rules),
        baseline_variant=frozen.variant_id if frozen else variant.variant_id,
    )
    return Grounds(reason, verdict.worst.name if verdict.worst else None, metrics, both_judges, judged, number, limit)
