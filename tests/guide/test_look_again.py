"""Judging the active variant again between two outcomes can cause a rollback, but no other change."""

from __future__ import annotations

from typing import Any

from core.histories import histories
from core.task import Task
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.monitor.step import Context
from crl_stream.core.policy import Degradation, Operations, Policy
from crl_stream.guide.looking import look_again

STRICT = Policy(degradation=Degradation(success_drop=0.01, reward_drop=0.01))


def look(task: Task, policy: Policy) -> list[Any]:
    task.offset += 1
    return list(look_again(task.row, Context(0, task.offset, task.now, 0, "0" * 16), policy).facts)


def one_failure() -> Task:
    """``default`` is active and has failed once in the last 20 of its 40 outcomes, which the guide accepts."""
    task = Task()
    task.run("default", "S" * 30, reward=0.8)
    task.run("rescue", "S" * 60, reward=0.85, variant_source="explore")
    task.run("default", "SSSSFSSSSS", reward=0.8)
    assert task.row.active == "default"
    assert task.stated(m.RollbackEvent) == []
    return task


def test_a_look_by_the_same_limits_finds_nothing_new() -> None:
    assert look(one_failure(), Policy()) == []


def test_a_look_by_stricter_limits_rolls_back_and_says_so_as_an_outcome_would() -> None:
    task = one_failure()
    facts = look(task, STRICT)
    [event] = [fact for fact in facts if isinstance(fact, m.RollbackEvent)]
    assert (event.from_variant, event.to_variant, event.position.offset) == ("default", "rescue", task.offset)
    assert {type(fact) for fact in facts} >= {m.Activation, m.ActiveVariant, m.Alert, m.TaskSnapshot}
    assert task.row.active == "rescue"


def test_a_look_obeys_a_hold_and_the_modes_that_do_not_act() -> None:
    held = one_failure()
    held.order(m.HoldTask)
    look(held, STRICT)
    assert held.row.active == "default"
    observed = one_failure()
    look(observed, Policy(degradation=STRICT.degradation, operations=Operations(mode="observe")))
    assert observed.row.active == "default"


def test_a_candidate_that_is_ready_waits_for_an_outcome_as_always() -> None:
    task = Task()
    task.run("default", "S" * 30, reward=0.5)
    task.run("good", "S" * 12, reward=0.95, variant_source="explore")
    look(task, Policy())
    assert task.row.active == "default"
    task.run("default", "S", reward=0.5)
    assert task.row.active == "good"


def test_a_hold_that_has_run_out_is_over_for_a_look_too() -> None:
    task = one_failure()
    task.order(m.HoldTask, hours=1.0)
    task.pass_time(2 * 3_600_000)
    task.row.time = task.now
    look(task, STRICT)
    assert task.row.active == "rescue"


@given(histories, st.sampled_from([Policy(), STRICT]))
def test_a_look_counts_no_outcome_and_promotes_nobody(history: list[Any], policy: Policy) -> None:
    task = Task()
    task.take(*history)
    before = decode_row(encode_row(task.row))
    facts = look(task, policy)
    assert task.row.n == before.n
    assert {name: v.life for name, v in task.row.variants.items()} == {n: v.life for n, v in before.variants.items()}
    assert {fact.cause for fact in facts if isinstance(fact, m.Activation)} <= {"rollback"}
    if task.row.active != before.active:
        assert any(isinstance(fact, m.RollbackEvent) for fact in facts)
