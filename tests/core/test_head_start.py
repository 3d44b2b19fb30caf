"""Evidence against a newcomer begins above zero, so a bad one is replaced sooner; other variants have no head start."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.evidence import e_value
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.policy import Degradation, Policy

from .task import Task, proven


def policy(head_start: float = 0.02) -> Policy:
    return Policy(degradation=Degradation(guard="evidence", head_start=head_start))


def replaced(head_start: float = 0.02, tried: int = 5) -> Task:
    """Build a task whose proven default was replaced by ``new``, which was explored with some successes."""
    task = proven(policy(head_start), new="S" * tried)
    task.run("default", "S" * 70)
    task.order(m.ActivateVariant, variant_id="new")
    assert task.row.active == "new"
    return task


def test_a_newcomer_begins_with_its_share_of_the_evidence_that_suffices() -> None:
    task = replaced()
    assert e_value(task.variant("new")) == pytest.approx(0.02 * rules_of(task.policy).threshold)
    assert e_value(replaced(0.0).variant("new")) == 0.0
    assert [found.e_value for found in task.stated(m.TaskSnapshot)[-1].variants if found.variant_id == "new"] != [0.0]


def test_a_variant_with_a_lifetime_of_its_own_has_none() -> None:
    assert e_value(replaced(tried=60).variant("new")) == 0.0


def test_a_target_of_a_rollback_and_an_undo_have_none() -> None:
    task = replaced()
    task.run("new", "F" * 40, active_epoch=task.row.epoch)
    assert task.row.active == "default"
    assert e_value(task.variant("default")) == 0.0
    task.order(m.UndoRollback, rollback_id=task.stated(m.RollbackEvent)[-1].rollback_id)
    assert task.row.active == "new"
    assert e_value(task.variant("new")) == 0.0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 0.95))
def test_whatever_a_newcomer_delivers_a_head_start_never_delays_its_rollback(seed: int, rate: float) -> None:
    random, outcomes = Random(seed), ""
    for _ in range(150):
        outcomes += "S" if random.random() < rate else "F"
    delays = []
    for head_start in (0.02, 0.0):
        task, delay = replaced(head_start), 0
        while task.row.active == "new" and delay < len(outcomes):
            task.run("new", outcomes[delay], active_epoch=task.row.epoch)
            delay += 1
        delays.append(delay)
    assert delays[0] <= delays[1]


def test_a_bad_newcomer_is_left_sooner() -> None:
    def delay(head_start: float) -> int:
        task = replaced(head_start)
        for number, letter in enumerate("SSSSSSF" * 40, start=1):
            task.run("new", letter, active_epoch=task.row.epoch)
            if task.row.active == "default":
                return number
        raise AssertionError("the newcomer was not rolled back")

    assert delay(0.02) < delay(0.0)
