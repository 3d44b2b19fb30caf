"""The verdict on a variant: HEALTHY, DEGRADED or INCONCLUSIVE, never a bool."""

from __future__ import annotations

from typing import Final, NamedTuple

from crl_stream.core.messages.parts import VerdictKind
from crl_stream.core.monitor import evidence
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
    """The finding of the rule, and the verdict after the guard."""

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
    baseline = variant.life if rules.lifetime and variant.baseline is None else baseline_of(variant, rules)
    if baseline.n < rules.min_baseline:
        return False
    # The formulas of the first three detectors are inlined, because calls would take twice as long for every outcome.
    # Property tests check that they agree with the detectors themselves.
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
    for detector, limit in rules.further:  # noqa: SIM110 - usually there are none, and a generator is costly
        if detector.exceeds(baseline, judged, limit):
            return True
    return False


def judge(variant: Variant, rules: Rules) -> Verdict:
    """Judge the outcomes of the window since the last activation.

    They are compared with the baseline, and the worst metric wins.  They are also judged on their own: a full window
    without a success is DEGRADED under every policy, because a variant that never worked has no baseline to fall below.
    """
    verdict, judged = _compare(variant, rules), variant.judged
    if verdict.kind == DEGRADED or judged.successes or judged.n < rules.size:
        return verdict
    worst = verdict.worst if verdict.worst is not None else _OF_SUCCESS
    return Verdict(verdict.rule, DEGRADED, worst, verdict.finding, verdict.baseline, absolute=True)


def is_hopeless(variant: Variant) -> bool:
    """Return whether there is no success among the outcomes in the variant's window, judged or not."""
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
    """Return what the window is compared with."""
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
