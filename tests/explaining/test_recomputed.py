"""Every figure in an explanation follows from the topics: recomputed from raw records, without the engine's code."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from builders import AGENT, TASK, a_collapse, a_command, a_policy, an_invocation, invocations

from crl_stream.core import messages as m
from crl_stream.core.policy import GUIDE, Policy, PolicySet
from crl_stream.explaining.documents import Explanation
from crl_stream.explaining.why_not import Answer, WhyNot, why_not
from crl_stream.kafka.partition_rows import TaskState
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import partition_key
from crl_stream.wire.topics import ALERTS, COMMANDS, DECISIONS, DEGRADATIONS, INVOCATIONS, RECEIPTS, ROLLBACKS
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


def a_long_story() -> TopologyDriver:
    """Build a collapse after more than five windows, with failures, errors and rewards of all sizes."""
    driver = TopologyDriver()
    driver.pipe(a_policy(GUIDE))
    driver.pipe_each(invocations("default", "S" * 30 + "F"))
    driver.pipe_each(invocations("api-optimized", "SSSSSSSSSF" * 5, variant_source="explore"))
    driver.pipe(a_command(m.ActivateVariant, variant_id="api-optimized"))
    letters = "SSSSSSSSSSSESSSSSSFS" * 5 + "SFSSFEFSFFEFFFFF"
    for number, letter in enumerate(letters):
        [outcome] = invocations("api-optimized", letter, active_epoch=2)
        given = {"reward": 0.5 + 0.05 * (number % 7)} if letter == "S" and number % 3 == 0 else {}
        driver.pipe(msgspec.structs.replace(outcome, trace_id=f"t{number}", runtime_id=f"h{number % 3}", **given))
        if driver.read(ROLLBACKS):
            break
    return driver


STORIES = {"short": a_story, "long": a_long_story}


def state_of(driver: TopologyDriver) -> TaskState:
    rows = driver.changelog[0]
    return TaskState(0, rows[KEY.encode()], rows[partition_key(0)], 0)


# -- evidence, from the formulas in the docstrings of ``core.monitor.likelihood`` ------------------------------------
DROPS = {"success_rate": (0.1, 0.2, 0.4), "avg_reward": (0.15, 0.3, 0.6), "error_rate": (2.0, 3.0, 5.0)}
"""What the three alternatives of each metric claim: a drop relative to the baseline, or a multiple of its errors."""


def ratio(metric: str, claim: float, outcome: dict[str, Any], before: list[dict[str, Any]]) -> float:
    """Return how much more likely an outcome is if a claim is true than if nothing has changed."""
    if metric == "avg_reward":
        mean = float(rate(before, metric))
        if mean <= 0:
            return 0.0
        of = [(float(reward(one)) + 1) / 2 for one in before]
        centre = sum(of) / len(of)
        variance = max(1e-4, sum((one - centre) ** 2 for one in of) / len(of))
        shift = claim * mean / 2
        bet = min(shift / (variance + shift**2), 0.9 / (1 - centre) if centre < 1 else float("inf"))
        return max(0.0, 0.999 + bet * (centre - (float(reward(outcome)) + 1) / 2))
    happened = bool(rate([outcome], metric))
    share = min(max(float((rate(before, metric) * len(before) + Fraction(1, 2)) / (len(before) + 1)), 0.001), 0.9999)
    if metric == "success_rate":
        return 1 - claim if happened else 0.999 + claim * share / (1 - share)
    worse = min(share * claim, (1 + share) / 2)
    return worse / share if happened else (1 - worse) / (1 - share)


def e_values(raw: Raw, variant: str, until: int) -> dict[str, float]:
    """Return the e-value of each metric: ``R = (R + 1) L`` for each outcome since the activation, for each claim.

    An outcome is compared with all before it, which must be 40; from 100 on, without those that are judged with it.
    """
    begun = max(one["position"]["offset"] for one in raw.activations if one["to_variant"] == variant)
    statistics = {metric: [0.0] * 3 for metric in DROPS}
    outcomes = raw.of(variant, until)
    for number, outcome in enumerate(outcomes):
        before = outcomes[:number]
        if outcome["offset"] <= begun or len(before) < 40:
            continue
        if len(before) >= 5 * WINDOW:
            judged = [one["offset"] for one in before[-WINDOW:] if one["offset"] > begun]
            before = [one for one in before if one["offset"] not in judged]
        for metric, claims in DROPS.items():
            for at, claim in enumerate(claims):
                statistics[metric][at] = (statistics[metric][at] + 1) * ratio(metric, claim, outcome, before)
    return {metric: sum(found) / 3 for metric, found in statistics.items()}


def broken_at(raw: Raw, variant: str) -> dict[str, Any]:
    """Return the first outcome since the activation with which the guide's rule is broken."""
    begun = max(one["position"]["offset"] for one in raw.activations if one["to_variant"] == variant)
    for outcome in raw.of(variant):
        judged, whole = raw.judged(variant, outcome["offset"]), raw.of(variant, outcome["offset"])
        if outcome["offset"] < begun or len(judged) < 10 or len(whole) < 20:
            continue
        for metric, limit in LIMITS.items():
            before, after = rate(whole, metric), rate(judged, metric)
            worse = after - before if metric == "error_rate" else before - after
            if worse > Fraction(str(limit)) * (before or 1):
                return outcome
    raise AssertionError("the rule is not broken")


