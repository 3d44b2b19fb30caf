"""A candidate that leads says why it is not applied yet, and says nothing that the engine would not obey."""

from __future__ import annotations

from typing import Any

import pytest
from builders import invocations
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.activation import best_candidate, blocked
from crl_stream.core.candidacy import leaders, obstacles, sentence
from crl_stream.core.monitor import Context
from crl_stream.core.policy import AutoApply, Operations, Policy
from crl_stream.core.row import StandingOrder
from crl_stream.core.snapshot import task_snapshot

from .task import Task


def behind(policy: Policy | None = None, candidate: str = "S" * 12, **fields: Any) -> Task:
    """``default`` is active and middling, ``v2`` was explored and is ahead."""
    task = Task(policy)
    task.run("default", "SSSF" * 10)
    task.run("v2", candidate, variant_source="explore", **fields)
    return task


def snapshot_of(task: Task, fleet: StandingOrder | None = None) -> m.TaskSnapshot:
    return task_snapshot(task.row, Context(0, task.offset, task.now, 0, "0" * 16, fleet), task.policy)


def said(task: Task, fleet: StandingOrder | None = None) -> str:
    snapshot = snapshot_of(task, fleet)
    [leader] = leaders(snapshot)
    assert leader.variant_id == "v2"
    return sentence(snapshot, leader, task.policy)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: behind(candidate="S" * 6), "n_visits 6 < 10 (auto_apply.min_samples)"),
        (lambda: behind(reward=0.8), "Q 0.80 < 0.9 (auto_apply.q_threshold)"),
        (lambda: behind(Policy(auto_apply=AutoApply(min_lead=0.9))), "< 0.9 (auto_apply.min_lead)"),
        (lambda: behind(Policy(operations=Operations(mode="shadow"))), "the mode is shadow"),
    ],
)
def test_what_the_figures_lack_is_named_with_the_setting(make: Any, words: str) -> None:
    assert words in said(make())


@pytest.mark.parametrize(
    ("command", "words"),
    [(m.PinVariant, "pinned by ada until "), (m.HoldTask, "the task is held by ada until ")],
)
def test_an_order_of_a_person_is_named_with_its_end_and_the_command_that_ends_it(command: type, words: str) -> None:
    task = behind()
    task.order(command)
    text = said(task)
    assert words in text and "(crl " in text


def test_a_hold_of_the_fleet_is_named_beside_the_tasks_own() -> None:
    task = behind()
    task.order(m.HoldTask)
    text = said(task, StandingOrder("grace", "", task.now, task.now + 3_600_000))
    assert "the task is held by ada" in text
    assert "the fleet is held by grace until " in text and "crl resume --all" in text


def test_a_quarantined_and_a_retired_leader_say_so() -> None:
    task = behind()
    task.variant("v2").quarantined = True
    assert "quarantined" in said(task)
    task.variant("v2").quarantined = False
    task.order(m.RetireVariant, variant_id="v2")
    assert said(task) == "v2 leads and is not applied: it is retired"


def test_cooling_down_says_for_how_many_outcomes() -> None:
    task = Task()
    task.run("default", "SSSF" * 5)
    task.order(m.RegisterVariant, variant_id="v3")
    task.run("v3", "SSFF" * 3, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v3")
    task.run("v2", "S" * 12, variant_source="explore")
    snapshot = snapshot_of(task)
    leader = leaders(snapshot)[0]
    assert "cooling down for 8 more outcomes (auto_apply.cooldown)" in sentence(snapshot, leader, task.policy)


def test_one_that_nothing_keeps_back_is_applied_with_the_next_outcome_of_the_active_variant() -> None:
    task = behind()
    snapshot = snapshot_of(task)
    assert obstacles(snapshot, leaders(snapshot)[0], task.policy) == []
    assert "is applied with an outcome of default" in said(task)
    task.run("default", "S", active_epoch=1)
    assert task.row.active == "v2"


def test_nothing_leads_before_a_variant_is_active() -> None:
    task = Task()
    task.run("v2", "SSS", variant_source="explore")
    assert leaders(snapshot_of(task)) == []


outcomes = st.lists(
    st.tuples(st.sampled_from(["default", "v2", "v3"]), st.sampled_from("SSSF"), st.integers(1, 15)), max_size=12
)
policies = st.builds(
    lambda q, n, lead, mode: Policy(
        auto_apply=AutoApply(q_threshold=q, min_samples=n, min_lead=lead), operations=Operations(mode=mode)
    ),
    st.sampled_from([0.5, 0.9]),
    st.integers(1, 15),
    st.sampled_from([0.0, 0.05, 0.5]),
    st.sampled_from(["enforce", "enforce", "observe"]),
)


@settings(max_examples=150, deadline=None)
@given(policies, outcomes, st.lists(st.sampled_from([m.PinVariant, m.HoldTask, m.ResumeTask]), max_size=2))
def test_what_the_engine_would_apply_has_no_obstacle(policy: Policy, runs: Any, orders: list[type]) -> None:
    task = Task(policy)
    task.run("default", "S")
    for name, letter, count in runs:
        task.take(*invocations(name, letter * count, variant_source=None if name == "default" else "explore"))
    for kind in orders:
        task.order(kind)
    snapshot = snapshot_of(task)
    best = best_candidate(task.row, policy)
    if best is None or blocked(task.row, policy) is not None:
        return
    for leader in leaders(snapshot):
        if leader.variant_id == best.variant_id:
            assert obstacles(snapshot, leader, policy) == []
