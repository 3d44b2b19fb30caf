"""Recommends the policy that costs least among those within the budget of false rollbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from crl_stream.calibration.measurement import Figures

MATERIAL: Final = 0.1
"""Good outcomes per 1,000 by which a policy must be better to be worth a change."""

Conclusion = Literal["change", "keep", "undecided", "none_within_budget"]


class Recommendation(NamedTuple):
    """The recommended policy, and the reasons for it."""

    conclusion: Conclusion
    chosen: Figures | None
    """The best policy within the budget; None if there is none."""
    reasons: tuple[str, ...]
    """Sentences."""


def recommend(found: Sequence[Figures], budget: float) -> Recommendation:
    """Choose among policies; the first one is the present policy.

    ``budget`` is the number of false rollbacks per 1,000 invocations that a user accepts.
    """
    present = found[0]
    within = [one for one in found if one.false_rollbacks.value <= budget]
    if not within:
        least = min(found, key=lambda one: one.false_rollbacks.value)
        reason = (
            f"No policy stays within {budget:g} false rollbacks per 1,000 invocations; {least.alternative.name} is "
            f"closest with {least.false_rollbacks.value:.2f}. Accept more with --budget, or find out why good and bad "
            "outcomes come in runs"
        )
        return Recommendation("none_within_budget", None, (reason,))
    if present in within:
        return _against_present(present, within, budget)
    return _instead_of(present, _simplest_of_the_best(within), budget)


def _simplest_of_the_best(within: Sequence[Figures]) -> Figures:
    """Return the first policy that is at most slightly worse than the cheapest one, or not provably worse.

    Policies that a user named come first, then the profiles, and then the grid: a setting that makes no difference
    should not be changed.
    """
    cheapest = min(within, key=lambda one: one.harm.value)
    return next(one for one in within if (over := one.excess_over(cheapest)).value < MATERIAL or over.low <= 0.0)


def _against_present(present: Figures, within: Sequence[Figures], budget: float) -> Recommendation:
    cheapest = min(within, key=lambda one: one.harm.value)
    if cheapest is present:
        return Recommendation("keep", present, ("No other policy within the budget costs less",))
    if cheapest.gain.value < MATERIAL:
        return Recommendation("keep", present, (f"The present policy is as good as any: {_saving(cheapest)}",))
    if cheapest.gain.low <= 0.0:
        reasons = f"{_saving(cheapest)}, which may be chance", _narrower(cheapest.gain.simulated)
        return Recommendation("undecided", cheapest, reasons)
    best = _simplest_of_the_best([one for one in within if one.gain.low > 0.0])
    return Recommendation("change", best, (_saving(best), *_what_it_does(best, present, budget)))


def _saving(one: Figures) -> str:
    gain, name = one.gain, one.alternative.name
    return f"{name} would save {gain.value:.2f} good outcomes per 1,000 ({gain.low:.2f} to {gain.high:.2f})"


def _instead_of(present: Figures, best: Figures, budget: float) -> Recommendation:
    rate = present.false_rollbacks
    makes = (
        f"The present policy makes {rate.value:.2f} false rollbacks per 1,000 invocations ({rate.low:.2f} to "
        f"{rate.high:.2f}); the budget is {budget:g}"
    )
    if rate.low <= budget and best.gain.low <= 0.0:
        uncertain = f"{makes}, so it may or may not stay within the budget"
        return Recommendation("undecided", best, (uncertain, _narrower(rate.simulated)))
    return Recommendation("change", best, (makes, *_what_it_does(best, present, budget)))


def _what_it_does(best: Figures, present: Figures, budget: float) -> list[str]:
    rate, name = best.false_rollbacks, best.alternative.name
    makes = f"{name} makes {rate.value:.2f} false rollbacks per 1,000 ({rate.low:.2f} to {rate.high:.2f})"
    if rate.high > budget:
        makes += ", so it is probably within the budget, but not certainly"
    later = [
        f"{one.delay_median:.0f} instead of {other.delay_median:.0f} when {one.left:.0%} of the successes are left"
        for one, other in zip(best.falls, present.falls, strict=True)
        if one.pays and one.delay_median is not None and other.delay_median is not None
    ]
    return [makes, *([f"Outcomes until a fallen variant is replaced (median): {'; '.join(later)}"] if later else [])]


def _narrower(simulated: float) -> str:
    if simulated > 0.5:
        return "Most of the uncertainty comes from the simulation: run it with more --tasks"
    return "The history is too short to tell: repeat the calibration when there are more outcomes"
