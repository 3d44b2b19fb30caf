"""A full window without a success is an alarm under every policy, regardless of the baseline and the evidence."""

from __future__ import annotations

import pytest
from builders import a_command, an_invocation, invocations
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.grounds import sentence
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.policy import Degradation, Operations, Policy

from .task import Task

POLICIES = {
    "guide": Policy(),
    "evidence": Policy(degradation=Degradation(guard="evidence", baseline="before_window")),
    "evidence that practically never allows a rollback": Policy(
        degradation=Degradation(guard="evidence", false_alarm_budget=10**9)
    ),
    "limits that no variant exceeds": Policy(
        degradation=Degradation(success_drop=1.0, reward_drop=1.0, error_increase=1e9),
    ),
    "a baseline that is never complete": Policy(degradation=Degradation(min_baseline=10**9)),
    "shadow": Policy(operations=Operations(mode="shadow")),
    "observe": Policy(operations=Operations(mode="observe")),
}
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


@policies
@pytest.mark.parametrize("outcomes", ["F" * 120, "E" * 60, "FE" * 30, "EFFF" * 10])
def test_a_variant_that_never_had_a_success_is_degraded_when_its_window_is_full(policy: Policy, outcomes: str) -> None:
    task = Task(policy)
    task.run("default", outcomes[:19])
    assert not task.variant("default").degraded
    task.run("default", outcomes[19])
    [alert] = task.alerts("degradation")
    assert alert.severity == "critical"
    assert "No success in the last 20 outcomes" in alert.text
    assert (alert.number, alert.limit) == (20.0, 20.0)
    shown = task.snapshot("default")
    assert (shown.verdict, shown.degraded) == ("DEGRADED", True)
    assert shown.reason.startswith("No success in the last 20 outcomes")
    [told] = task.stated(m.DegradationAlert)
    assert (told.metric, told.evidence.absolute, told.judged.successes) == ("success_rate", True, outcomes[:20])
    task.run("default", outcomes[20:])
    assert len(task.alerts("degradation")) == 1, "there must be one alert, not one for every outcome"


@policies
def test_a_newcomer_that_fails_always_is_caught_against_whatever_baseline_it_has(policy: Policy) -> None:
    task = Task(policy)
    task.run("default", "F" * 19 + "S")
    task.run("new", "F" * 20, variant_source="explore")
    assert task.variant("new").degraded
    assert [alert.severity for alert in task.alerts("degradation") if "new" in alert.subject] == ["warning"]


def test_it_is_rolled_back_on_the_outcome_that_fills_its_window() -> None:
    task = Task(POLICIES["evidence that practically never allows a rollback"])
    task.run("steady", "S" * 10, variant_source="explore")
    task.run("default", "F" * 19)
    assert not task.stated(m.RollbackEvent)
    task.run("default", "F")
    [event] = task.stated(m.RollbackEvent)
    assert (event.from_variant, event.to_variant) == ("default", "steady")
    assert event.reason == "No success in the last 20 outcomes"
    assert event.evidence.absolute
    [alert] = task.alerts("rollback")
    assert "No success in the last 20 outcomes" in alert.text


def test_a_newcomer_is_rolled_back_though_its_frozen_baseline_failed_always_too() -> None:
    task = Task()
    task.run("good", "S" * 8, variant_source="explore")
    task.run("default", "F" * 19)
    task.run("new", "S", variant_source="explore")
    task.order(m.ActivateVariant, variant_id="new")
    task.run("new", "F" * 20, active_epoch=2)
    [event] = task.stated(m.RollbackEvent)
    assert (event.from_variant, event.to_variant) == ("new", "good")


@pytest.mark.parametrize("tried", ["FFFFF", "E" * 30])
def test_nothing_is_rolled_back_to_a_variant_without_a_success_either(tried: str) -> None:
    task = Task()
    task.run("other", tried, variant_source="explore", reward=1.0)
    task.run("default", "F" * 40)
    assert not task.stated(m.RollbackEvent)
    [alert] = task.alerts("no_target")[:1]
    assert "no success in its last" in alert.text or "not better" in alert.text


def test_a_candidate_without_a_success_keeps_its_first_reason() -> None:
    task = Task()
    task.run("other", "FFFF", variant_source="explore")
    task.run("default", "F" * 20)
    [candidate] = candidates(task.row, rules_of(task.policy))
    assert candidate.why_not == "n_visits 4 < 5"


