"""The outcomes that a simulation draws from: each variant's stable stretch, and the failures that replace successes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Final, NamedTuple

from crl_stream.calibration.blocks import block_length
from crl_stream.calibration.history import History, Late, Outcome, Scale
from crl_stream.calibration.stretches import Change, Stretch, longest_stable_stretch
from crl_stream.core.policy import Learning
from crl_stream.errors import NotFound, UsageError

LEAST: Final = 50
"""Number of stable outcomes that the active variant needs; with fewer, the success rate may be off by over 0.1."""
LEAST_OF_OTHERS: Final = 10
"""Number of stable outcomes that another variant needs to take part: as many as a window needs to be judged."""
MOST_OTHERS: Final = 5
"""Maximum number of other variants that take part: the best ones, because a rollback would rarely choose others."""
FALLS: Final = (0.75, 0.5, 0.0)
"""The sizes of falls: the share of the active variant's successes that is left."""
TWIN: Final = "copy"
"""Last part of the name of an assumed second variant."""


class Stock(NamedTuple):
    """What one variant delivers while it is stable."""

    name: str
    outcomes: tuple[Outcome, ...]
    values: tuple[float, ...]
    """How good each outcome is, from 0 (bad) to 1 (good)."""
    states: tuple[bool, ...]
    """Whether each outcome is good: a success, or at least the mean value. Good and bad ones may be followed by
    different outcomes."""
    length: float
    """Mean length of the blocks in which the outcomes are resampled."""
    total: int
    """Number of outcomes of this variant in the history, stable or not."""
    stretch: Stretch
    rates: dict[str, float]
    """Means over the stable stretch: ``success``, ``errors`` and ``reward``."""
    copy_of: str | None = None
    """The variant that this one is a copy of, if it exists only in the simulation."""


class Supply(NamedTuple):
    """Everything that a simulation of one task needs from its history."""

    active: Stock
    others: tuple[Stock, ...]
    left_out: tuple[tuple[str, int], ...]
    """Variants that do not take part, and how many outcomes each has."""
    failures: tuple[Outcome, ...]
    """Failures that replace successes when the active variant falls; each time, one is drawn at random."""
    failure_value: float
    """How good a failure is on average, 0 to 1."""
    synthetic: bool
    """Whether the history contains no failure, so that one was made up."""
    by_success: bool
    """Whether outcomes are measured by success; else each counts (reward + 1) / 2."""

    def fallen(self, left: float) -> list[float]:
        """Return each outcome's mean value if a fall leaves the active variant a share ``left`` of its successes."""
        return [
            left * value + (1.0 - left) * self.failure_value if outcome.success else value
            for outcome, value in zip(self.active.outcomes, self.active.values, strict=True)
        ]


