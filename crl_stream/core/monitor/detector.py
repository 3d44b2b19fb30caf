"""What a detector is: the parts that each file in ``core/monitor/detectors`` defines, and what is derived from them.

One formula, ``worsening``, determines everything that is reported about a window: whether it is degraded, by how much,
and how that compares with the findings of other detectors.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core.folder import Part, is_place, is_text, is_word, misfit, takes
from crl_stream.core.monitor.likelihood import Claim, Triple
from crl_stream.core.monitor.row import MICRO, Sums


class Limit(NamedTuple):
    """The setting in ``[degradation]`` that limits what a detector accepts."""

    name: str
    """Name of the setting; added to the policy if it is not there yet."""
    unit: str
    """What the limit is relative to, in words: ``of the baseline's success rate``."""
    default: float
    least: float = 0.0
    most: float = 1.0

    @property
    def range(self) -> msgspec.Meta:
        """The range that the policy allows for the setting."""
        return msgspec.Meta(ge=self.least, le=self.most)


class Case(NamedTuple):
    """How tests build a detector's inputs; ``tests/core/test_detectors.py`` states what every detector must do."""

    sums: Callable[[int, int], Sums]
    """Builds sums from a number of outcomes and a total of the detector's quantity; all other sums are 0."""
    most: int
    """The largest amount of the detector's quantity that one outcome can have."""
    better: bool
    """Whether more of the detector's quantity is better."""
    good: tuple[int, int]
    """Reward in millionths and flags of an outcome that counts in the variant's favour."""
    bad: tuple[int, int]
    """Reward in millionths and flags of an outcome that counts against the variant."""
    example: tuple[Sums, Sums, str, dict[str, float]]
    """A baseline, a degraded window, the sentence about it, and the figures to three decimal places."""


class Finding(NamedTuple):
    """What one detector finds in a degraded window."""

    change: float
    """The change relative to the baseline: a drop, or an increase for errors."""
    lost: float
    """How many outcomes of the window the change costs; this makes the findings of different metrics comparable."""


class Detector(NamedTuple):
    """One checked file of the folder; its functions read only ``n`` and the fields named in ``sums``."""

    order: int
    """Breaks ties (the lowest wins), and sets the place of the detector's evidence in the rows."""
    name: str
    setting: Limit
    sums: tuple[str, ...]
    """The fields of ``Sums`` that the detector reads."""
    change: str
    """The name under which ``degradation_metrics`` reports the change."""
    floor: Limit
    """The setting for the floor: the smallest loss, in outcomes of the window, that counts; 0 sets no floor."""
    whole: int
    """How much one entirely lost outcome adds to ``worsening``, for each outcome of the baseline."""
    nothing: str
    """Describes a baseline that nothing can be compared with: ``no success``."""
    worsening: Callable[[Sums, Sums], tuple[int, int]]
    """Returns a window's worsening against its baseline, and what the worsening is relative to, as whole numbers.

    If the second number is zero or less, no relative change can be computed.  With a floor, the window is compared all
    the same; without one, the limit is a share of the window's outcomes.
    """
    figure: Callable[[Sums], float]
    """Returns the metric over some outcomes, in the unit that people read."""
    describe: Callable[[Sums, Sums, float], str]
    """Writes the sentence about a degraded window from baseline, window and change."""
    claims: Callable[[float, float], Claim]
    """Returns the changes that the evidence looks for, given the limit, and the floor as a share of the window's
    outcomes."""
    weigh: Callable[[Triple, int, int, Sums, Claim], Triple]
    """Updates the statistics with one outcome; takes statistics, reward in millionths, flags, baseline and claims."""
    case: Case

    @property
    def is_amended(self) -> bool:
        """Whether a late reward changes what the detector finds."""
        return "reward" in self.sums or "squares" in self.sums

    def value_of(self, degradation: Any) -> float:
        """Return the limit that a policy's ``degradation`` sets."""
        value: float = getattr(degradation, self.setting.name)
        return value

    def limit(self, degradation: Any) -> int:
        """Return the limit that a policy's ``degradation`` sets, in millionths."""
        return round(self.value_of(degradation) * MICRO)

    def floor_of(self, degradation: Any) -> float:
        """Return the floor that a policy's ``degradation`` sets, in outcomes of the window."""
        value: float = getattr(degradation, self.floor.name)
        return value

    def exceeds(self, baseline: Sums, recent: Sums, limit: int, floor: int = 0) -> bool | None:
        """Return whether a window is degraded, by exact comparison: a change equal to the limit is healthy.

        Args:
            baseline: What the window is compared with; ``n`` is at least 1.
            recent: The judged outcomes of the window; ``n`` is at least 1.
            limit: The largest relative change that is still healthy, in millionths.
            floor: The least loss that counts, in millionths of an outcome of the window; 0 sets none.

        Returns:
            None if there is nothing to compare with; with a floor, there always is.  Without a floor, a window is still
            degraded if it loses a larger share of its outcomes than the limit, so errors in more than 20 % of the
            outcomes after none at all.
        """
        worse, of = self.worsening(baseline, recent)
        if of <= 0 and not floor:
            return True if worse * MICRO > limit * self.whole * baseline.n * recent.n else None
        return worse > 0 and worse * MICRO > limit * abs(of) and worse * MICRO >= floor * self.whole * baseline.n

    def detect(self, baseline: Sums, recent: Sums, *, floored: bool = False) -> Finding | None:
        """Return how much worse a window is, or None if there is nothing to compare with.

        ``floored`` says whether a floor is set.  The change is then relative to the size of what the baseline has; if
        that is nothing at all, to half an outcome, as in ``likelihood.share``.
        """
        worse, of = self.worsening(baseline, recent)
        if of <= 0 and not floored:
            return None
        lost = worse / (self.whole * baseline.n)
        return Finding(worse / abs(of) if of else lost / recent.n * 2 * (baseline.n + 1), lost)

    def measure(self, baseline: Sums, recent: Sums, change: float | None) -> dict[str, float]:
        """Return the figures for the guide's ``degradation_metrics``; a ``change`` of None is left out."""
        figures = {f"baseline_{self.name}": self.figure(baseline), f"recent_{self.name}": self.figure(recent)}
        return figures if change is None else figures | {self.change: change}


