"""Why a variant was judged as it was: the sentence, the figures and the outcomes, worked out once for all facts."""

from __future__ import annotations

from typing import NamedTuple

from crl_stream.core.messages.parts import Evidence, Judged
from crl_stream.core.monitor.row import MICRO, Variant
from crl_stream.core.monitor.verdict import DEGRADED, Rules, Verdict, evidence_of, judged_of, metrics, sentence


class Grounds(NamedTuple):
    """What facts say of a verdict."""

    reason: str
    metric: str | None
    """The metric that is furthest beyond its limit; None while none is."""
    metrics: dict[str, float]
    evidence: Evidence
    judged: Judged
    number: float | None = None
    """Of a DEGRADED verdict: the change of that metric, or under the absolute alarm the outcomes without a success."""
    limit: float | None = None
    """Of a DEGRADED verdict: how far the metric may change, or how many outcomes may be without a success."""


def grounds_of(variant: Variant, verdict: Verdict, rules: Rules) -> Grounds:
    """The grounds of a verdict on ``variant`` that was just given."""
    number: float | None = None
    limit: float | None = None
    if verdict.kind == DEGRADED and verdict.absolute:
        number, limit = float(variant.judged.n), float(rules.size)
    elif verdict.kind == DEGRADED:
        assert verdict.worst is not None and verdict.finding is not None
        number, limit = verdict.finding.change, verdict.worst.limit(rules.policy.degradation) / MICRO
    return Grounds(
        reason=sentence(variant, verdict, rules),
        metric=verdict.worst.name if verdict.worst else None,
        metrics=metrics(variant, verdict),
        evidence=evidence_of(variant, verdict, rules),
        judged=judged_of(variant, verdict, rules),
        number=number,
        limit=limit,
    )