def supply_of(
    history: History,
    learning: Learning,
    *,
    active: str | None = None,
    whole: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Supply:
    """Return what to simulate with; raises ``UsageError`` if the history is too short, ``NotFound`` without any.

    Args:
        history: The task's history.
        learning: How rewards are computed where they are not given.
        active: The variant that is active at first; by default, the variant of the newest outcome that was not
            exploration, or if this variant has too few outcomes, the one with the most.
        whole: Take all outcomes instead of the longest stable stretch of each variant.
        progress: Called with the number of variants searched for changes so far, and the number of all variants.
    """
    if not history.variants:
        raise NotFound(f"There are no outcomes of {history.key}.", hint="crl status lists the tasks")
    scale = Scale(history, learning)
    stocks: dict[str, Stock] = {}
    for name, found in history.variants.items():
        progress(len(stocks), len(history.variants))
        stocks[name] = _stock(name, found, scale, whole=whole)
    progress(len(stocks), len(stocks))
    first = _active(history, stocks, active)
    others = [stock for name, stock in stocks.items() if name != first.name and len(stock.outcomes) >= LEAST_OF_OTHERS]
    others.sort(key=lambda stock: (-sum(stock.values) / len(stock.values), stock.name))
    del others[MOST_OTHERS:]
    left_out = [(name, stock.total) for name, stock in stocks.items() if stock not in (first, *others)]
    if not others:
        others = [first._replace(name=_twin_name(first.name, history), copy_of=first.name)]
    failures, synthetic = _failures(first, list(stocks.values()))
    value = sum(map(scale.value, failures)) / len(failures)
    return Supply(
        first, tuple(others), tuple(sorted(left_out)), tuple(failures), value, synthetic, by_success=scale.by_success
    )


def _stock(name: str, outcomes: Sequence[Outcome], scale: Scale, *, whole: bool) -> Stock:
    series: dict[str, Sequence[float]] = {
        "success": [float(one.success) for one in outcomes],
        "errors": [float(one.error) for one in outcomes],
        "reward": [scale.reward(one) for one in outcomes],
    }
    stretch = Stretch(0, len(outcomes), ()) if whole else longest_stable_stretch(series)
    first, end = stretch.first, stretch.end
    kept = tuple(outcomes[first:end])
    stable = {what: values[first:end] for what, values in series.items()}
    values = tuple(map(scale.value, kept))
    least = fmean(values)
    states = tuple(one.success if scale.by_success else value >= least for one, value in zip(kept, values, strict=True))
    return Stock(
        name,
        kept,
        values,
        states,
        block_length(states, list(stable.values())),
        len(outcomes),
        stretch,
        {what: sum(values) / len(values) for what, values in stable.items()},
    )


def _active(history: History, stocks: dict[str, Stock], named: str | None) -> Stock:
    if named is not None:
        if named not in stocks:
            listed = ", ".join(sorted(stocks)[:8])
            raise NotFound(f"{history.key} has no outcomes of {named}.", hint=f"its variants are {listed}")
        found = stocks[named]
    else:
        found = stocks.get(history.newest or "") or max(stocks.values(), key=lambda stock: len(stock.outcomes))
        if len(found.outcomes) < LEAST:
            found = max(stocks.values(), key=lambda stock: (len(stock.outcomes), stock.name))
    if len(found.outcomes) < LEAST:
        stable = len(found.outcomes)
        cut = f", of which {stable} without a change in between" if stable < found.total else ""
        raise UsageError(
            f"{found.name} has {found.total} outcomes{cut}; calibration needs {LEAST}, and about 1,000 to be precise.",
            hint="collect more, or name another variant with --active" + (", or take all with --whole" if cut else ""),
        )
    return found


def _failures(active: Stock, stocks: Sequence[Stock]) -> tuple[list[Outcome], bool]:
    """Return the failures that replace successes in a fall: from the active variant, else from others, else made up."""
    for found in (active.outcomes, [one for stock in stocks for one in stock.outcomes]):
        if failures := [one for one in found if not one.success]:
            return failures, False
    return [_spoilt(one) for one in active.outcomes], True


def _spoilt(outcome: Outcome) -> Outcome:
    """Turn a success into a failure with the worst scores; its duration stays the same."""
    fields: dict[str, Any] = outcome.fields | {"status": "failure"}
    worst = {"reward": -1.0, "quality": 0.0}
    fields |= {name: value for name, value in worst.items() if name in fields}
    late = tuple(
        Late(one.lag, None if one.reward is None else -1.0, None if one.quality is None else 0.0)
        for one in outcome.late
    )
    return Outcome(fields, late)


def _twin_name(name: str, history: History) -> str:
    found = f"{name}-{TWIN}"
    while found in history.variants:
        found += "2"
    return found


def described(change: Change) -> str:
    """Return a change in words: ``success 91% -> 42%``, ``reward 0.83 -> 0.41``."""
    if change.what == "reward":
        return f"reward {change.before:.2f} -> {change.after:.2f}"
    return f"{change.what} {change.before:.0%} -> {change.after:.0%}"