def promised(raw: Raw, variant: str, at: int) -> tuple[float, float]:
    """Return the reward and success rate that a degraded variant delivers: its window, and ten of its baseline."""
    judged, whole = raw.judged(variant, at), raw.of(variant, at)
    return tuple(  # type: ignore[return-value]
        float((rate(judged, metric) * len(judged) + rate(whole, metric) * 10) / (len(judged) + 10))
        for metric in ("avg_reward", "success_rate")
    )


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


@pytest.mark.parametrize("story", STORIES)
def test_the_figures_of_a_rollback_are_those_of_the_log(story: str) -> None:
    driver = STORIES[story]()
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
    mine = e_values(raw, "api-optimized", at)
    assert found.evidence.e_values == pytest.approx(mine, rel=1e-9)
    assert found.evidence.e_value == pytest.approx(sum(mine.values()) / 3, rel=1e-9)
    assert found.evidence.sufficient == (sum(mine.values()) / 3 >= 1.25 * 5_000)
    assert all(value > 1.0 for value in mine.values()), "each formula has had something to say"


NUMBERS = {
    "epoch": "one more than the activations before",
    "position.partition": "the outcome that broke the rule",
    "position.offset": "the outcome that broke the rule",
    "figures.*.baseline": "assert_figures",
    "figures.*.recent": "assert_figures",
    "figures.*.change": "assert_figures",
    "figures.*.limit": "assert_figures",
    "strip.partition": "the outcome that broke the rule",
    "strip.outcomes.*.offset": "assert_figures",
    "strip.outcomes.*.reward": "assert_figures",
    "strip.gone": "nothing has been deleted",
    "baseline.n": "assert_figures",
    "evidence.e_value": "e_values",
    "evidence.threshold": "1.25 times the budget",
    "evidence.e_values.success_rate": "e_values",
    "evidence.e_values.avg_reward": "e_values",
    "evidence.e_values.error_rate": "e_values",
    "candidates.*.q_value": "q_value",
    "candidates.*.n_visits": "counted",
    "causes.*.position.partition": "that of the message",
    "causes.*.position.offset": "that of the message",
}
"""Every number of the explanation of a rollback, and what it is compared with in this file."""


