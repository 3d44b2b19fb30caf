"""One simulated task in closed loop: the engine decides which variant is active, and so which outcomes follow.

The engine is the real one.  The task is established first: every variant gets outcomes while nothing is enforced.  Then
the same task continues several times: once while no variant changes, so that every rollback is false, and once for each
fall of the active variant.  The next outcome of a variant is the same under every policy, so differences between
policies are not luck.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from statistics import fmean
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from crl_stream.calibration.blocks import Stream
from crl_stream.calibration.history import Late, Outcome
from crl_stream.calibration.stock import FALLS, Stock, Supply
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import Activation, Feedback, Invocation
from crl_stream.core.monitor.rollout import WHOLE, weights_of
from crl_stream.core.monitor.row import RETIRED, TaskRow, decode_row, encode_row, new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Policy

HEALTHY: Final = 1_000
"""Number of outcomes that are simulated while no variant changes."""
AFTER_FALL: Final = 300
"""Number of outcomes that are simulated after a fall; by then, people are assumed to have noticed the fall."""
SETTLING: Final = 60
"""After this many outcomes without another activation, a fallen variant counts as replaced for good."""
_ESTABLISHED: Final = 200
"""Maximum number of outcomes of the active variant before counting begins."""
_OTHERS_ESTABLISHED: Final = 100
_CALMING: Final = 300
"""Maximum number of outcomes to wait for a degraded active variant to recover, so that counting begins with a healthy
one."""
_BEGINNING_MS: Final = 1_767_607_200_000
_STAMP: Final = "2026-01-05T10:00:00Z"
_LONG: Final = 1_000_000_000
_KEY: Final = TaskKey("agent", "task")


class Fall(NamedTuple):
    """What happened to a task after a fall."""

    delay: int | None
    """Number of outcomes until the fallen variant was replaced; None if it was not."""
    lost: float
    """Good outcomes lost, compared with always using the best variant."""


class Life(NamedTuple):
    """What happened to one simulated task."""

    false_rollbacks: int
    """1 if the active variant was rolled back although no variant changed, else 0."""
    at_risk: int
    """Number of outcomes until the active variant was rolled back; the number of all outcomes if it was not."""
    healthy_loss: float
    """Good outcomes lost per outcome while nothing changes, compared with never replacing the active variant."""
    falls: tuple[Fall, ...]
    """What happened after each fall, in the order of ``FALLS``."""


class Source:
    """What the tasks of a simulation draw from: the history, or with a ``seed``, a resampled history."""

    def __init__(self, supply: Supply, seed: str | None) -> None:
        self.supply = supply
        self.stocks = {stock.name: stock for stock in (supply.active, *supply.others)}
        self._places = {name: _places(stock, seed) for name, stock in self.stocks.items()}
        self._states = {name: [self.stocks[name].states[at] for at in found] for name, found in self._places.items()}
        self.healthy = {name: self._mean(name, stock.values) for name, stock in self.stocks.items()}
        """How good each variant is in the long run, 0 to 1."""
        self.fallen = tuple(self._mean(supply.active.name, supply.fallen(left)) for left in FALLS)
        """How good the active variant is in the long run after each of ``FALLS``, 0 to 1."""

    def _mean(self, name: str, values: Sequence[float]) -> float:
        return fmean(values[at] for at in self._places[name])

    def outcomes(self, name: str, seed: str) -> Iterator[Outcome]:
        """Yield an endless series of outcomes of a variant."""
        stock, places = self.stocks[name], self._places[name]
        stream = Stream(self._states[name], stock.length, Random(f"stream {name} {seed}"))
        while True:
            yield stock.outcomes[places[stream.draw()]]


def _places(stock: Stock, seed: str | None) -> Sequence[int]:
    size = len(stock.outcomes)
    if seed is None:
        return range(size)
    # A copy is the same variant under another name, so its resampled history must be the same.
    stream = Stream(stock.states, stock.length, Random(f"history {stock.copy_of or stock.name} {seed}"))
    return [stream.draw() for _ in range(size)]


def live(source: Source, policy: Policy, seed: str) -> Life:
    """Simulate one task under ``policy`` with a seed; decisions are enforced, whatever the policy's mode."""
    enforced, observing = (_in_mode(policy, mode) for mode in ("enforce", "observe"))
    young = _Task(source, new_row(_KEY), 0, f"{seed} young")
    young.establish(observing)
    saved = encode_row(young.row)

    def grown(world: str) -> _Task:
        return _Task(source, decode_row(saved), young.number, f"{seed} {world}")

    healthy = grown("healthy")
    rolled_back, loss = healthy.run_healthy(enforced)
    falls = tuple(grown(f"fall {left}").run_fall(enforced, index) for index, left in enumerate(FALLS))
    return Life(rolled_back is not None, rolled_back or HEALTHY, loss, falls)


def _in_mode(policy: Policy, mode: Any) -> Policy:
    # A simulation has no real clock, and snapshots would cost time without changing the result.
    return replace(
        policy,
        operations=replace(policy.operations, mode=mode, max_skew_seconds=1e9),
        limits=replace(policy.limits, snapshot_outcomes=_LONG, snapshot_seconds=1e9),
    )


