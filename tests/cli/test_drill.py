"""A drill sends enough outcomes under any sensible policy, and reports its result in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from core.task import Task
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.cli.drill.command import problem
from crl_stream.cli.drill.explanation import WAITS, blocked_hint
from crl_stream.cli.drill.plan import plan_of
from crl_stream.cli.drill.report import Report, Step, closing_line, step_line, worst
from crl_stream.cli.drill.standing import last_drills
from crl_stream.core import messages as m
from crl_stream.core.drills import FAILING, STEADY
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.core.policy import AutoApply, Degradation, Limits, Policy, Rollback

NOW = 1_763_562_600_000
degradations = st.builds(
    Degradation,
    lookback_window=st.integers(2, 60),
    min_baseline=st.integers(1, 200),
    min_recent=st.integers(1, 60),
    success_drop=st.floats(0.0, 1.0),
    reward_drop=st.floats(0.0, 1.0),
    baseline=st.sampled_from(["lifetime", "before_window"]),
    guard=st.sampled_from(["none", "evidence"]),
    false_alarm_budget=st.integers(10, 1_000_000_000),
    head_start=st.floats(0.0, 1.0),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Return a policy under which a variant that fails every time is rolled back."""
    degradation = draw(degradations)
    doubt = draw(st.integers(0, degradation.lookback_window))
    return Policy(
        degradation=degradation,
        rollback=Rollback(min_samples=draw(st.integers(1, 60)), confidence=draw(st.floats(0.0, 1.0)), doubt=doubt),
        auto_apply=draw(st.builds(AutoApply, q_threshold=st.floats(-1.0, 1.0), cooldown=st.integers(0, 30))),
        limits=Limits(variants=2),
    )


def drilled(task: Task, policy: Policy) -> m.RollbackEvent | None:
    """Send what a drill would send, one message after another, until the rollback."""
    plan, before = plan_of(policy), len(task.stated(m.RollbackEvent))
    live = {"variant_source": "default" if task.row.active is None else "explore"}
    task.run(STEADY, "S" * plan.steady, reward=1.0, **live)
    task.run(FAILING, "S", reward=1.0, variant_source="explore")
    if before:
        assert task.order(m.LiftQuarantine, variant_id=FAILING).outcome == "applied"
    assert task.order(m.PinVariant, variant_id=FAILING, hours=1.0).outcome == "applied"
    epoch = task.row.epoch
    task.run(FAILING, "S" * plan.good, reward=1.0, active_epoch=epoch)
    assert (task.row.active, task.row.epoch) == (FAILING, epoch), "only a rollback may replace the failing variant"
    for _ in range(plan.failures):
        task.run(FAILING, "F", reward=-1.0, active_epoch=epoch)
        if len(found := task.stated(m.RollbackEvent)) > before:
            task.run(STEADY, "S" * 20, reward=1.0, active_epoch=epoch + 1)
            return found[-1]
    return None


@settings(max_examples=60)
@given(policies())
def test_the_outcomes_of_a_drill_suffice_again_and_again_for_every_policy_that_protects(policy: Policy) -> None:
    task = Task(policy)
    for _ in range(3):
        event = drilled(task, policy)
        assert event is not None
        assert (event.from_variant, event.to_variant, event.enforced) == (FAILING, STEADY, True)
    assert task.row.active == STEADY
    assert len(task.row.variants) == 2


@given(st.integers(2, 1_000), st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 1_000))
def test_a_drill_is_bounded_in_outcomes_and_time_whatever_the_policy_asks_for(
    window: int, baseline: int, samples: int, doubt: int
) -> None:
    degradation = Degradation(lookback_window=window, min_baseline=baseline)
    plan = plan_of(Policy(degradation=degradation, rollback=Rollback(min_samples=samples, doubt=doubt)))
    assert max(plan.steady, plan.good) <= 2_000
    assert plan.failures <= 3_000
    assert plan.failures >= window
    assert plan.failures * plan.pause <= 8.0


# -- in words ----------------------------------------------------------------------------------------
def a_report(partition: int = 0, **fields: Any) -> Report:
    return Report(partition=partition, task=TaskKey("crl-drill", f"silent-{partition}"), began=NOW, **fields)


def passed(partition: int, rolled: int, moved: int) -> Report:
    steps = [Step("rollback", "rolled back", 0.5, rolled), Step("runtime", "moved", 0.6, moved)]
    return a_report(partition, result="passed", steps=steps)


def test_the_closing_line_has_the_slowest_times_of_all_partitions() -> None:
    one = closing_line([passed(3, 12, 30)])
    assert one == "drill passed: partition 3 protects; rollback 12 ms, runtime 30 ms"
    two = closing_line([passed(0, 12, 30), passed(1, 1_500, 20)])
    assert two == "drill passed: 2 partitions protect; slowest rollback 1,500 ms, runtime 30 ms"


def test_a_step_has_its_partition_only_where_there_are_several() -> None:
    report, step = a_report(2), Step("rollback", "rolled back to drill-steady", 1.25, 14)
    assert step_line(report, step, several=False) == "  1.25 s  rolled back to drill-steady (14 ms)"
    assert step_line(report, step, several=True) == "  1.25 s  partition 2: rolled back to drill-steady (14 ms)"