def test_one_success_in_the_window_is_no_absolute_alarm() -> None:
    task = Task()
    task.run("default", ("F" * 19 + "S") * 10)
    assert not task.alerts("degradation") or not any(a.evidence.absolute for a in task.stated(m.DegradationAlert))


def test_only_a_window_of_outcomes_since_the_activation_counts() -> None:
    task = Task()
    task.run("default", "S" * 30)
    task.run("v2", "F" * 19 + "S" + "F" * 18, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    before = len(task.stated(m.DegradationAlert))
    task.run("v2", "F" * 5, active_epoch=2)
    assert not any(a.evidence.absolute for a in task.stated(m.DegradationAlert)[before:])


def test_it_ends_after_twenty_clean_verdicts_and_an_inconclusive_one_is_not_clean() -> None:
    task = Task(Policy(degradation=Degradation(min_baseline=60)))
    task.run("default", "F" * 20)
    assert task.variant("default").degraded
    task.run("default", "S" * 39)
    shown = task.variant("default")
    assert (shown.degraded, shown.clean) == (True, 0), "a verdict without enough data does not count as clean"
    task.run("default", "S" * 19)
    assert task.variant("default").degraded
    task.run("default", "S" * 2)
    assert not task.variant("default").degraded
    assert task.alerts("degradation")[-1].resolved


def test_a_degraded_variant_without_a_success_is_never_promoted() -> None:
    task = Task()
    task.run("default", "S" * 30)
    task.run("liar", "F" * 40, variant_source="explore", reward=1.0)
    task.run("default", "S" * 30)
    assert task.row.active == "default"
    assert task.snapshot("liar").decision == "human_approval"


@pytest.mark.parametrize(("errors", "verdict"), [(4, "HEALTHY"), (5, "DEGRADED")])
def test_after_a_baseline_without_errors_more_than_a_fifth_of_outcomes_with_errors_is_degraded(
    errors: int, verdict: str
) -> None:
    task = Task()
    task.run("old", "S" * 60, reward=0.85)
    task.run("new", "S" * 10, variant_source="explore", reward=0.95)
    task.order(m.ActivateVariant, variant_id="new")
    task.run("new", "S" * (20 - errors), reward=0.95, active_epoch=2)
    task.run("new", "S" * errors, error_count=1, reward=0.95, active_epoch=2)
    found = judge(task.variant("new"), rules_of(task.policy))
    assert found.kind == verdict
    words = {
        "HEALTHY": "; 4 of 20 had errors (limit 20%, because the baseline has none)",
        "DEGRADED": "Error rate increased from 0% to 25%: 5 of 20 outcomes had errors",
    }
    assert sentence(task.variant("new"), found, rules_of(task.policy)).endswith(words[verdict])


def test_a_newcomer_whose_every_outcome_has_an_error_is_degraded_under_the_guides_limits_too() -> None:
    task = Task()
    task.run("old", "S" * 60, reward=0.85)
    task.run("new", "S" * 10, variant_source="explore", reward=0.95)
    task.order(m.ActivateVariant, variant_id="new")
    task.run("new", "S" * 40, error_count=1, reward=0.95, active_epoch=2)
    [event] = task.stated(m.RollbackEvent)
    assert (event.to_variant, event.reason) == (
        "old",
        "Error rate increased from 0% to 100%: 10 of 10 outcomes had errors",
    )


@given(st.integers(2, 30), st.integers(0, 80), st.sampled_from(["none", "evidence"]), st.booleans())
def test_whatever_came_before_a_full_window_of_failures_is_degraded(
    size: int, before: int, guard: str, shadow: bool
) -> None:
    policy = Policy(degradation=Degradation(lookback_window=size, guard=guard))  # type: ignore[arg-type]
    task = Task(policy)
    task.run("default", "S" * before)
    task.take(*[an_invocation("default", "success", role="shadow") for _ in range(3 * shadow)])
    task.run("default", "F" * size)
    assert task.variant("default").degraded


def test_a_hold_keeps_it_from_being_rolled_back_and_its_end_does_not_forget_it() -> None:
    task = Task()
    task.run("steady", "S" * 10, variant_source="explore")
    task.take(a_command(m.HoldTask, hours=1.0), *invocations("default", "F" * 30))
    assert not task.stated(m.RollbackEvent)
    task.pass_time(2 * 3_600_000)
    task.run("default", "F")
    assert task.stated(m.RollbackEvent)
