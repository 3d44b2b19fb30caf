"""The rivals of the detection benchmark find a collapse, keep to their rate of false alarms, and share one actuator."""

from __future__ import annotations

import json
import subprocess
import sys
from math import log, sqrt
from random import Random
from statistics import fmean, variance
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from source_tree import environment_of_this_checkout

from benchmarks.detection.actuator import Actuator, reward
from benchmarks.detection.contestants import (
    EVIDENCE,
    POLICIES,
    USUAL_RIVALS,
    contestant_of,
    needing_river,
    policy_of,
)
from benchmarks.detection.cost import cost
from benchmarks.detection.engine import FIXED, Alarmed, Engine, Noticed, Switched
from benchmarks.detection.loop import Loop
from benchmarks.detection.rivals import WINDOW, Adwin, Failures, Losses, Rule, Sequential
from benchmarks.detection.worlds import WORLDS
from crl_stream.core import messages as m

BY_NAME = {world.name: world for world in WORLDS}
COLLAPSE, FALL, STEADY = BY_NAME["0.92>0.50, other 0.88"], BY_NAME["0.90>0.60 alone"], BY_NAME["0.90 alone"]
OF_RIVER = needing_river(USUAL_RIVALS)
OWN = [name for name in USUAL_RIVALS if name not in OF_RIVER]


def outcome(name: str = "a", status: str = "success", **fields: Any) -> m.Invocation:
    given = {"invocation_id": "i", "variant_id": name, "status": status, "variant_source": "live"}
    return m.Invocation(**(FIXED | given | fields))


@pytest.mark.parametrize("name", [*POLICIES, *OWN])
def test_every_contestant_leaves_a_variant_that_collapses(name: str) -> None:
    make = contestant_of(name).make
    results = [Loop(COLLAPSE, make(), f"s {number}").run() for number in range(5)]
    assert sum(result.last == "b" for result in results) >= 4
    assert sum(r.got - r.never for r in results) > 0.6 * sum(r.oracle - r.never for r in results)


@pytest.mark.parametrize("name", OWN)
def test_every_rival_raises_an_alarm_soon_after_a_fall(name: str) -> None:
    make = contestant_of(name).make
    results = [Loop(FALL, make(), f"s {number}").run() for number in range(5)]
    found = [any(300 <= at < 420 for at in result.alarms) for result in results]
    assert sum(found) >= 4 - (name == "rule")  # a false alarm before the fall may hide the real one


@pytest.mark.parametrize("name", [EVIDENCE, "sequential"])
def test_a_rival_that_claims_to_be_calm_is_calm_and_the_bare_rule_is_not(name: str) -> None:
    def alarms(name: str) -> int:
        make = contestant_of(name).make
        return sum(len(Loop(STEADY._replace(outcomes=1_500), make(), f"s {n}").run().alarms) for n in range(4))

    assert alarms(name) <= 3
    assert alarms("rule") > 30


def test_a_sequential_test_is_wrong_about_equal_variants_no_more_often_than_it_claims() -> None:
    wrong = 0
    for seed in range(100):
        luck = Random(seed)
        test = Sequential(restart=10**9)
        draws = [1.0 if luck.random() < 0.8 else -1.0 for _ in range(700)]
        test._control = test._control.plus(200, sum(draws[:200]), 200.0)
        wrong += any(test.update(outcome(), value) for value in draws[200:])
    assert wrong <= 5  # alpha is .05, however often the test looks


@given(
    st.lists(st.floats(-1, 1), min_size=40, max_size=60),
    st.lists(st.floats(-1, 1), min_size=10, max_size=40),
    st.sampled_from([-1e-4, 1e-4]),
)
def test_a_sequential_test_alarms_where_the_formula_of_its_docstring_says(
    control: list[float], treated: list[float], beyond: float
) -> None:
    assume(min(variance(control), variance(treated)) > 1e-3)
    alpha, n = 0.05, len(control) + len(treated)
    r = (-2 * log(2 * alpha) + log(1 - 2 * log(2 * alpha))) / 300
    s2 = n * (variance(control) / len(control) + variance(treated) / len(treated))
    half = sqrt(s2 * 2 * (n * r + 1) / (n * n * r) * log(1 + sqrt(n * r + 1) / (2 * alpha)))
    shift = fmean(control) - half + beyond - fmean(treated)  # the upper end is then just above or just below 0
    replaced = Sequential(restart=10**9)
    for value in control:
        replaced.update(outcome(), value)
    test = Sequential(replaced)
    verdicts = [test.update(outcome(), value + shift) for value in treated]
    assert verdicts[-1] is (beyond < 0)


