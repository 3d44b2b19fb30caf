"""The verdict on a variant: HEALTHY, DEGRADED or INCONCLUSIVE, never a bool."""

from __future__ import annotations

from typing import Final, NamedTuple

from crl_stream.core.messages.parts import VerdictKind
from crl_stream.core.monitor import evidence
from crl_stream.core.monitor.baseline import before_window, lifetime_of, recent_or_long
from crl_stream.core.monitor.detector import Detector, Finding
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.row import MICRO, SIZE, SUCCESS, Sums, Variant
from crl_stream.core.monitor.rules import Rules

HEALTHY: Final = "HEALTHY"
DEGRADED: Final = "DEGRADED"
INCONCLUSIVE: Final = "INCONCLUSIVE"
_OF_SUCCESS: Final = next(detector for detector in DETECTORS if detector.sums == ("successes",))
"""The metric to report when a full window has no success."""


class Verdict(NamedTuple):
    """The finding of the guide's rule, and the verdict after the guard has been applied."""

    rule: VerdictKind
    kind: VerdictKind
    """The verdict; INCONCLUSIVE if the rule finds DEGRADED but the evidence is not sufficient."""
    worst: Detector | None
    finding: Finding | None
    baseline: Sums
    absolute: bool = False
    """Whether the verdict is DEGRADED because a full window has no success, regardless of rule and evidence."""


def is_suspect(variant: Variant, rules: Rules) -> bool:
    """Return whether ``judge`` would find the rule broken; this cheap test runs for every outcome before ``judge``."""
    judged = variant.judged
    if judged.n < rules.min_recent:
        return False
    if judged.successes == 0 and judged.n >= rules.size:
        return True
    if variant.baseline is None and variant.origin is None and not rules.before:
        baseline = recent_or_long(variant) if rules.recent else variant.life
    else:
        baseline = baseline_of(variant, rules)
    if baseline.n < rules.min_baseline:
        return False
    # The formulas of the first three detectors are inlined, because calls would take twice as long for every outcome.
    # Property tests check that they agree with the detectors themselves.
    n, whole = judged.n, baseline.n
    success_limit, reward_limit, error_limit = rules.limits
    success_floor, reward_floor, error_floor = rules.floors
    before = baseline.successes * n
    lost = (before - judged.successes * whole) * MICRO
    if lost > success_limit * before and lost >= success_floor * whole and before > 0:
        return True
    before = baseline.reward * n
    lost = (before - judged.reward * whole) * MICRO
    if before <= 0:
        before = -before if reward_floor else 2 * MICRO * n * whole
    if lost > reward_limit * before and lost >= 2 * MICRO * reward_floor * whole and lost > 0:
        return True
    before = baseline.errors * n
    lost = (judged.errors * whole - before) * MICRO
    if before <= 0 and not error_floor:
        before = n * whole
    if lost > error_limit * before and lost >= error_floor * whole:
        return True
    for detector, limit, floor in rules.further:  # noqa: SIM110 - usually there are none, and a generator is costly
        if detector.exceeds(baseline, judged, limit, floor):
            return True
    return False


def judge(variant: Variant, rules: Rules) -> Verdict:
    """Judge the outcomes of the window since the last activation.

    They are compared with the baseline; of several metrics, the one that costs the most outcomes is reported.  They are
    also judged on their own: a full window without a success is DEGRADED under every policy, because a variant that
    never worked has no baseline to fall below.
    """
    verdict, judged = _compare(variant, rules), variant.judged
    if verdict.kind == DEGRADED or judged.successes or judged.n < rules.size:
        return verdict
    worst = verdict.worst if verdict.worst is not None else _OF_SUCCESS
    return Verdict(verdict.rule, DEGRADED, worst, verdict.finding, verdict.baseline, absolute=True)


def is_hopeless(variant: Variant, rules: Rules) -> bool:
    """Return whether there is no success in the variant's window: among the judged outcomes if they are enough."""
    window, judged = variant.window, variant.judged
    if judged.n >= rules.min_recent:
        return judged.successes == 0
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
    for detector, limit, floor in rules.checks:
        degraded = detector.exceeds(baseline, judged, limit, floor)
        if degraded is None:
            continue
        conclusive = True
        if degraded:
            found = detector.detect(baseline, judged, floored=True)
            if found is not None and (finding is None or found.lost > finding.lost):
                worst, finding = detector, found
    if worst is None:
        kind: VerdictKind = HEALTHY if conclusive else INCONCLUSIVE
        return Verdict(kind, kind, None, None, baseline)
    if rules.guarded and evidence.e_value(variant) < rules.threshold:
        return Verdict(DEGRADED, INCONCLUSIVE, worst, finding, baseline)
    return Verdict(DEGRADED, DEGRADED, worst, finding, baseline)


def baseline_of(variant: Variant, rules: Rules) -> Sums:
    """Return what the window is compared with."""
    frozen = variant.baseline
    return own_baseline_of(variant, rules) if frozen is None or not is_newcomer(variant, rules) else frozen.sums


def is_newcomer(variant: Variant, rules: Rules) -> bool:
    """Return whether a variant is judged against a baseline other than its own past (see ``row.Frozen``)."""
    frozen = variant.baseline
    return frozen is not None and (frozen.concurrent or not rules.recent or variant.past.n < rules.enough)


def includes_window(variant: Variant, rules: Rules) -> bool:
    """Return whether the judged window is part of what it is compared with: the guide's lifetime contains it."""
    return not rules.recent and not rules.before and not is_newcomer(variant, rules)


def own_baseline_of(variant: Variant, rules: Rules) -> Sums:
    """Return the baseline of a variant that is not a newcomer."""
    if rules.recent:
        return recent_or_long(variant)
    return before_window(variant) if rules.before else lifetime_of(variant)
