"""Simulated tasks are decided by the real engine, and only the policy makes a difference between them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from calibration.worlds import a_history, bernoulli, history_of, invocations_of
from crl_stream.calibration import closed_loop
from crl_stream.calibration.closed_loop import Source, live
from crl_stream.calibration.history import Outcome
from crl_stream.calibration.stock import FALLS, supply_of
from crl_stream.core import messages as m
from crl_stream.core.policy import Degradation, Learning, Operations, Policy
from crl_stream.settings import load_settings

GUIDE = Policy()
PRODUCTION = load_settings(environment={}, flags={"profile": "production"}).policies.default


@pytest.fixture(autouse=True)
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the simulated tasks short, because the results of these tests do not depend on their length."""
    monkeypatch.setattr(closed_loop, "HEALTHY", 300)
    monkeypatch.setattr(closed_loop, "AFTER_FALL", 100)


def a_source(seed: str | None = None, **rates: float) -> Source:
    return Source(supply_of(a_history(1, 400, **(rates or {"v1": 0.9, "v2": 0.88})), Learning(), active="v1"), seed)


def a_score(invocation_id: str) -> m.Feedback:
    return m.Feedback(
        schema_version=1,
        feedback_id=f"score-{invocation_id}",
        timestamp="2025-11-19T14:30:00Z",
        agent_name="backend-architect",
        task_type="api-design",
        invocation_id=invocation_id,
        quality=0.5,
    )


def test_the_same_seed_gives_the_same_life_and_another_seed_another() -> None:
    source = a_source()
    assert live(source, GUIDE, "x") == live(source, GUIDE, "x")
    assert live(source, GUIDE, "x") != live(source, GUIDE, "y")


@pytest.mark.parametrize("mode", ["shadow", "observe"])
def test_a_fleet_that_does_not_enforce_yet_is_measured_as_if_it_did(mode: Any) -> None:
    source = a_source()
    cautious = replace(GUIDE, operations=Operations(mode=mode))
    assert live(source, cautious, "x") == live(source, GUIDE, "x")


def test_a_policy_that_never_finds_anything_loses_what_every_fall_costs() -> None:
    blind = replace(GUIDE, degradation=Degradation(success_drop=1.0, reward_drop=1e9, error_increase=1e9))
    source = a_source(v1=0.9, v2=0.8)
    life = live(source, blind, "x")
    assert (life.false_rollbacks, life.at_risk) == (0, closed_loop.HEALTHY)
    half = life.falls[FALLS.index(0.5)]
    assert half.delay is None
    lost = source.healthy["v2"] - source.fallen[FALLS.index(0.5)]
    assert half.lost == pytest.approx(closed_loop.AFTER_FALL * lost)


def test_a_fall_to_nothing_is_left_soon_by_every_profile_and_costs_little() -> None:
    source = a_source()
    for policy in (GUIDE, PRODUCTION):
        fall = live(source, policy, "x").falls[FALLS.index(0.0)]
        assert fall.delay is not None and fall.delay <= 20
        assert fall.lost < 40


def test_no_rollback_goes_to_a_variant_that_is_far_worse() -> None:
    source = a_source(v1=0.9, v2=0.3)
    lives = [live(source, GUIDE, str(number)) for number in range(4)]
    assert [life.healthy_loss for life in lives] == [0.0] * 4
    assert all(life.false_rollbacks == 0 for life in lives)


def test_the_loss_of_a_false_rollback_is_at_most_what_the_other_variant_delivers_less_until_the_end() -> None:
    """A false rollback costs less if it is taken back."""
    source = a_source(v1=0.9, v2=0.8)
    life = next(life for life in (live(source, GUIDE, str(n)) for n in range(50)) if life.false_rollbacks)
    difference = source.healthy["v1"] - source.healthy["v2"]
    assert 0.0 < life.healthy_loss <= difference * (1 - life.at_risk / closed_loop.HEALTHY) + 1e-9


def test_a_resampled_history_has_other_rates_around_those_of_the_history() -> None:
    plain = a_source()
    others = [Source(plain.supply, str(number)).healthy["v1"] for number in range(40)]
    assert min(others) < plain.healthy["v1"] < max(others)
    assert sum(others) / 40 == pytest.approx(plain.healthy["v1"], abs=0.01)


def test_a_copy_is_as_good_as_the_variant_in_every_resampled_history() -> None:
    supply = supply_of(a_history(1, 200, alone=0.8), Learning())
    [copy] = supply.others
    assert copy.copy_of == "alone"
    for number in range(5):
        assert len(set(Source(supply, str(number)).healthy.values())) == 1


def test_a_score_arrives_as_late_as_it_did_and_what_is_never_scored_stays_unscored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the simulation, each score arrives after as many outcomes as in the history."""
    messages: list[Any] = invocations_of("v1", bernoulli(Random(9), 0.9, 60))
    scored = [
        one
        for number, message in enumerate(messages)
        for one in (message, *([a_score(f"v1-{number - 3}")] if number >= 3 else []))
    ]
    seen: list[str] = []

    def watching(row: Any, message: Any, at: Any, policy: Any) -> Any:
        seen.append(message.invocation_id if isinstance(message, m.Invocation) else f"score {message.invocation_id}")
        return step(row, message, at, policy)

    step = closed_loop.step
    monkeypatch.setattr(closed_loop, "step", watching)
    live(Source(supply_of(history_of(scored), Learning()), None), GUIDE, "x")
    lags = []
    outcomes: list[str] = []
    for one in seen[:100]:
        if one.startswith("score "):
            lags.append(len(outcomes) - 1 - outcomes.index(one.removeprefix("score ")))
        else:
            outcomes.append(one)
    assert lags and set(lags) == {3}


def test_what_a_variant_does_next_does_not_depend_on_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """If outcomes depended on the policy, chance would look like a difference between policies."""
    drawn: list[list[Outcome]] = []
    original = Source.outcomes

    def watched(self: Source, name: str, seed: str) -> Any:
        found: list[Outcome] = []
        if name == "v1" and seed.endswith("healthy"):
            drawn.append(found)
        for one in original(self, name, seed):
            found.append(one)
            yield one

    monkeypatch.setattr(Source, "outcomes", watched)
    source = a_source()
    for policy in (GUIDE, PRODUCTION):
        live(source, policy, "x")
    one, other = drawn
    shared = min(len(one), len(other))
    assert shared > 5
    assert one[:shared] == other[:shared]


def test_a_count_begins_with_a_variant_that_is_not_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a variant degraded at the start, a rollback would follow at once, and the rate would depend on the start."""
    begun: list[bool] = []
    encode = closed_loop.encode_row

    def watching(row: Any) -> bytes:
        begun.append(row.variants["v1"].degraded)
        return encode(row)

    monkeypatch.setattr(closed_loop, "encode_row", watching)
    source = a_source()
    for number in range(8):
        live(source, GUIDE, str(number))
    assert begun == [False] * 8


def test_what_is_lost_after_a_fall_does_not_depend_on_how_long_the_choice_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rollback to the second best variant does not count as much as a rollback to the best one."""
    source = a_source(v1=0.9, v2=0.9, v3=0.88)
    found = []
    for settling in (10, 1_000):
        monkeypatch.setattr(closed_loop, "SETTLING", settling)
        falls = [live(source, PRODUCTION, str(number)).falls[FALLS.index(0.0)] for number in range(12)]
        found.append([(fall.delay, round(fall.lost, 6)) for fall in falls])
    assert found[0] == found[1]
