"""The actuator that all rivals share: it follows a detector in the guide's words, and adds nothing.

When the detector finds the active variant degraded, the variant goes into quarantine.  Of the variants with 5 outcomes
or more that are not in quarantine, the one with the highest Q-value becomes active.  So rivals differ only in when they
find a degradation.  The product's own checks (is the target better, was the rollback right) are not included.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from benchmarks.detection.engine import Alarmed, Event, Noticed, Switched
from crl_stream.core import messages as m
from crl_stream.core.monitor.learning import Formula, reward_of, speed_of
from crl_stream.core.monitor.row import ABSENT, MICRO
from crl_stream.core.policy import Learning

LEAST = 5
"""Number of outcomes that a target needs, as in the guide."""
REARMED = 20
"""Number of consecutive outcomes without a degraded verdict after which an alarm ends, as in the engine."""
_FORMULA = Formula(Learning())


class Detector(Protocol):
    """Finds out when one variant has become worse."""

    def update(self, outcome: m.Invocation, reward: float) -> bool:
        """Process an outcome and its reward, -1 to 1; return whether the variant is degraded now."""


MakeDetector = Callable[[str, Detector | None], Detector]
"""Creates the detector of the named variant.

If an operator has just activated the variant, the second argument is the detector of the variant that it replaces.
"""


def reward(outcome: m.Invocation) -> float:
    """Return the reward of an outcome, -1 to 1, by the product's formula unless the outcome has its own."""
    if outcome.reward is not None:
        return outcome.reward
    quality = ABSENT if outcome.quality is None else round(outcome.quality * MICRO)
    errors = outcome.error_count or 0
    return reward_of(outcome.status == "success", quality, speed_of(outcome, _FORMULA), errors, _FORMULA) / MICRO


class Known:
    """What the actuator remembers about a variant."""

    __slots__ = ("detector", "n", "q", "quarantined")

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.n, self.q, self.quarantined = 0, 0.0, False


class Actuator:
    """A detector per variant, and the guide's rollback."""

    amends = False
    stages = False

    def __init__(self, make: MakeDetector) -> None:
        self._make = make
        self._known: dict[str, Known] = {}
        self.active: str | None = None
        self.epoch = 0
        self._calm = REARMED

    def new_detector(self) -> Detector:
        """Return a new detector, like the one that each variant gets."""
        return self._make("variant", None)

    def excludes(self, name: str) -> bool:
        """Return whether the variant is in quarantine."""
        return name in self._known and self._known[name].quarantined

    def weights(self) -> dict[str, int] | None:
        """Return None: the actuator does not roll variants out in stages."""
        return None

    def take(self, message: Any) -> Iterator[Event]:
        """Process an outcome or an operator's command; yield the resulting events."""
        if isinstance(message, m.ActivateVariant):
            yield from self._obey(message.variant_id)
            return
        name, earned = message.variant_id, reward(message)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = Known(self._make(name, None))
        if self.active is None and message.variant_source == "live":
            self.active, self.epoch = name, 1
        known.n += 1
        known.q += max(0.1, 1 / known.n) * (earned - known.q)
        degraded = known.detector.update(message, earned)
        if name != self.active:
            return
        if not degraded:
            self._calm += 1
            return
        is_new, self._calm = self._calm >= REARMED, 0
        if is_new:
            yield Alarmed()
        yield from self._roll_back(name, is_new)

    def _roll_back(self, left: str, is_new: bool) -> Iterator[Event]:
        able = [
            (-known.q, -known.n, name)
            for name, known in self._known.items()
            if name != left and known.n >= LEAST and not known.quarantined
        ]
        if able:
            self._known[left].quarantined = True
            chosen = min(able)[2]
            self._activate(chosen)
            yield Switched("rollback", left, chosen)
        elif is_new:
            yield Noticed("no_target")

    def _obey(self, name: str) -> Iterator[Event]:
        left = self.active
        if self.excludes(name):
            return  # an unknown or active variant: the product refuses this too
        before = self._known[left].detector if left is not None else None
        detector = self._make(name, before)
        known = self._known.setdefault(name, Known(detector))
        known.detector = detector
        self._activate(name)
        if left is not None and left != name:
            yield Switched("command", left, name)

    def _activate(self, name: str) -> None:
        self.active, self.epoch, self._calm = name, self.epoch + 1, REARMED

    def size(self) -> int:
        """Return the bytes of all variants, pickled: what a table without a schema would store."""
        return sum(
            len(pickle.dumps((name, k.n, k.q, k.quarantined, k.detector), pickle.HIGHEST_PROTOCOL))
            for name, k in self._known.items()
        )
