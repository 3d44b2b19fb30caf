"""The rivals: other ways to find out that a variant has become worse.

The bare rule, the product's verdict, a sequential test as A/B platforms use it, and the detectors of river.  The
attribute ``says`` describes what each one sees, with its parameters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import log, sqrt
from typing import Any, NamedTuple

from benchmarks.detection.actuator import Detector, MakeDetector
from benchmarks.detection.engine import FIXED, NOON
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import TaskRow, decode_row, encode_row, new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Policy

WINDOW = 20
"""Outcomes in the guide's window."""


class Rule:
    """The guide's rule alone: the last 20 outcomes against the lifetime, in three metrics."""

    __slots__ = ("life", "n", "recent", "sums")

    def __init__(self) -> None:
        self.recent: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)
        self.life, self.sums, self.n = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0

    def update(self, outcome: m.Invocation, reward: float) -> bool:
        """Return whether success fell by 10 %, reward by 15 %, or errors rose by 20 %, relative to the lifetime."""
        error = outcome.status == "error" or bool(outcome.error_count)
        seen = (float(outcome.status == "success"), reward, float(error))
        oldest = self.recent[0] if len(self.recent) == WINDOW else (0.0, 0.0, 0.0)
        self.recent.append(seen)
        life, sums = self.life, self.sums
        for place, value in enumerate(seen):
            life[place] += value
            sums[place] += value - oldest[place]
        self.n += 1
        if len(self.recent) < WINDOW:
            return False
        share = WINDOW / self.n
        success, earned, errors = life[0] * share, life[1] * share, life[2] * share
        return (
            (success > 0 and success - sums[0] > 0.10 * success)
            or (earned > 0 and earned - sums[1] > 0.15 * earned)
            or (errors > 0 and sums[2] - errors > 0.20 * errors)
        )


class Ours:
    """The verdict of the product's engine on a variant in a separate row."""

    def __init__(self, policy: Policy, name: str, replaced: Ours | None = None) -> None:
        self._policy, self.offset, self.degraded = policy, 0, False
        self.row: TaskRow = new_row(TaskKey(FIXED["agent_name"], FIXED["task_type"]))
        if replaced is not None:
            # The newcomer is judged against the variant that it replaces, as the engine does.
            self.row, self.offset = decode_row(encode_row(replaced.row)), replaced.offset
            order = {"command_id": "new", "actor": "ada", "reason": "it is new", "variant_id": name, **FIXED}
            self._fold(m.RegisterVariant(**order))
            self._fold(m.ActivateVariant(**(order | {"command_id": "use", "untested": True})))
            self.degraded = False

    def update(self, outcome: m.Invocation, reward: float) -> bool:  # noqa: ARG002 - the engine computes its own
        """Fold the outcome as if its variant were alone."""
        alone = {field: getattr(outcome, field) for field in ("status", "reward", "quality", "error_count")}
        own = m.Invocation(
            invocation_id=outcome.invocation_id,
            variant_id=outcome.variant_id,
            duration_seconds=outcome.duration_seconds,
            variant_source="live",
            **alone,
            **FIXED,
        )
        self._fold(own)
        return self.degraded

    def _fold(self, message: Any) -> None:
        at = Context(0, self.offset, NOON + self.offset * 1_000, 0, "0" * 16)
        self.offset += 1
        for fact in step(self.row, message, at, self._policy).facts:
            if isinstance(fact, m.DegradationAlert) and fact.active:
                self.degraded = fact.state == "degraded"

    def __getstate__(self) -> bytes:
        """Return the row as the changelog keeps it, for ``size``."""
        return encode_row(self.row)


class Totals(NamedTuple):
    """Number, sum and sum of squares of some rewards."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, n: int, total: float, squares: float) -> Totals:
        """Return the totals with the given ones added."""
        return Totals(self.n + n, self.total + total, self.squares + squares)

    @property
    def mean(self) -> float:
        """The mean reward."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The sample variance."""
        return max(0.0, (self.squares - self.total * self.mean) / (self.n - 1))


