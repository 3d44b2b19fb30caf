"""The snapshot of a leading candidate says why it is not active yet; the guide's own texts stay unchanged."""

from __future__ import annotations

import pytest

from crl_stream.core import messages as m

from .task import Task


def _waiting_for(task: Task, name: str = "v2") -> str | None:
    return task.snapshot(name).not_applied


def test_a_candidate_that_leads_says_why_it_is_not_applied_yet() -> None:
    task = Task()
    task.run("default", "S" * 30, reward=0.92)
    task.run("v2", "S" * 10, reward=0.95, variant_source="explore")
    assert task.snapshot("v2").decision == "auto_apply"
    assert _waiting_for(task) == "0.03 ahead of default in Q-value, 0.05 ahead needed"
    assert task.snapshot("v2").reasoning.startswith("High confidence: "), "the guide's text stays unchanged"
    assert task.snapshot("default").not_applied is None

    task = Task()
    task.run("default", "S" * 30, reward=0.95)
    task.run("v2", "S" * 10, reward=0.91, variant_source="explore")
    assert _waiting_for(task) == "0.04 behind default in Q-value, 0.05 ahead needed"


@pytest.mark.parametrize(
    ("command", "why"),
    [(m.PinVariant, "pinned by ada"), (m.HoldTask, "held by ada")],
)
def test_a_pin_and_a_hold_are_named_to_the_candidate_that_waits(command: type, why: str) -> None:
    task = Task()
    task.run("default", "S" * 30, reward=0.5)
    task.order(command)
    task.run("v2", "S" * 10, reward=0.95, variant_source="explore")
    assert _waiting_for(task) == why


def test_a_cooldown_and_a_rival_are_named_to_the_candidate_that_waits() -> None:
    task = Task()
    task.run("default", "S" * 5, reward=0.5)
    task.run("v2", "S" * 10, reward=0.95, variant_source="explore")
    assert _waiting_for(task) == "cooling down: 5 outcomes left"
    task.run("v3", "S" * 10, reward=1.0, variant_source="explore")
    assert _waiting_for(task, "v3") == "applied with the next outcome of default"
    assert _waiting_for(task) == "v3 is ahead of it"
    task.run("default", "S", reward=0.5)
    assert task.row.active == "v3"
