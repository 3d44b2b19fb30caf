"""Every figure in an explanation follows from the topics: recomputed from raw records, without the engine's code."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from builders import AGENT, TASK, a_collapse, a_policy, an_invocation, invocations

from crl_stream.core import messages as m
from crl_stream.core.policy import GUIDE, Policy, PolicySet
from crl_stream.explaining.documents import Explanation
from crl_stream.explaining.why_not import Answer, WhyNot, why_not
from crl_stream.kafka.partition_rows import TaskState
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import partition_key
from crl_stream.wire.topics import ALERTS, DECISIONS, DEGRADATIONS, INVOCATIONS, ROLLBACKS
from explaining.told import KEY, explained

WINDOW, LIMITS = 20, {"success_rate": 0.10, "avg_reward": 0.15, "error_rate": 0.20}


class Raw:
    """The log and the activations as plain JSON, counted with lists and fractions."""

    def __init__(self, driver: TopologyDriver) -> None:
        self.outcomes: list[dict[str, Any]] = []
        for record in driver.records(INVOCATIONS):
            body = json.loads(record.value or b"{}")
            if "status" in body:
                self.outcomes.append(body | {"offset": record.offset})
        self.activations = [json.loads(record.value or b"") for record in driver.records(DECISIONS)]
        self.activations = [each for each in self.activations if each["type"] == "activation"]

    def of(self, variant: str, until: int = 10**9) -> list[dict[str, Any]]:
        """Return a variant's outcomes up to an offset."""
        return [each for each in self.outcomes if each["variant_id"] == variant and each["offset"] <= until]

    def judged(self, variant: str, until: int = 10**9) -> list[dict[str, Any]]:
        """Return the outcomes of the window since the variant's last activation before that offset."""
        begun = [
            (each["epoch"], each["position"]["offset"])
            for each in self.activations
            if each["to_variant"] == variant and each["position"]["offset"] < until
        ]
        epoch, offset = max(begun, default=(0, -1))
        window = self.of(variant, until)[-WINDOW:]
        return [each for each in window if each["offset"] >= offset and each.get("active_epoch", epoch) >= epoch]


def reward(outcome: dict[str, Any]) -> Fraction:
    return Fraction(str(outcome.get("reward", 1 if outcome["status"] == "success" else -1)))


def rate(outcomes: list[dict[str, Any]], metric: str) -> Fraction:
    of = {
        "success_rate": lambda one: Fraction(one["status"] == "success"),
        "avg_reward": reward,
        "error_rate": lambda one: Fraction(one["status"] == "error" or one.get("error_count", 0) > 0),
    }[metric]
    return sum(map(of, outcomes), Fraction(0)) / len(outcomes)


def q_value(outcomes: list[dict[str, Any]]) -> float:
    """Return Q: the mean of the first ten rewards, then exponential with a rate of a tenth."""
    q = 0.0
    for number, outcome in enumerate(outcomes, start=1):
        q += max(0.1, 1 / number) * (float(reward(outcome)) - q)
    return q


def a_story() -> TopologyDriver:
    driver = TopologyDriver()
    driver.pipe(a_policy(GUIDE))
    driver.pipe_each(invocations("spare", "SSSFSSFSSS" * 2, variant_source="explore"))
    for element in a_collapse():
        driver.pipe(element)
    return driver


def state_of(driver: TopologyDriver) -> TaskState:
    rows = driver.changelog[0]
    return TaskState(0, rows[KEY.encode()], rows[partition_key(0)], 0)


def assert_figures(found: Explanation, raw: Raw, variant: str, at: int) -> None:
    """Compare figures, limits, outcomes and baseline with the raw records."""
    judged, whole = raw.judged(variant, at), raw.of(variant, at)
    assert found.strip is not None and found.baseline is not None
    assert [each.offset for each in found.strip.outcomes] == [each["offset"] for each in judged]
    letters = {"success": "S", "failure": "F", "error": "E"}
    assert [each.outcome for each in found.strip.outcomes] == [letters[each["status"]] for each in judged]
    assert [each.reward for each in found.strip.outcomes] == [float(reward(each)) for each in judged]
    assert [each.invocation_id for each in found.strip.outcomes] == [each["invocation_id"] for each in judged]
    assert (found.baseline.n, found.baseline.source, found.baseline.variant_id) == (len(whole), "lifetime", variant)
    for figure in found.figures:
        before, after = rate(whole, figure.metric), rate(judged, figure.metric)
        assert figure.baseline == pytest.approx(float(before))
        assert figure.recent == pytest.approx(float(after))
        worse = after - before if figure.metric == "error_rate" else before - after
        assert figure.change is None if not before else figure.change == pytest.approx(float(worse / before))
        assert figure.limit == LIMITS[figure.metric]
    assert {figure.metric for figure in found.figures} == set(LIMITS)