@pytest.mark.parametrize(
    ("reports", "code", "said"),
    [
        (
            [a_report(1, missing="receipt", detail="no receipt within 60 s", hint="look")],
            6,
            "The drill failed on partition 1 at receipt: no receipt within 60 s.",
        ),
        (
            [passed(0, 1, 1), *(a_report(p, missing="command", detail="no worker") for p in (1, 2))],
            6,
            "The drill failed on 2 of 3 partitions (1, 2) at command: no worker.",
        ),
        (
            [a_report(0, missing="command", detail="no worker"), a_report(1, missing="alert", detail="no alert")],
            6,
            "The drill failed on 2 of 2 partitions (0, 1) at several steps: 0: no worker; 1: no alert.",
        ),
        (
            [a_report(0, result="blocked", detail="observe mode: alerts only")],
            6,
            "The alerts of partition 0 arrived, but rollbacks are switched off there: observe mode: alerts only.",
        ),
        ([passed(0, 1, 1), a_report(1, result="busy", detail="it runs")], 75, "No drill on partition 1: it runs."),
    ],
)
def test_a_drill_that_has_not_passed_ends_with_one_sentence_about_the_worst_of_it(
    reports: list[Report], code: int, said: str
) -> None:
    error = problem(reports)
    assert (error.exit_code, error.message) == (code, said)


def test_every_step_says_what_its_absence_means_and_what_to_do_next() -> None:
    assert list(WAITS) == [
        *("outcomes", "command", "degradation", "rollback", "alert", "active", "runtime", "receipt", "record")
    ]
    assert all(awaited.what and awaited.hint for awaited in WAITS.values())


@pytest.mark.parametrize(
    ("why", "hints"),
    [
        ("shadow mode: rollbacks are only reported", ["crl policy apply"]),
        ("observe mode: alerts only; held by ada until noon", ["crl policy apply", "crl resume a/t"]),
        ("the fleet is held by ada until noon", ["crl resume --all"]),
        ("held by ada for 40 outcomes; the fleet is held by bob until noon", ["crl resume --all", "crl resume a/t"]),
        ("a reason of a later release", ["crl window a/t"]),
    ],
)
def test_the_hint_releases_everything_that_prevents_the_rollback_and_nothing_else(why: str, hints: list[str]) -> None:
    hint = blocked_hint(why, "a/t")
    every = {"crl policy apply", "crl resume a/t", "crl resume --all", "crl window a/t"}
    assert {one for one in every if one in hint} == set(hints)


# -- the last drills, for crl status -----------------------------------------------------------------
def told(partition: int, result: str = "passed", age: int = 60, kind: str = "silent") -> dict[str, Any]:
    return {
        "partition": partition,
        "task": f"crl-drill/{kind}-{partition}",
        "result": result,
        "timestamp": to_text(NOW - age * 1_000),
        "actor": "ada",
        "detail": "rollback: no rollback has arrived within 60 s",
    }


def test_the_newer_of_the_two_drills_of_a_partition_counts() -> None:
    found = last_drills({"drills": [told(0, age=90), told(0, "failed", age=60, kind="notify")]}, 2, NOW)
    assert [(drill["result"], drill["age_seconds"]) for drill in found.drills] == [("failed", 60)]
    assert found.as_json()["last_drill"] == found.drills[0]
    assert found.never == [1]


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ({"drills": []}, "drill: never; `crl drill` tests whether a bad variant is rolled back"),
        ({}, ""),  # a worker of an earlier version
        ({"drills": [], "silent": ["http://b:1"]}, ""),
        (
            {"drills": [told(1, age=7_300), told(0, age=200_000)]},
            "drill: passed 2 h ago on partition 1; oldest of 2 partitions: 2 d ago",
        ),
        ({"drills": [told(1, age=5)]}, "drill: passed 5 s ago on partition 1; never on partition 0"),
        ({"drills": [told(1, "running", age=65)], "silent": ["http://b:1"]}, "drill: running 1 min ago on partition 1"),
    ],
)
def test_the_line_names_the_newest_drill_and_claims_no_more_than_is_known(page: dict[str, Any], line: str) -> None:
    assert last_drills(page, 2, NOW).line == line


@pytest.mark.parametrize(
    ("result", "trouble"), [("failed", True), ("unfinished", True), ("blocked", False), ("passed", None)]
)
def test_a_drill_that_failed_is_trouble_until_the_next_one_and_a_mode_or_hold_is_a_note(
    result: str, trouble: bool | None
) -> None:
    found = [finding["trouble"] for finding in last_drills({"drills": [told(0, result)]}, 1, NOW).findings()]
    assert found == ([] if trouble is None else [trouble])


def test_partitions_whose_drills_failed_for_one_reason_share_one_finding() -> None:
    other = told(11, "failed") | {"detail": "receipt: none"}
    drills = [*(told(partition, "failed", age=partition) for partition in range(10)), other]
    first, second = last_drills({"drills": drills}, 12, NOW).findings()
    assert first["text"] == (
        "The last drill on partitions 0, 1, 2, 3, 4, 5, 6, 7 and 2 more failed: "
        "rollback: no rollback has arrived within 60 s."
    )
    assert first["action"] == "when that is settled, run `crl drill --all-partitions`"
    assert (second["subject"], second["action"]) == (
        "crl-drill/silent-11",
        "when that is settled, run `crl drill --partition 11`",
    )


def test_the_worst_result_of_a_partition_is_that_of_the_drill() -> None:
    assert worst([passed(0, 1, 1), a_report(1, result="busy")]) == "busy"
    assert worst([a_report(1, result="busy"), a_report(2, result="blocked"), a_report(3)]) == "failed"