class Sequential:
    """A one-sided sequential test of the mean reward, as GrowthBook and PostHog run it during a rollout.

    The treatment is the outcomes since the last restart; the control is all outcomes before it, or those of the
    variant that a newcomer replaced.  The test restarts every ``restart`` outcomes, first after half as many, so that
    the changes of most worlds fall into the middle between two restarts.  The variant is degraded if the upper end of
    the confidence sequence for treatment minus control is below 0.  With n outcomes in both and s2 as n times the
    variance of the difference, the half-width at level ``alpha`` is

        sqrt(s2 2 (n r + 1) / (n^2 r) log(1 + sqrt(n r + 1) / (2 alpha)))

    where r = (-2 log(2 alpha) + log(1 - 2 log(2 alpha))) / ``expected`` makes it narrowest at ``expected`` outcomes.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Time-uniform central limit theory and asymptotic confidence
    sequences (arXiv 2103.06476), in the one-sided form of GrowthBook's documentation (statistics/sequential).
    GrowthBook's default for ``expected`` is 5,000, to be set to the size at which a decision is wanted; a variant has
    300 here.
    """

    LEAST_TREATED, LEAST_CONTROL = 10, 40

    def __init__(
        self, replaced: Sequential | None = None, expected: float = 300, restart: int = 100, alpha: float = 0.05
    ) -> None:
        self._restart, self._alpha, self._is_foreign = restart, alpha, replaced is not None
        self._left = restart if self._is_foreign else restart // 2
        self._control = replaced.all if replaced is not None else Totals()
        self._treated = Totals()
        self._r = (-2 * log(2 * alpha) + log(1 - 2 * log(2 * alpha))) / expected

    @property
    def all(self) -> Totals:
        """The totals of all outcomes of the variant itself."""
        return self._treated if self._is_foreign else self._control.plus(*self._treated)

    def update(self, outcome: m.Invocation, reward: float) -> bool:  # noqa: ARG002 - the reward says it all
        """Return whether the treatment is worse than the control; the answer is valid at any time."""
        treated = self._treated = self._treated.plus(1, reward, reward * reward)
        degraded = self._is_worse(self._control, treated)
        if treated.n >= self._left:
            self._control, self._treated, self._is_foreign = self.all, Totals(), False
            self._left = self._restart
        return degraded

    def _is_worse(self, control: Totals, treated: Totals) -> bool:
        if treated.n < self.LEAST_TREATED or control.n < self.LEAST_CONTROL or treated.mean >= control.mean:
            return False
        if control.variance <= 0.0 or treated.variance <= 0.0:
            return False  # without any variance, GrowthBook gives no result
        n, r = treated.n + control.n, self._r
        s2 = n * (treated.variance / treated.n + control.variance / control.n)
        half = sqrt(s2 * 2 * (n * r + 1) / (n * n * r) * log(1 + sqrt(n * r + 1) / (2 * self._alpha)))
        return treated.mean - control.mean + half < 0.0


class Failures:
    """One of river's detectors for a stream of failures: 1 if an outcome failed or had an error, otherwise 0."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def update(self, outcome: m.Invocation, reward: float) -> bool:  # noqa: ARG002
        """Return whether river's detector reports that failures have become more frequent."""
        self._detector.update(int(outcome.status != "success" or bool(outcome.error_count)))
        return bool(self._detector.drift_detected)


class Losses:
    """One of river's detectors for numbers: 0 for the best reward, 1 for the worst."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def update(self, outcome: m.Invocation, reward: float) -> bool:  # noqa: ARG002
        """Return whether river's detector reports that the loss has risen; a falling loss is not a degradation."""
        self._detector.update((1.0 - reward) / 2.0)
        return bool(self._detector.drift_detected)


class Adwin(Losses):
    """ADWIN reports changes in both directions; only a rise of the loss counts."""

    def update(self, outcome: m.Invocation, reward: float) -> bool:
        """Return whether the mean loss of the window rose when ADWIN cut it."""
        before = self._detector.estimation
        return super().update(outcome, reward) and self._detector.estimation > before


class Rival(NamedTuple):
    """A detector by name."""

    code: str
    """The rival's column heading in narrow tables."""
    says: str
    """A description of the detector, with its parameters."""
    make: Callable[..., MakeDetector]
    needs_river: bool = False


def _rule() -> MakeDetector:
    return lambda _name, _replaced: Rule()


def _sequential(**settings: Any) -> MakeDetector:
    return lambda _name, replaced: Sequential(_same(replaced, Sequential), **settings)


def ours(policy: Policy) -> MakeDetector:
    """Return a factory of detectors that give the product's verdict under a policy."""
    return lambda name, replaced: Ours(policy, name, _same(replaced, Ours))


def _same(replaced: Detector | None, kind: type[Any]) -> Any:
    assert replaced is None or isinstance(replaced, kind)
    return replaced


def _adwin(**settings: Any) -> MakeDetector:
    from river.drift import ADWIN

    return lambda _name, _replaced: Adwin(ADWIN(**settings))


def _page_hinkley(**settings: Any) -> MakeDetector:
    from river.drift import PageHinkley

    return lambda _name, _replaced: Losses(PageHinkley(mode="up", **settings))


def _of_failures(name: str) -> Callable[..., MakeDetector]:
    def make(**settings: Any) -> MakeDetector:
        from river.drift import binary

        return lambda _name, _replaced: Failures(getattr(binary, name)(**settings))

    return make


RIVALS = {
    "rule": Rival("rule", "the guide's rule alone: 20 outcomes against the lifetime, three metrics", _rule),
    "sequential": Rival("seq", "sequential test as in GrowthBook: alpha .05, N* 300, restarted every 100", _sequential),
    "adwin": Rival("ADWIN", "river, on the reward: delta .002, clock 32 (defaults)", _adwin, needs_river=True),
    "ddm": Rival("DDM", "river, on failures: 30 to warm up, 3 deviations (defaults)", _of_failures("DDM"), True),
    "page_hinkley": Rival("PH", "river, on the reward: delta .005, threshold 50 (defaults)", _page_hinkley, True),
    "hddm_a": Rival("HDDMA", "river, on failures: confidence .001 (default)", _of_failures("HDDMA"), True),
    "hddm_w": Rival("HDDMW", "river, on failures: confidence .001, lambda .05 (default)", _of_failures("HDDMW"), True),
}
