"""The summary of a fleet: its sums match the rows, in whatever order rows change, and tasks in trouble are counted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from core.histories import histories
from core.task import Task, proven
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.policy import Operations, Policy, PolicySet, Rollback
from crl_stream.stages.fleet_summary import Mark, Sums, mark_of, merged
from crl_stream.stages.inspection import summary

GUIDE = PolicySet()


def named(row: bytes, policies: PolicySet = GUIDE) -> set[str]:
    sums = Sums()
    sums.add(mark_of(row, policies))
    return {name for name, number in sums.as_dict().items() if number and name not in {"tasks", "outcomes", "variants"}}


def with_order(order: type) -> Task:
    task = proven()
    task.order(order)
    return task


def failing() -> Task:
    task = Task()
    task.run("default", "F" * 12)
    return task


def in_outage() -> Task:
    """Build a task whose two variants share a provider that fails."""
    task = Task()
    task.run("default", "S" * 60, provider="one")
    task.run("spare", "SSSSSSSSSF" * 4, variant_source="explore", provider="one")
    while task.row.incident is None:
        task.run(task.row.active or "", "F", active_epoch=task.row.epoch, provider="one")
    return task


@given(histories)
def test_a_mark_says_what_the_task_in_brief_says(history: list[Any]) -> None:
    task = Task()
    task.take(*history)
    row = encode_row(task.row)
    brief, mark, names = summary(0, row, 0), mark_of(row, GUIDE), named(row)
    assert (mark.outcomes, mark.variants) == (brief["n_outcomes"], brief["variants"])
    assert (brief["verdict"] or "unjudged") in names
    for name in ("held", "pinned", "no_target"):
        assert (name in names) is brief[name]
    assert ("quarantined" in names) is bool(brief["quarantined"])
    assert ("without_outcome" in names) is (brief["n_outcomes"] == 0)
    assert ("degraded" in names) is (brief["active_variant"] in brief["degraded"] or brief["verdict"] == "DEGRADED")
    assert (mark.rank == 0) is bool(names & {"degraded", "without_success"})


@pytest.mark.parametrize(
    ("task", "rank"),
    [(in_outage(), 1), (proven(), 2), (with_order(m.HoldTask), 1), (with_order(m.PinVariant), 1), (failing(), 0)],
)
def test_what_needs_attention_comes_before_what_does_not_and_trouble_first(task: Task, rank: int) -> None:
    assert mark_of(encode_row(task.row), GUIDE).rank == rank


@pytest.mark.parametrize("mode", ["shadow", "observe"])
def test_a_task_where_nothing_is_enforced_is_counted(mode: Any) -> None:
    policies = PolicySet(default=Policy(operations=Operations(mode=mode)))
    assert mode in named(encode_row(proven().row), policies)
    assert mode not in named(encode_row(proven().row))


marks = st.builds(Mark, st.integers(0, 2_047), st.integers(0, 1_000), st.integers(0, 32))


@given(st.lists(marks, max_size=30), st.lists(marks, max_size=10))
def test_what_is_taken_back_has_never_been_counted(kept: list[Mark], gone: list[Mark]) -> None:
    sums, only = Sums(), Sums()
    for mark in (*gone, *kept):
        sums.add(mark)
    for mark in gone:
        sums.add(mark, -1)
    for mark in kept:
        only.add(mark)
    assert sums.as_dict() == only.as_dict()
    assert merged([only.as_dict(), only.as_dict()]) == {name: 2 * n for name, n in only.as_dict().items()}


def test_the_scores_of_tasks_in_shadow_mode_are_summed_and_agree_with_the_task_in_brief() -> None:
    shadow = Policy(operations=Operations(mode="shadow"))
    task = Task(shadow)
    task.run("default", "S" * 40)
    task.run("steady", "SSSSSSSSSF" * 4, variant_source="explore")
    task.run("default", "F" * 70)
    row, in_shadow = encode_row(task.row), PolicySet(default=shadow)
    card = {"right": 1, "wrong": 0, "open": 0, "avoidable": 45, "caused": 0}
    assert summary(0, row, 0, in_shadow)["scorecard"] == card
    sums = Sums()
    for _ in range(3):
        sums.add(mark_of(row, in_shadow))
    sums.add(mark_of(row, in_shadow), -1)
    assert {name: sums.as_dict()[f"shadow_{name}"] for name in card} == {name: 2 * n for name, n in card.items()}
    stricter = PolicySet(default=msgspec.structs.replace(shadow, rollback=Rollback(confidence=2.0)))
    for others in (GUIDE, stricter):  # a policy with another mode or other thresholds
        assert summary(0, row, 0, others)["scorecard"] is None
        assert not any(name.startswith("shadow_") for name in named(row, others))


def test_what_is_failing_for_several_variants_is_counted_and_named() -> None:
    row = encode_row(in_outage().row)
    assert "common_cause" in named(row)
    assert summary(0, row, 0)["common_cause"] == "provider:one"
    late = decode_row(row)
    assert late.incident is not None
    assert summary(0, row, late.incident.until)["common_cause"] is None