def numbers_in(value: Any, at: tuple[str, ...] = ()) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(numbers_in(one, (*at, name)) for name, one in value.items()))
    if isinstance(value, list):
        return set().union(*(numbers_in(one, (*at, "*")) for one in value))
    return {".".join(at)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


@pytest.mark.parametrize("story", STORIES)
def test_an_explanation_has_no_number_that_is_not_recomputed_here(story: str) -> None:
    driver = STORIES[story]()
    [event] = driver.read(ROLLBACKS)
    document = msgspec.to_builtins(explained(driver, event.rollback_id, GUIDE.for_task(KEY)))
    del document["fact"]  # the message itself; the next test compares it with its bytes
    assert numbers_in(document) == set(NUMBERS)


@pytest.mark.parametrize("story", STORIES)
def test_what_else_an_explanation_says_of_a_rollback_is_on_the_topics(story: str) -> None:
    driver = STORIES[story]()
    raw, [event] = Raw(driver), driver.read(ROLLBACKS)
    found = explained(driver, event.rollback_id, GUIDE.for_task(KEY), "https://traces.example.com/{trace_id}")
    [record] = driver.records(ROLLBACKS)
    assert msgspec.to_builtins(found.fact) == json.loads(record.value or b"")
    last = broken_at(raw, "api-optimized")
    assert found.position is not None and found.strip is not None and found.baseline is not None
    assert (found.position.partition, found.position.offset) == (0, last["offset"])
    assert (found.strip.partition, found.strip.gone) == (0, 0)
    assert found.epoch == 1 + len([one for one in raw.activations if one["position"]["offset"] < last["offset"]])
    judged = raw.judged("api-optimized", last["offset"])
    assert [(one.runtime_id, one.trace_id, one.trace_url) for one in found.strip.outcomes] == [
        (
            one.get("runtime_id"),
            one.get("trace_id"),
            f"https://traces.example.com/{one['trace_id']}" if "trace_id" in one else None,
        )
        for one in judged
    ]
    whole = raw.of("api-optimized", last["offset"])
    assert found.baseline.words == f"{len(whole)} outcomes of api-optimized: its lifetime, the window included"
    before, after = rate(whole, "success_rate"), rate(judged, "success_rate")
    drop = f"Success rate dropped from {float(before):.0%} to {float(after):.0%} ({float(1 - after / before):.1%} drop)"
    told = [found.reason, *(step.words for step in found.causes if step.what == "degraded")]
    if story == "short":
        assert told == [drop, f"api-optimized: {drop}"]
    assert found.undo_command == f"crl undo {AGENT}/{TASK} --epoch {found.epoch}"
    for one in found.candidates or []:
        if not one.chosen and one.why_not is not None and one.why_not.startswith("not better"):
            own = raw.of(one.variant_id, last["offset"])
            rewards, successes = promised(raw, "api-optimized", last["offset"])
            assert f"reward {float(rate(own, 'avg_reward')):.3f} against {rewards:.3f}" in one.why_not
            assert f"success {float(rate(own, 'success_rate')):.1%} against {successes:.1%}" in one.why_not


@pytest.mark.parametrize("story", STORIES)
def test_every_step_before_and_after_a_rollback_is_a_message_with_its_time_and_place(story: str) -> None:
    driver = STORIES[story]()
    [event] = driver.read(ROLLBACKS)
    driver.pipe(a_command(m.ConfirmRollback, rollback_id=event.rollback_id))
    driver.pipe_each(invocations("default", "SF" * 10, active_epoch=3, runtime_id="h1"))
    found = explained(driver, event.rollback_id, GUIDE.for_task(KEY))
    told = {}
    for topic in (COMMANDS, DECISIONS, DEGRADATIONS, ALERTS, ROLLBACKS, RECEIPTS):
        for record in driver.records(topic):
            body = json.loads(record.value or b"")
            told[next(value for name, value in body.items() if name.endswith("_id"))] = body  # its own id is the first
    assert found.causes and found.since
    for step in [*found.causes, *found.since]:
        body = told[step.id]
        assert step.timestamp == body["timestamp"], step
        if step.position is not None:
            assert msgspec.to_builtins(step.position) == body["position"], step


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