def _is_sums(value: Any) -> bool:
    known = set(Sums.__struct_fields__) - {"n"}
    return isinstance(value, tuple) and bool(value) and known.issuperset(value)


PARTS: Final = (
    Part("NAME", "the metric's name in lower case, such as success_rate", is_word),
    Part("ORDER", "a whole number, 1 or more; a new detector takes the next free one", is_place),
    Part("LIMIT", "a Limit(name, unit, default, least, most)", lambda value: isinstance(value, Limit)),
    Part("SUMS", f"a tuple of some of {', '.join(Sums.__struct_fields__[1:])}", _is_sums),
    Part("CHANGE", "the name of the change among the figures, such as success_drop_pct", is_word),
    Part("FLOOR", "a Limit(name, unit, default, least, most) in outcomes", lambda value: isinstance(value, Limit)),
    Part("WHOLE", "a whole number, 1 or more", is_place),
    Part("NOTHING", "what a baseline has if nothing can be compared with it, such as no success", is_text),
    Part("worsening", "a function (baseline, recent) -> (how much worse, of how much), whole numbers", takes(2)),
    Part("figure", "a function (sums) -> float, the metric of some outcomes", takes(1)),
    Part("describe", "a function (baseline, recent, change) -> the sentence about a degraded window", takes(3)),
    Part("claims", "a function (limit, floor) -> four numbers, such as likelihood.drops(limit)", takes(2)),
    Part("weigh", "a function (found, reward, flags, baseline, claims) -> three statistics", takes(5)),
    Part("CASE", "a Case(sums, most, better, good, bad, example)", lambda value: isinstance(value, Case)),
)
"""The names that every file in the folder must define."""


def detector_of(module: ModuleType) -> Detector:
    """Build the detector from a file with checked ``PARTS``; raise ``IncompletePart`` if its limit is impossible."""
    for part in ("LIMIT", "FLOOR"):
        limit: Limit = getattr(module, part)
        if not is_word(limit.name):
            raise misfit(module, f"has {part}.name = {limit.name!r}", "it must be a name such as success_drop")
        if not is_text(limit.unit):
            raise misfit(module, f"has {part}.unit = {limit.unit!r}", "it must say in words what 1 means")
        if not limit.least <= limit.default <= limit.most:
            raise misfit(module, f"has {part}.default = {limit.default!r}", f"it must be {limit.least} to {limit.most}")
    return Detector(
        module.ORDER,
        module.NAME,
        module.LIMIT,
        module.SUMS,
        module.CHANGE,
        module.FLOOR,
        module.WHOLE,
        module.NOTHING,
        module.worsening,
        module.figure,
        module.describe,
        module.claims,
        module.weigh,
        module.CASE,
    )