HISTORIES = st.lists(st.tuples(st.booleans(), st.floats(-1, 1), st.integers(0, 2)), max_size=80)
ONLY_REWARDS = st.lists(st.tuples(st.just(True), st.floats(0.4, 1), st.just(0)), min_size=21, max_size=60)
RARE = st.sampled_from([True] * 9 + [False])
ONLY_SUCCESS = st.lists(st.tuples(RARE, st.just(0.5), st.just(0)), min_size=21, max_size=60)
ONLY_ERRORS = st.lists(
    st.tuples(st.just(True), st.just(0.5), RARE.map(lambda good: 1 - good)), min_size=21, max_size=60
)


@given(HISTORIES | ONLY_REWARDS | ONLY_SUCCESS | ONLY_ERRORS)
def test_the_bare_rule_is_the_guides_rule_over_plain_lists(history: list[tuple[bool, float, int]]) -> None:
    rule = Rule()
    for number, (good, earned, errors) in enumerate(history, start=1):
        status = "success" if good else "failure"
        degraded = rule.update(outcome(status=status, error_count=errors), earned)
        if number < WINDOW:
            assert not degraded
            continue
        seen = [(float(good), earned, float(errors > 0)) for good, earned, errors in history[:number]]
        changes = []
        for column, sign, limit in zip(zip(*seen, strict=True), (1, 1, -1), (0.10, 0.15, 0.20), strict=True):
            before, late = fmean(column), fmean(column[-WINDOW:])
            changes.append(sign * (before - late) / before - limit if before > 1e-9 else -1.0)
            assume(abs(before) < 1e-12 or abs(before) > 1e-9)
        if all(abs(change) > 1e-9 for change in changes):  # whole numbers meet the limits exactly; floats need not
            assert degraded == any(change > 0 for change in changes)


@pytest.mark.parametrize(("bad", "limit"), [(("failure", 0.5), 10), (("success", 0.0), 15)])
@pytest.mark.parametrize("before", [40, 100, 400])
def test_the_bare_rule_alarms_with_the_first_bad_outcome_beyond_its_limit(
    before: int, bad: tuple[str, float], limit: int
) -> None:
    rule = Rule()
    for _ in range(before):
        rule.update(outcome(), 0.5)
    for number in range(1, WINDOW + 1):
        degraded = rule.update(outcome(status=bad[0]), bad[1])
        n, late = before + number, (WINDOW - number) * (before + number)
        assert degraded == (100 * (before * WINDOW - late) > limit * before * WINDOW), n


class Script:
    """A detector whose results a test sets."""

    def __init__(self) -> None:
        self.degraded = False

    def update(self, outcome: m.Invocation, reward: float) -> bool:
        return self.degraded


def scripted() -> tuple[Actuator, dict[str, Script]]:
    scripts: dict[str, Script] = {}
    return Actuator(lambda name, _replaced: scripts.setdefault(name, Script())), scripts


def test_the_actuator_takes_the_highest_q_with_five_outcomes_and_quarantines_what_it_leaves() -> None:
    actuator, scripts = scripted()
    for name, good, bad in (("a", 9, 1), ("b", 4, 2), ("c", 5, 1), ("d", 4, 0)):
        for status in ["success"] * good + ["failure"] * bad:
            assert list(actuator.take(outcome(name, status))) == []
    scripts["b"].degraded = True  # this variant is not active, so the actuator does nothing
    assert list(actuator.take(outcome("b"))) == []
    scripts["a"].degraded = True
    assert list(actuator.take(outcome("a"))) == [Alarmed(), Switched("rollback", "a", "c")]
    assert (actuator.active, actuator.epoch, actuator.excludes("a"), actuator.excludes("c")) == ("c", 2, True, False)
    scripts["c"].degraded = True
    assert list(actuator.take(outcome("c"))) == [Alarmed(), Switched("rollback", "c", "b")]
    assert list(actuator.take(outcome("b"))) == [Alarmed(), Noticed("no_target")]
    assert list(actuator.take(outcome("b"))) == []  # the same alarm
    list(actuator.take(outcome("d")))
    assert list(actuator.take(outcome("b"))) == [Switched("rollback", "b", "d")]


def test_an_alarm_is_counted_again_only_after_twenty_calm_outcomes() -> None:
    actuator, scripts = scripted()
    list(actuator.take(outcome()))
    alarms = []
    for calm in (0, 5, 19, 20):
        scripts["a"].degraded = False
        for _ in range(calm):
            list(actuator.take(outcome()))
        scripts["a"].degraded = True
        alarms.append(Alarmed() in list(actuator.take(outcome())))
    assert alarms == [True, False, False, True]


