"""The verdict on a variant: HEALTHY, DEGRADED or INCONCLUSIVE, never a bool, with one sentence that says why."""

from __future__ import annotations

from typing import Final, NamedTuple

from crl_stream.core.messages.parts import Evidence, Judged, VerdictKind
from crl_stream.core.monitor import evidence
from crl_stream.core.monitor.detector import Detector, Finding
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.learning import Formula
from crl_stream.core.monitor.row import MICRO, SIZE, SUCCESS, Sums, Variant
from crl_stream.core.monitor.window import judged_outcomes
from crl_stream.core.policy import Policy

HEALTHY: Final = "HEALTHY"
DEGRADED: Final = "DEGRADED"
INCONCLUSIVE: Final = "INCONCLUSIVE"
_OF_SUCCESS: Final = next(detector for detector in DETECTORS if detector.sums == ("successes",))
"""The metric of the absolute alarm."""


class Rules:
    """A policy made ready for the hot path."""

    __slots__ = (
        "checks",
        "claims",
        "duplicate_ids",
        "exploration",
        "formula",
        "further",
        "guarded",
        "least_q",
        "lifetime",
        "limits",
        "max_skew",
        "min_baseline",
        "min_recent",
        "mode",
        "own_baseline",
        "policy",
        "rate",
        "size",
        "snapshot_ms",
        "snapshot_outcomes",
        "threshold",
    )

    def __init__(self, policy: Policy) -> None:
        degradation, operations, limits = policy.degradation, policy.operations, policy.limits
        self.policy = policy
        self.formula = Formula(policy.learning)
        self.size, self.rate = degradation.lookback_window, policy.learning.rate
        self.guarded = degradation.guard == "evidence"
        self.threshold = evidence.threshold(degradation)
        self.claims = evidence.Claims(degradation)
        self.min_baseline = degradation.min_baseline
        self.own_baseline = degradation.min_baseline
        """Outcomes before its activation from which on a variant is judged against its own lifetime."""
        if self.guarded and self.own_baseline < evidence.MIN_LIFETIME:
            # A shorter lifetime is no evidence: a newcomer that fails at once would spoil it before it counts.
            self.own_baseline = evidence.MIN_LIFETIME
        self.min_recent = min(degradation.min_recent, self.size)  # a smaller window is judged when it is full
        self.checks: tuple[tuple[Detector, int], ...] = tuple(
            [(detector, detector.limit(degradation)) for detector in DETECTORS]
        )
        """The detectors and their limits, in millionths."""
        self.further = self.checks[evidence.WRITTEN_OUT :]
        """Those that ``is_suspect`` has to call."""
        self.limits = self.checks[0][1], self.checks[1][1], self.checks[2][1]
        """Of the others."""
        self.lifetime = degradation.baseline == "lifetime"
        """Whether the baseline is the whole lifetime."""
        self.least_q = min(policy.auto_apply.q_threshold, policy.human_approval.q_threshold)
        """A variant with less is nobody's candidate."""
        self.mode, self.exploration = operations.mode, operations.exploration
        self.max_skew = operations.max_skew_seconds
        self.duplicate_ids = limits.duplicate_ids
        self.snapshot_outcomes, self.snapshot_ms = limits.snapshot_outcomes, round(limits.snapshot_seconds * 1_000)


_rules: dict[int, Rules] = {}


def rules_of(policy: Policy) -> Rules:
    """The rules of a policy, computed once for each policy object."""
    rules = _rules.get(id(policy))
    if rules is None or rules.policy is not policy:
        if len(_rules) >= 1024:
            _rules.clear()
        rules = _rules[id(policy)] = Rules(policy)
    return rules


class Verdict(NamedTuple):
    """What the rule says, and what it comes to with the guard."""

    rule: VerdictKind
    kind: VerdictKind
    """INCONCLUSIVE where the rule says DEGRADED and the evidence does not suffice."""
    worst: Detector | None
    finding: Finding | None
    baseline: Sums
    absolute: bool = False
    """DEGRADED because a full window has no success, whatever rule and evidence say."""


def is_suspect(variant: Variant, rules: Rules) -> bool:
    """Whether ``judge`` would find the rule broken; asked for every outcome, while ``judge`` is for what follows."""
    judged = variant.judged
    if judged.n < rules.min_recent:
        return False
    if judged.successes == 0 and judged.n >= rules.size:
        return True
    baseline = variant.life if rules.lifetime and variant.baseline is None else baseline_of(variant, rules)
    if baseline.n < rules.min_baseline:
        return False
    # The formulas of the first three detectors, written out: their calls take twice as long, for every outcome.
    # Property tests hold them to what the detectors themselves say.
    n, whole = judged.n, baseline.n
    success_limit, reward_limit, error_limit = rules.limits
    before = baseline.successes * n
    if before > 0 and (before - judged.successes * whole) * MICRO > success_limit * before:
        return True
    before = baseline.reward * n
    if before > 0 and (before - judged.reward * whole) * MICRO > reward_limit * before:
        return True
    before = baseline.errors * n
    if before > 0 and (judged.errors * whole - before) * MICRO > error_limit * before:
        return True
    for detector, limit in rules.further:  # noqa: SIM110 - most have none, and a generator is dear
        if detector.exceeds(baseline, judged, limit):
            return True
    return False