class _Task:
    def __init__(self, source: Source, row: TaskRow, number: int, seed: str) -> None:
        self._source, self.row, self.number, self._seed = source, row, number, seed
        self._active = source.supply.active.name
        self._streams: dict[str, Iterator[Outcome]] = {}
        self._luck = Random(f"luck {seed}")
        self._choices = Random(f"choices {seed}")
        self._late: dict[int, list[tuple[str, Late]]] = defaultdict(list)

    def establish(self, policy: Policy) -> None:
        """Give every variant some outcomes, and the active one further outcomes until it is not degraded."""
        active, others = self._source.supply.active, self._source.supply.others
        first = min(_ESTABLISHED, len(active.outcomes))
        self._fold(policy, self._active, "live")
        for stock in others:
            for _ in range(min(_OTHERS_ESTABLISHED, len(stock.outcomes))):
                self._fold(policy, stock.name, "explore")
        for count in range(first + _CALMING):
            if count >= first and not self.row.variants[self._active].degraded:
                break
            self._fold(policy, self._active, "live")

    def run_healthy(self, policy: Policy) -> tuple[int | None, float]:
        """Return the number of outcomes until the first rollback, or None, and the mean loss of live outcomes."""
        values = self._source.healthy
        rolled_back, counted, lost = None, 0, 0.0
        for number in range(1, HEALTHY + 1):
            used, why = self._choose(policy)
            if why != "explore":
                counted += 1
                lost += values[self._active] - values[used]
            changes = self._fold(policy, used, why)
            if rolled_back is None and any(change.cause == "rollback" for change in changes):
                rolled_back = number
        return rolled_back, lost / max(1, counted)

    def run_fall(self, policy: Policy, index: int) -> Fall:
        """Let the active variant fall, and return how soon it was replaced and what was lost."""
        values = self._source.healthy | {self._active: self._source.fallen[index]}
        best, lost, delay, changed = max(values.values()), 0.0, None, 0
        for number in range(1, AFTER_FALL + 1):
            used, why = self._choose(policy)
            if why != "explore":
                lost += best - values[used]
            changes = self._fold(policy, used, why, FALLS[index] if used == self._active else 1.0)
            if changes:
                changed = number
                if delay is None and any(change.from_variant == self._active for change in changes):
                    delay = number
            if delay is not None and number >= changed + SETTLING and self.row.active != self._active:
                # The active variant will rarely change from here on, and simulating the rest would take too long.
                live_share = 1.0 - policy.operations.exploration
                lost += live_share * (AFTER_FALL - number) * (best - values[self.row.active or self._active])
                break
        return Fall(delay, lost)

    def _choose(self, policy: Policy) -> tuple[str, str]:
        """Return the variant that a runtime would use, and why: ``live``, ``explore``, or ``rollout``."""
        active = self.row.active or self._active
        # The random number is always drawn, so that the later ones do not depend on the policy.
        luck = self._choices.random()
        weights = weights_of(self.row)
        if weights is not None:
            candidate = next(iter(weights))
            return (candidate, "rollout") if luck * WHOLE < weights[candidate] else (active, "live")
        if luck < policy.operations.exploration:
            known = self.row.variants
            others = [
                name
                for name in self._source.stocks
                if name != active and name in known and not known[name].quarantined and known[name].state != RETIRED
            ]
            if others:
                return self._choices.choice(others), "explore"
        return active, "live"

    def _fold(self, policy: Policy, name: str, why: Any, left: float = 1.0) -> list[Activation]:
        """Draw and fold the variant's next outcome, keeping a share ``left`` of its successes; return the changes."""
        outcome = self._draw(name, left)
        self.number += 1
        invocation_id = f"i{self.number}"
        invocation = Invocation(
            schema_version=1,
            invocation_id=invocation_id,
            timestamp=_STAMP,
            agent_name=_KEY.agent_name,
            task_type=_KEY.task_type,
            variant_id=name,
            active_epoch=self.row.epoch or None,
            variant_source="explore" if why == "rollout" else why,
            **outcome.fields,
        )
        changes = self._step(invocation, policy)
        for late in outcome.late:
            self._late[self.number + late.lag].append((invocation_id, late))
        for known, late in self._late.pop(self.number, ()):
            changes += self._step(_feedback(f"f{self.row.offset}", known, late), policy)
        return changes

    def _draw(self, name: str, left: float) -> Outcome:
        if name not in self._streams:
            self._streams[name] = self._source.outcomes(name, self._seed)
        outcome = next(self._streams[name])
        if left < 1.0 and outcome.success and self._luck.random() >= left:
            return self._luck.choice(self._source.supply.failures)
        return outcome

    def _step(self, message: Any, policy: Policy) -> list[Activation]:
        offset = self.row.offset + 1
        at = Context(0, offset, _BEGINNING_MS + offset * 1_000, 0, "0" * 16)
        facts = step(self.row, message, at, policy).facts
        return [fact for fact in facts if type(fact) is Activation and fact.from_variant is not None]


def _feedback(feedback_id: str, invocation_id: str, late: Late) -> Feedback:
    return Feedback(
        schema_version=1,
        feedback_id=feedback_id,
        timestamp=_STAMP,
        agent_name=_KEY.agent_name,
        task_type=_KEY.task_type,
        invocation_id=invocation_id,
        reward=late.reward,
        quality=late.quality,
    )
