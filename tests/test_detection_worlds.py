"""The worlds of the detection benchmark match their descriptions: their rates, their runs, and what arrives late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from statistics import fmean
from typing import Any

import pytest

from benchmarks.detection.engine import Event, Switched
from benchmarks.detection.loop import UNSCORED, Loop
from benchmarks.detection.sources import Days, Judged, Rate, Rewards, Runs, Source, constant, short_runs
from benchmarks.detection.worlds import WORLDS
from crl_stream.core import messages as m

BY_NAME = {world.name: world for world in WORLDS}


def drawn(source: Source, number: int = 20_000) -> list[dict[str, Any]]:
    random = Random(3)
    return [source.draw(random, now) for now in range(number)]


def correlation(values: list[float]) -> float:
    mean = fmean(values)
    return fmean([(a - mean) * (b - mean) for a, b in pairwise(values)]) / fmean([(a - mean) ** 2 for a in values])


def successes(outcomes: list[dict[str, Any]]) -> list[float]:
    return [float(outcome["status"] == "success") for outcome in outcomes]


@pytest.mark.parametrize("kind", [Rate, Runs, Days, short_runs])
def test_a_source_has_its_rate_in_the_long_run(kind: Callable[[float], Source]) -> None:
    assert fmean(successes(drawn(kind(0.8)))) == pytest.approx(0.8, abs=0.015)


@pytest.mark.parametrize(
    ("world", "wanted"),
    [(".92/.80", 0.0), (".92/.80 runs .1", 0.1), (".92/.80 runs .3", 0.3), ("0.90 alone runs .1", 0.1),
     ("0.90 alone runs .3", 0.3), ("0.90>0.60 runs .3", 0.3)],
)  # fmt: skip
def test_failures_come_in_runs_with_the_correlation_that_the_world_names(world: str, wanted: float) -> None:
    for make in BY_NAME[world].phases[-1][1].values():
        assert correlation(successes(drawn(make()))) == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("p", [0.85, 0.45, 0.3])
def test_rewards_are_from_minus_1_to_1_around_their_value_and_may_be_negative(p: float) -> None:
    rewards = [outcome["reward"] for outcome in drawn(Rewards(p))]
    assert -1 <= min(rewards) < 0 <= max(rewards) <= 1
    assert fmean(rewards) == pytest.approx(2 * p - 1, abs=0.05)


def test_a_constant_judge_hardly_varies_and_a_usual_one_does() -> None:
    spans = []
    for source in (constant(0.95), Judged(0.85)):
        qualities = [outcome["quality"] for outcome in drawn(source)]
        assert fmean(qualities) == pytest.approx(source.p, abs=0.01)
        spans.append(max(qualities) - min(qualities))
    assert spans[0] < 0.05
    assert spans[1] > 0.5


def test_real_outcomes_are_replayed_in_their_order_and_equal_variants_are_equal() -> None:
    [equal] = set(BY_NAME["tau-bench, four equal"].phases[0][1].values())
    source = equal()
    assert source.p == 0.42
    twice = drawn(source, 400)
    assert twice[:200] == twice[200:]
    assert successes(twice).count(1.0) == 2 * 84
    begins = {
        tuple(successes([other.draw(Random(seed), 0) for _ in range(20)])) for seed in range(9) for other in [equal()]
    }
    assert len(begins) > 5
    before, after = (phase["a"]().p for _, phase in BY_NAME["tau-bench .75>.42"].phases)
    assert (before, after) == (0.75, 0.42)


class Recording:
    """Switches from a to b after ``switch`` outcomes, and remembers the messages that it got."""

    def __init__(self, switch: int = 10_000, *, amends: bool = True) -> None:
        self.active: str | None = None
        self.epoch, self.amends, self.stages, self._switch = 0, amends, False, switch
        self.taken: list[Any] = []

    def excludes(self, name: str) -> bool:
        return False

    def weights(self) -> dict[str, int] | None:
        return None

    def take(self, message: Any) -> Iterator[Event]:
        self.taken.append(message)
        if self.active is None:
            self.active, self.epoch = "a", 1
        if len(self.taken) == self._switch:
            self.active, self.epoch = "b", 2
            yield Switched("rollback", "a", "b")

    def size(self) -> int:
        return 0


def test_late_results_of_the_old_variant_arrive_after_the_change_with_their_old_epoch() -> None:
    late, prompt = Recording(500), Recording(500)
    Loop(BY_NAME[".92/.80 late results"], late, "s").run()
    Loop(BY_NAME[".92/.80"], prompt, "s").run()
    old = [o for o in late.taken[500:] if o.active_epoch == 1]
    assert 5 <= len(old) <= BY_NAME[".92/.80 late results"].late_results
    assert any(outcome.variant_id == "a" and outcome.variant_source == "live" for outcome in old)
    assert all(outcome.active_epoch == 2 for outcome in late.taken[520:])
    assert not [outcome for outcome in prompt.taken[500:] if outcome.active_epoch == 1]


def test_late_results_are_the_same_outcomes_in_another_order_and_never_later_than_the_world_says() -> None:
    late, prompt = Recording(), Recording()
    Loop(BY_NAME[".92/.80 late results"], late, "s").run()
    Loop(BY_NAME[".92/.80"], prompt, "s").run()
    facts = {o.invocation_id: (o.variant_id, o.status) for o in prompt.taken}
    assert all(facts[o.invocation_id] == (o.variant_id, o.status) for o in late.taken)
    numbers = [int(outcome.invocation_id[1:]) for outcome in late.taken]
    assert numbers != sorted(numbers)
    assert all(number > max(numbers[:at], default=0) - 20 for at, number in enumerate(numbers))


def test_late_scores_follow_their_outcomes_and_some_never_come() -> None:
    world, recording = BY_NAME["0.85>0.60 scores 30"], Recording()
    Loop(world, recording, "s").run()
    seen: set[str] = set()
    scores = 0
    for message in recording.taken:
        if isinstance(message, m.Feedback):
            assert message.invocation_id in seen
            scores += 1
        else:
            assert message.quality is None
            seen.add(message.invocation_id)
    assert len(seen) == world.outcomes
    assert scores / world.outcomes == pytest.approx(1 - UNSCORED, abs=0.06)


def test_who_cannot_amend_gets_each_outcome_once_and_complete_if_its_score_came() -> None:
    world, waiting, amending = BY_NAME["0.85>0.60 scores 30"], Recording(amends=False), Recording()
    Loop(world, waiting, "s").run()
    Loop(world, amending, "s").run()
    scores = {f.invocation_id: f.quality for f in amending.taken if isinstance(f, m.Feedback)}
    ids = [outcome.invocation_id for outcome in waiting.taken]
    assert len(set(ids)) == len(ids) >= world.outcomes - 2 * world.late_scores
    known = [outcome for outcome in waiting.taken if outcome.invocation_id in scores]
    assert [outcome.quality for outcome in known] == [scores[outcome.invocation_id] for outcome in known]
    assert len(known) > 0.7 * world.outcomes


def test_all_contestants_of_a_world_have_the_same_luck() -> None:
    one, other = Recording(), Recording(amends=False)
    for recording in (one, other):
        Loop(BY_NAME["0.90>0.60, other 0.85"], recording, "s").run()
    assert one.taken == other.taken