def test_the_figures_of_a_rollback_are_those_of_the_log() -> None:
    driver = a_story()
    raw = Raw(driver)
    [event] = driver.read(ROLLBACKS)
    found = explained(driver, event.rollback_id, GUIDE.for_task(KEY))
    at = event.position.offset
    assert_figures(found, raw, "api-optimized", at)
    assert found.candidates is not None
    for candidate in found.candidates:
        own = raw.of(candidate.variant_id, at)
        assert candidate.n_visits == len(own)
        assert candidate.q_value == pytest.approx(q_value(own))
    best = max(found.candidates, key=lambda one: one.q_value)
    assert (best.chosen, best.variant_id) == (True, "default")
    assert found.evidence is not None
    assert found.evidence.threshold == 1.25 * 5_000
    assert found.evidence.e_value == pytest.approx(sum(found.evidence.e_values.values()) / 3)


def test_the_degradation_the_alert_and_the_activation_show_the_same_figures_as_the_rollback() -> None:
    driver = a_story()
    [event] = driver.read(ROLLBACKS)
    whole = explained(driver, event.rollback_id, GUIDE.for_task(KEY))
    activation = next(one for one in driver.read(DECISIONS) if getattr(one, "cause", "") == "rollback")
    alert = next(one for one in driver.read(ALERTS) if one.kind == "rollback")
    [degradation] = driver.read(DEGRADATIONS)
    for name in (activation.activation_id, alert.alert_id, degradation.alert_id):
        found = explained(driver, name, GUIDE.for_task(KEY))
        assert (found.figures, found.strip, found.baseline) == (whole.figures, whole.strip, whole.baseline)


# -- why nothing happens ------------------------------------------------------------------------------
def answer(found: WhyNot, key: str, variant: str) -> Answer:
    return next(one for one in found.answers if (one.key, one.variant_id) == (key, variant))


def numbers(found: Answer) -> dict[str, tuple[float | None, float | None]]:
    return {one.key: (one.number, one.limit) for one in found.conditions}


@pytest.mark.parametrize("late", ["SSFSS", "SFSSF", "SSSSS"])
def test_the_figures_of_a_rollback_that_does_not_happen_are_those_of_the_log(late: str) -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "S" * 25 + "F" + "S" * 14))
    driver.pipe_each(invocations("v2", "SSSSF" * 4, variant_source="explore"))
    driver.pipe_each(invocations("default", late))
    raw, found = Raw(driver), why_not(KEY, state_of(driver), driver.clock)
    rolled_back = answer(found, "rolled_back", "default")
    judged, whole = raw.judged("default"), raw.of("default")
    told = numbers(rolled_back)
    assert told["outcomes"] == (len(judged), 10)
    assert told["baseline"] == (len(whole), 20)
    changes = {}
    for metric in LIMITS:
        before, after = rate(whole, metric), rate(judged, metric)
        if before:
            changes[metric] = float((after - before if metric == "error_rate" else before - after) / before)
    nearest = max(changes, key=lambda metric: changes[metric] / LIMITS[metric])
    assert told["rule"][0] == pytest.approx(changes[nearest])
    assert told["rule"][1] == LIMITS[nearest]
    beyond = any(changes[metric] > LIMITS[metric] for metric in changes)
    [rule] = [one for one in rolled_back.conditions if one.key == "rule"]
    assert rule.holds == beyond


def test_the_figures_of_a_promotion_that_does_not_happen_are_those_of_the_log() -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "SSSF" * 6))
    for number in range(14):
        driver.pipe(an_invocation("v2", reward=0.9 + 0.005 * number, variant_source="explore"))
    raw, found = Raw(driver), why_not(KEY, state_of(driver), driver.clock)
    told = numbers(answer(found, "promoted", "v2"))
    mine, active = raw.of("v2"), raw.of("default")
    assert told["q"] == (pytest.approx(q_value(mine)), 0.9)
    assert told["n"] == (len(mine), 10)
    assert told["since_active"] == (len(mine), 10)
    assert told["lead_q"] == (pytest.approx(q_value(mine) - q_value(active)), 0.05)
    assert told["lead_reward"] == (pytest.approx(float(rate(mine, "avg_reward") - rate(active, "avg_reward"))), 0.05)
    assert told["cooldown"] == (len(mine) + len(active), 20)
    assert (found.n_outcomes, found.epoch, found.active_variant) == (len(mine) + len(active), 1, "default")


def test_the_policy_and_who_set_it_come_from_the_log() -> None:
    driver = TopologyDriver()
    policies = PolicySet(default=Policy())
    command = a_policy(policies)
    driver.pipe(command)
    driver.pipe_each(invocations("default", "S" * 12))
    found = why_not(KEY, state_of(driver), driver.clock)
    assert (found.policy.policy_hash, found.policy.actor) == (policies.digest(), "ada")
    assert (found.agent_name, found.task_type) == (AGENT, TASK)
    [result] = [one for one in driver.read(DECISIONS) if isinstance(one, m.CommandResult)]
    assert found.policy.set_at == result.timestamp
