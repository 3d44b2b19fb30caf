"""What contradicts one runtime: enough others that work, and that do not show the same failure."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import msgspec
import pytest

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import OneRuntime, Variant, new_row
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.monitor.witnesses import contradicted, sole_source
from crl_stream.core.policy import Degradation, Operations, Policy, Rollback

from .task import KEY, Task

GUIDE = Policy()


def fold(task: Task, runtime: str | None, outcomes: str, **fields: Any) -> None:
    task.run("A", outcomes, runtime_id=runtime, active_epoch=1, **fields)


def against(
    others: dict[str, str],
    loud: str = "F" * 20,
    *,
    policy: Policy = GUIDE,
    before: str = "S" * 60,
    spare: int = 40,
    **fields: Any,
) -> Task:
    """Let each of ``others`` report its outcomes, and then h3 report ``loud``, and only the last of them be acted on.

    The outcomes ``before`` name no runtime; so nothing but the given outcomes is reported.
    """
    task = Task(msgspec.structs.replace(policy, operations=Operations(mode="observe")))
    fold(task, None, before, **fields)
    task.run("B", "S" * spare, variant_source="explore", **fields)
    for runtime, outcomes in others.items():
        fold(task, runtime, outcomes, **fields)
    fold(task, "h3", loud[:-1], **fields)
    assert task.row.active == "A"
    task.policy = policy
    fold(task, "h3", loud[-1], **fields)
    return task


def the_one(task: Task) -> OneRuntime:
    found: OneRuntime | None = task.row.one_runtime
    assert found is not None
    return found


# -- whether the others fail too -----------------------------------------------------------------------
@pytest.mark.parametrize(("failures", "active"), [(7, "A"), (8, "B")])
def test_others_that_lose_a_quarter_as_much_fail_too(failures: int, active: str) -> None:
    """With 8 failures of the others, the baseline is 80 %: h3 lost all of it, and the others 20 points."""
    others = {"h1": "FFFF" + "S" * 6, "h2": "F" * (failures - 4) + "S" * (14 - failures)}
    task = against(others, before="F" * 12 + "S" * 148)
    assert task.row.active == active
    if active == "A":
        assert the_one(task).words == (
            "20 of 20 failed outcomes come from runtime h3; the other 2 runtimes: 7 of 20 failed"
        )


def test_others_that_lose_a_quarter_as_much_but_are_not_degraded_do_not_fail_too() -> None:
    """Every outcome has the same reward, and one failure in ten is no degradation by the rule."""
    task = against({"h1": "F" + "S" * 9, "h2": "F" + "S" * 9}, "FFFFFFFSSSSSSSSSSSSF", reward=0.5)
    assert task.row.active == "A"
    assert the_one(task).words == "8 of 8 failed outcomes come from runtime h3; the other 2 runtimes: 2 of 20 failed"


def degraded(rest: str, loud: int, *, policy: Policy = GUIDE, **fields: Any) -> Task:
    """Build a window of ``rest`` from three healthy runtimes in turn, and then as many failures of h3."""
    healthy = ["h1", "h2", "h4"]
    task = against(dict.fromkeys(healthy, "S" * 19), "F", policy=policy, before="S" * 400, **fields)
    task.policy = msgspec.structs.replace(policy, operations=Operations(mode="observe"))
    for runtime, letter in zip(cycle(healthy), rest, strict=False):
        fold(task, runtime, letter, **fields)
    fold(task, "h3", "F" * (loud - 1), **fields)
    task.policy = policy
    fold(task, "h3", "F", **fields)
    assert task.row.active == "B" or task.variant("A").degraded
    return task


@pytest.mark.parametrize(
    ("share", "loud", "active"), [(0.5, 3, "B"), (0.5, 4, "A"), (0.57, 4, "A"), (0.58, 4, "B"), (1.0, 4, "B")]
)
def test_only_a_runtime_with_more_than_its_share_of_the_loss_is_capped(share: float, loud: int, active: str) -> None:
    """The others lose 3 of the 16 or 17 outcomes of their part of the window, so they do not fail too."""
    task = degraded("S" * (17 - loud) + "FFF", loud, policy=Policy(rollback=Rollback(runtime_share=share)))
    assert task.row.active == active
    if active == "A":
        assert the_one(task).share == 571_428


@pytest.mark.parametrize(
    ("rest", "loud", "active"),
    [("FF", 18, "A"), ("FFF", 17, "B"), ("SSSSSSFFF", 11, "A"), ("SSSSFFFFF", 11, "B"), ("SSSSSSSFFF", 10, "B")],
)
def test_two_outcomes_of_the_others_say_nothing_three_must_lose_half_as_much_and_ten_a_quarter(
    rest: str, loud: int, active: str
) -> None:
    assert degraded(rest, loud).row.active == active


@pytest.mark.parametrize(("reported", "active"), [(9, "B"), (10, "A")])
def test_others_contradict_with_as_many_outcomes_as_a_verdict_needs(reported: int, active: str) -> None:
    assert against({"h1": "S" * 5, "h2": "S" * (reported - 5)}).row.active == active


def test_a_metric_that_runtimes_do_not_report_is_not_capped() -> None:
    policy = Policy()
    rules = rules_of(policy)
    assert against({"h1": "S" * 10, "h2": "S" * 10}, policy=policy, reward=0.5).row.active == "A"
    rules.comparable = rules.comparable[1:]
    assert against({"h1": "S" * 10, "h2": "S" * 10}, policy=policy, reward=0.5).row.active == "B"


def test_a_variant_that_works_on_no_runtime_is_left_although_it_has_no_baseline() -> None:
    task = against({"h1": "F" * 10, "h2": "F" * 10}, before="F", policy=Policy(Degradation(min_baseline=500)))
    assert (task.row.active, task.alerts("one_runtime")) == ("B", [])


@pytest.mark.parametrize(("more", "active"), [(0, "B"), (1, "A")])
def test_others_that_work_in_part_fail_too_only_against_a_baseline_that_suffices(more: int, active: str) -> None:
    policy = Policy(Degradation(min_baseline=100 + more))
    task = against({"h1": "SF" * 5, "h2": "SF" * 5}, policy=policy)
    assert task.variant("A").life.n == 100
    assert task.row.active == active


def test_a_variant_that_works_elsewhere_is_kept_although_its_predecessor_never_worked() -> None:
    """Nothing can be lost against such a baseline, so what counts are the failures themselves."""
    task = Task(msgspec.structs.replace(GUIDE, operations=Operations(mode="observe")))
    task.run("never", "F" * 30)
    task.run("A", "S", variant_source="explore")
    task.run("B", "S" * 40, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="A")
    for runtime, outcomes in (("h1", "S" * 10), ("h2", "S" * 10), ("h3", "F" * 19)):
        task.run("A", outcomes, runtime_id=runtime, active_epoch=2)
    task.policy = GUIDE
    task.run("A", "F", runtime_id="h3", active_epoch=2)
    assert task.variant("A").baseline is not None
    assert (task.row.active, the_one(task).runtime_id) == ("A", "h3")


def test_others_that_succeed_with_errors_do_not_show_the_failure_of_one_that_never_succeeds() -> None:
    """The evidence is too weak for the rule, so the verdict rests on a window without any success."""
    policy = Policy(Degradation(guard="evidence", false_alarm_budget=10**9))
    task = Task(msgspec.structs.replace(policy, operations=Operations(mode="observe")))
    fold(task, None, "S", error_count=1)
    fold(task, None, "SF" * 40)
    task.run("B", "S" * 40, variant_source="explore")
    for runtime in ("h1", "h2"):
        fold(task, runtime, "S" * 10, error_count=1)
    fold(task, "h3", "F" * 19)
    task.policy = policy
    fold(task, "h3", "F")
    assert judge(task.variant("A"), rules_of(policy)).absolute
    assert (task.row.active, the_one(task).runtime_id) == ("A", "h3")


def test_a_task_without_an_active_variant_is_contradicted_by_nobody() -> None:
    assert contradicted(new_row(KEY), rules_of(GUIDE)) is None


def test_a_runtime_that_has_not_worked_with_the_active_variant_is_no_witness() -> None:
    for runtime, active in (("h2", "A"), ("idle", "B")):
        task = Task(msgspec.structs.replace(GUIDE, operations=Operations(mode="observe")))
        fold(task, None, "S" * 60)
        task.run("B", "S" * 40, variant_source="explore")
        task.run("B", "S", runtime_id="idle", active_epoch=1)
        fold(task, "h1", "S" * 12)
        if runtime == "h2":
            fold(task, "h2", "S")
        fold(task, "h3", "F" * 19)
        task.policy = GUIDE
        fold(task, "h3", "F")
        assert task.row.active == active


@pytest.mark.parametrize(("longer", "active"), [(0, "A"), (1, "B")])
def test_a_witness_is_silent_when_two_long_invocations_have_passed_and_not_before(longer: int, active: str) -> None:
    task = Task(msgspec.structs.replace(GUIDE, operations=Operations(mode="observe")))
    fold(task, None, "S" * 60)
    task.run("B", "S" * 40, variant_source="explore")
    fold(task, "h1", "S" * 10)
    fold(task, "h2", "S" * 10)
    fold(task, "h3", "F" * 19)
    task.policy = GUIDE
    task.row.runtimes["h1"].seen = task.now + 1_000 - rules_of(GUIDE).silence - longer
    fold(task, "h3", "F")
    assert task.row.active == active


# -- whether a candidate was tried by one source alone --------------------------------------------------
def tried_by_one(outcomes: str, policy: Policy = GUIDE) -> Task:
    """Let two runtimes work with A, and one of them try B."""
    task = Task(policy)
    fold(task, "h1", "S" * 10)
    fold(task, "h2", "S" * 10)
    if outcomes:
        task.run("B", outcomes, runtime_id="h1", variant_source="explore")
    return task


def test_even_one_outcome_comes_from_one_source() -> None:
    task = tried_by_one("S")
    found = sole_source(task.row, task.variant("B"), rules_of(GUIDE))
    assert found is not None and "come from runtime h1" in found


def test_a_variant_without_outcomes_has_no_source() -> None:
    task = tried_by_one("")
    assert sole_source(task.row, Variant("B"), rules_of(GUIDE)) is None


def test_without_a_cap_one_source_may_promote() -> None:
    policy = Policy(rollback=Rollback(runtime_share=1.0))
    task = tried_by_one("SSSSS", policy)
    assert sole_source(task.row, task.variant("B"), rules_of(policy)) is None
    assert sole_source(task.row, task.variant("B"), rules_of(GUIDE)) is not None


# -- which source it is, and what is told of it ----------------------------------------------------------
def test_a_young_task_is_told_at_once() -> None:
    task = against({"h1": "S" * 10, "h2": "S" * 10}, before="SS", spare=5)
    assert task.row.n < task.policy.rollback.renotify
    assert len(task.alerts("one_runtime")) == 1


def test_another_degraded_variant_does_not_end_the_doubt_about_the_active_one() -> None:
    task = against({"h1": "S" * 10, "h2": "S" * 10})
    before = the_one(task)
    task.run("B", "F" * 20, variant_source="explore")
    assert task.variant("B").degraded
    assert task.row.one_runtime == before
    assert len(task.alerts("one_runtime")) == 1


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_the_doubt_ends_with_the_rollback_that_follows_even_if_that_is_only_reported(mode: Any) -> None:
    task = against({"h1": "S" * 10, "h2": "S" * 10}, policy=Policy(operations=Operations(mode=mode)))
    for runtime in ("h1", "h2") * 10:
        fold(task, runtime, "F")
    [event] = task.stated(m.RollbackEvent)
    assert event.enforced is (mode == "enforce")
    assert task.row.one_runtime is None
    assert [alert.resolved for alert in task.alerts("one_runtime")] == [False, True]


def test_errors_are_told_as_errors() -> None:
    task = Task(msgspec.structs.replace(GUIDE, operations=Operations(mode="observe")))
    for number in range(60):
        fold(task, None, "S", reward=1.0, error_count=int(number % 10 == 0))
    task.run("B", "S" * 40, variant_source="explore", reward=1.0)
    for runtime in ("h1", "h2"):
        fold(task, runtime, "S" * 9, reward=1.0)
        fold(task, runtime, "S", reward=1.0, error_count=1)
    fold(task, "h3", "S" * 19, reward=1.0, error_count=1)
    task.policy = GUIDE
    fold(task, "h3", "S", reward=1.0, error_count=1)
    assert the_one(task).words == (
        "20 of 20 outcomes with errors come from runtime h3; the other 2 runtimes: 2 of 20 had errors"
    )


def test_a_loss_of_reward_is_told_with_its_share_and_the_mean_of_the_others() -> None:
    task = Task(msgspec.structs.replace(GUIDE, operations=Operations(mode="observe")))
    fold(task, None, "S" * 60, reward=1.0)
    task.run("B", "S" * 40, variant_source="explore", reward=1.0)
    fold(task, "h1", "S" * 10, reward=1.0)
    fold(task, "h2", "S" * 10, reward=0.9)
    fold(task, "h3", "S" * 19, reward=0.0)
    task.policy = GUIDE
    fold(task, "h3", "S", reward=0.0)
    assert the_one(task).words == (
        "20 of 20 outcomes, with 100% of the loss in avg_reward, come from runtime h3; "
        "the other 2 runtimes: avg_reward 0.95 over 20 outcomes"
    )