def test_an_operators_newcomer_gets_a_new_detector_that_knows_what_it_replaces() -> None:
    made: list[tuple[str, Any]] = []

    def make(name: str, replaced: Any) -> Script:
        made.append((name, replaced))
        return Script()

    actuator = Actuator(make)
    list(actuator.take(outcome("a")))
    order = {"command_id": "c", "actor": "ada", "reason": "r", "variant_id": "b"}
    command = m.ActivateVariant(**(FIXED | order))
    assert list(actuator.take(command)) == [Switched("command", "a", "b")]
    assert made[-1][0] == "b"
    assert isinstance(made[-1][1], Script)
    assert actuator.active == "b"


@pytest.mark.parametrize("name", [EVIDENCE, "sequential"])
def test_a_newcomer_is_judged_against_the_variant_that_it_replaces(name: str) -> None:
    world, make = BY_NAME["0.60 replaces 0.90"], contestant_of(name).make
    results = [Loop(world, make(), f"s {number}").run() for number in range(5)]
    assert sum(result.last == "a" for result in results) >= 4


@given(st.booleans(), st.none() | st.floats(0, 1), st.none() | st.floats(-1, 1), st.integers(0, 3))
def test_the_rivals_reward_is_the_engines(good: bool, quality: float | None, own: float | None, errors: int) -> None:
    message = outcome(status="success" if good else "failure", quality=quality, reward=own, error_count=errors)
    engine = Engine(policy_of("never"))
    list(engine.take(message))
    assert engine.row.variants["a"].life.reward / 1e6 == pytest.approx(reward(message), abs=1e-6)


def test_river_sees_failures_or_losses_and_only_a_rise_of_adwins_mean_counts() -> None:
    fed: list[float] = []
    fake = SimpleNamespace(update=fed.append, drift_detected=True, estimation=0.5)
    assert Failures(fake).update(outcome(status="failure"), -1.0)
    assert Failures(fake).update(outcome(error_count=1), 0.9)
    assert Failures(fake).update(outcome(), 1.0)
    assert Losses(fake).update(outcome(), 0.5)
    assert fed == [1, 1, 0, 0.25]
    for after, wanted in ((0.6, True), (0.4, False)):
        fake.estimation = 0.5
        fake.update = lambda _value, after=after: setattr(fake, "estimation", after)
        assert Adwin(fake).update(outcome(), 0.5) is wanted


def test_what_everyone_costs_is_reported_in_time_ratio_and_bytes() -> None:
    names = ("guide", "production", *OWN)
    found = cost([contestant_of(name) for name in names], outcomes=300, rounds=3)
    assert set(found) == set(names)
    assert found["production"]["ratio"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    for name, each in found.items():
        assert 0 < each["ns"]["min"] <= each["ns"]["median"] <= each["ns"]["max"]
        assert each["bytes"] > 100
        assert ("detector_ns" in each) == (name in OWN)
    assert found["sequential"]["bytes"] < found[EVIDENCE]["bytes"]


RIVER = """
import json, sys
from benchmarks.detection.contestants import borrow_river, contestant_of
from benchmarks.detection.cost import cost
from benchmarks.detection.loop import Loop
from benchmarks.detection.worlds import WORLDS
if not borrow_river():
    sys.exit(77)
by_name = {world.name: world for world in WORLDS}
def alarms(name, world, outcomes):
    world = by_name[world]._replace(outcomes=outcomes)
    return [Loop(world, contestant_of(name).make(), f"s {n}").run().alarms for n in range(4)]
names = sys.argv[1:]
costs = cost([contestant_of(name) for name in names], outcomes=300, rounds=1)
found = {n: [alarms(n, "0.90 alone", 1_000), alarms(n, "0.70>0.40 alone", 700), costs[n]["bytes"]] for n in names}
print(json.dumps(found))
"""


def test_rivers_detectors_find_a_fall_and_are_calm_before_it() -> None:
    # In a separate process: river brings numpy and pandas, which no other test should find.
    names = [*OF_RIVER, "hddm_w"]
    command = [sys.executable, "-c", RIVER, *names]
    done = subprocess.run(command, env=environment_of_this_checkout(), capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("needs river: `make bench-detection ARGS=cost` installs it into .venv-bench")
    assert done.returncode == 0, done.stderr
    for name, (steady, fall, size) in json.loads(done.stdout).items():
        assert sum(map(len, steady)) <= 3, name
        assert sum(any(at >= 300 for at in alarms) for alarms in fall) >= 3, name
        assert size > 100, name
