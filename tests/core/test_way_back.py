"""The sentence that says how a command is undone names a command that the monitor applies, and that undoes it."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from crl_stream.core import messages as m
from crl_stream.core.messages.commands import AnyTaskCommand
from crl_stream.core.monitor.row import RETIRED
from crl_stream.core.way_back import COMMANDS, NOT_UNDONE, way_back

from .rolling import CANDIDATE, registered, rolling
from .task import KEY, Task, collapsed, proven

KINDS = {
    "undo": m.UndoRollback,
    "hold": m.HoldTask,
    "resume": m.ResumeTask,
    "pin": m.PinVariant,
    "unpin": m.UnpinVariant,
    "activate": m.ActivateVariant,
    "register": m.RegisterVariant,
    "retire": m.RetireVariant,
    "rollout start": m.StartRollout,
    "rollout pause": m.PauseRollout,
    "rollout resume": m.ResumeRollout,
    "rollout abort": m.AbortRollout,
}


def sent(task: Task, line: str) -> m.CommandResult:
    """Send what a command line says, as ``crl`` would."""
    words = line.removeprefix("crl ").split()
    name = " ".join(words[: 2 if words[0] == "rollout" else 1])
    rest = words[len(name.split()) :]
    fields: dict[str, Any] = {}
    if "--epoch" in rest:
        fields["expected_epoch"] = int(rest.pop(rest.index("--epoch") + 1))
        rest.remove("--epoch")
    if rest[0] != str(KEY):
        fields["rollback_id"] = rest[0]
    if len(rest) > 1:
        fields["variant_id"] = rest[1]
    return task.order(KINDS[name], **fields)


def lines_in(sentence: str) -> list[str]:
    return [found.strip() for found in re.findall(r": (crl [^;]*)", sentence)]


def state(task: Task) -> tuple[Any, ...]:
    """Return what a person can change about a task."""
    row, rollout = task.row, task.row.rollout
    states = {name: (one.state == RETIRED, one.quarantined) for name, one in row.variants.items()}
    return (row.active, row.held is not None, row.pinned is not None, states, rollout and rollout.paused is not None)


def a_task() -> Task:
    return proven(v2="S" * 20)


def held() -> Task:
    task = a_task()
    task.order(m.HoldTask)
    return task


def pinned() -> Task:
    task = a_task()
    task.order(m.PinVariant)
    return task


def paused() -> Task:
    task = rolling(stages=[0.1, 0.5])
    task.order(m.PauseRollout)
    return task


UNDONE = {
    "HoldTask": (a_task, {}, {}),
    "ResumeTask": (held, {}, {}),
    "PinVariant": (a_task, {}, {}),
    "UnpinVariant": (pinned, {}, {"variant": "default"}),
    "ActivateVariant": (a_task, {"variant_id": "v2"}, {"epoch": 2}),
    "StartRollout": (registered, {"variant_id": CANDIDATE}, {}),
    "PauseRollout": (lambda: rolling(stages=[0.1, 0.5]), {}, {}),
    "ResumeRollout": (paused, {}, {}),
    "AbortRollout": (lambda: rolling(stages=[0.1, 0.5]), {}, {"variant": CANDIDATE}),
    "RetireVariant": (a_task, {"variant_id": "v2"}, {"variant": "v2"}),
}
"""Commands that are undone exactly: the task before, the fields of the command, and what the sentence names."""


@pytest.mark.parametrize("name", UNDONE)
def test_the_named_command_is_applied_and_restores_what_was_there(name: str) -> None:
    make, fields, known = UNDONE[name]
    task = make()
    before = state(task)
    assert task.order(getattr(m, name), **fields).outcome == "applied"
    assert state(task) != before
    [line] = lines_in(way_back(name, KEY, **known))
    assert sent(task, line).outcome == "applied"
    assert task.row.held is None or name in {"ActivateVariant", "ResumeTask"}, "an undo holds the task for a while"
    after = state(task)
    assert (after[0], *after[2:]) == (before[0], *before[2:])


def test_a_variant_that_was_registered_is_taken_back_by_retiring_it() -> None:
    task = a_task()
    task.order(m.RegisterVariant, variant_id="v3")
    [line] = lines_in(way_back("RegisterVariant", KEY, variant="v3"))
    assert sent(task, line).outcome == "applied"
    assert task.variant("v3").state == RETIRED


def test_an_undone_rollback_is_repeated_and_the_hold_ended_by_the_commands_that_are_named() -> None:
    task = collapsed()
    [event] = task.stated(m.RollbackEvent)
    task.order(m.UndoRollback, expected_epoch=event.epoch)
    assert (task.row.active, task.row.held is not None) == (event.from_variant, True)
    for line in lines_in(way_back("UndoRollback", KEY, before=event.to_variant)):
        assert sent(task, line).outcome == "applied"
    assert (task.row.active, task.row.held) == (event.to_variant, None)


def test_a_rollback_that_was_confirmed_can_still_be_undone_by_the_named_command() -> None:
    task = collapsed()
    [event] = task.stated(m.RollbackEvent)
    task.order(m.ConfirmRollback, rollback_id=event.rollback_id)
    sentence = way_back("ConfirmRollback", KEY, rollback_id=event.rollback_id)
    assert sentence.startswith(NOT_UNDONE)
    [line] = lines_in(sentence)
    assert sent(task, line).outcome == "applied"
    assert task.row.active == event.from_variant


def test_a_stage_that_was_begun_is_ended_by_the_abort_and_an_active_candidate_by_the_undo() -> None:
    for full in (False, True):
        task = rolling(stages=[0.1, 0.5])
        control = task.row.active
        task.run(CANDIDATE, "S", variant_source="rollout")
        task.order(m.PromoteRollout, full=full)
        abort, undo = lines_in(way_back("PromoteRollout", KEY, variant=CANDIDATE))
        done = sent(task, undo if full else abort)
        assert done.outcome == "applied", done.detail
        assert (task.row.active, task.row.rollout) == (control, None)


def test_every_command_of_a_person_says_how_it_is_undone_or_that_it_cannot_be() -> None:
    assert {kind.__name__ for kind in (*get_args(AnyTaskCommand), m.HoldAll, m.ResumeAll, m.SetPolicy)} == COMMANDS
    known = {"rollback_id": "rb-1", "proposal_id": "prop-1", "undo_command": "crl undo a/b --epoch 3", "epoch": 3}
    for name in COMMANDS:
        sentence = way_back(name, "a/b", **known)
        assert "crl " in sentence or sentence.startswith(NOT_UNDONE), name
        assert "{" not in sentence