def judge(variant: Variant, rules: Rules) -> Verdict:
    """Judge the outcomes of the window since the last activation.

    Against the baseline, where the worst metric wins; and by themselves: a full window without a success is DEGRADED
    under every policy, since a variant that never worked has no baseline that it could fall short of.
    """
    verdict, judged = _compare(variant, rules), variant.judged
    if verdict.kind == DEGRADED or judged.successes or judged.n < rules.size:
        return verdict
    worst, finding = verdict.worst, verdict.finding
    if worst is None or finding is None:
        worst, finding = _OF_SUCCESS, Finding(1.0, 1.0)
    return Verdict(verdict.rule, DEGRADED, worst, finding, verdict.baseline, absolute=True)


def is_hopeless(variant: Variant) -> bool:
    """Whether the last outcomes of a variant, as many as its window holds, have no success among them."""
    window = variant.window
    for index in range(SIZE - 1, len(window), SIZE):  # noqa: SIM110 - mypyc makes no generator over a bytearray
        if window[index] & SUCCESS:
            return False
    return True


def _compare(variant: Variant, rules: Rules) -> Verdict:
    baseline, judged = baseline_of(variant, rules), variant.judged
    if baseline.n < rules.min_baseline or judged.n < rules.min_recent:
        return Verdict(INCONCLUSIVE, INCONCLUSIVE, None, None, baseline)
    worst = finding = None
    conclusive = False
    for detector, limit in rules.checks:
        degraded = detector.exceeds(baseline, judged, limit)
        if degraded is None:
            continue
        conclusive = True
        if degraded:
            found = detector.detect(baseline, judged, limit)
            if found is not None and (finding is None or found.excess > finding.excess):
                worst, finding = detector, found
    if worst is None:
        kind: VerdictKind = HEALTHY if conclusive else INCONCLUSIVE
        return Verdict(kind, kind, None, None, baseline)
    if rules.guarded and evidence.e_value(variant) < rules.threshold:
        return Verdict(DEGRADED, INCONCLUSIVE, worst, finding, baseline)
    return Verdict(DEGRADED, DEGRADED, worst, finding, baseline)


def baseline_of(variant: Variant, rules: Rules) -> Sums:
    """What the window is compared with."""
    if variant.baseline is not None:
        return variant.baseline.sums
    if rules.lifetime:
        return variant.life
    life, judged = variant.life, variant.judged
    return Sums(
        life.n - judged.n,
        life.successes - judged.successes,
        life.errors - judged.errors,
        life.reward - judged.reward,
        life.squares - judged.squares,
    )


def sentence(variant: Variant, verdict: Verdict, rules: Rules) -> str:
    """Why the verdict is what it is."""
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
        if judged.errors and not verdict.baseline.errors:
            text += f"; errors in {judged.errors} of {judged.n}, not judged as the baseline has none"
        return text
    if verdict.baseline.n < rules.min_baseline:
        return f"Too little data: baseline of {verdict.baseline.n} outcomes < {rules.min_baseline}"
    if judged.n < rules.min_recent:
        return f"Too little data: {judged.n} outcomes since the last activation < {rules.min_recent}"
    first, last = ", ".join(detector.nothing for detector in DETECTORS[:-1]), DETECTORS[-1].nothing
    return f"Nothing to compare with: the baseline has {first} and {last}"


def metrics(variant: Variant, verdict: Verdict) -> dict[str, float]:
    """The guide's ``degradation_metrics``: the worst metric's figures first, then the others', then the size."""
    judged = variant.judged
    figures: dict[str, float] = {}
    order = sorted(DETECTORS, key=lambda detector: detector is not verdict.worst)
    if verdict.baseline.n and judged.n:
        for detector in order:
            found = detector.detect(verdict.baseline, judged, MICRO)
            change = None if found is None else found.change
            figures |= detector.measure(verdict.baseline, judged, change)
    return figures | {"sample_size": judged.n}


def evidence_of(variant: Variant, verdict: Verdict, rules: Rules) -> Evidence:
    """Both judges' words, for facts."""
    value = evidence.e_value(variant)
    return Evidence(
        rule=verdict.rule,
        guard="evidence" if rules.guarded else "none",
        e_value=value,
        threshold=rules.threshold,
        sufficient=value >= rules.threshold,
        e_values=evidence.by_metric(variant),
        absolute=verdict.absolute,
    )


def judged_of(variant: Variant, verdict: Verdict, rules: Rules) -> Judged:
    """The outcomes that were judged, so that anybody can repeat the verdict."""
    found = judged_outcomes(variant)
    frozen = variant.baseline
    return Judged(
        offsets=[outcome.offset for outcome in found],
        successes="".join(outcome.letter for outcome in found),
        rewards=[outcome.reward / MICRO for outcome in found],
        baseline_n=verdict.baseline.n,
        baseline_source="replaced_variant" if frozen else rules.policy.degradation.baseline,
        baseline_variant=frozen.variant_id if frozen else variant.variant_id,
    )
