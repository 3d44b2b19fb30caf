"""The answer to every command that changes something says what it touches, and the exact command that undoes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from core.snapshots import a_snapshot
from proposals.some import the_guide_s

from cli.program import commands
from crl_stream.cli import consequences, fleet, orders, policy, rollout
from crl_stream.cli.application import app
from crl_stream.cli.proposals import reviewing
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.errors import Unavailable
from crl_stream.kafka.commands import FleetAnswer
from crl_stream.kafka.reader import Received
from crl_stream.wire.topics import TASKS

TASK = "backend-architect/api-design"
KEY = TaskKey.parse(TASK)
TOUCHES = m.Touches(runtimes=4, outcomes_an_hour=1_200)
WORDS = "  It touches 1 task, 4 runtimes, about 1,200 outcomes an hour."
OF_FLEET = "  It touches every task of the fleet."
PROPOSAL = the_guide_s()
ID = PROPOSAL.proposal_id

ABOUT_A_TASK = {
    ("undo",): ([TASK], f"crl activate {TASK} default; to end the hold afterwards: crl resume {TASK}"),
    ("confirm",): (["rb-1"], "crl undo rb-1"),
    ("pin",): ([TASK], f"crl unpin {TASK}"),
    ("unpin",): ([TASK], f"crl pin {TASK} default"),
    ("hold",): ([TASK], f"crl resume {TASK}"),
    ("resume",): ([TASK], f"crl hold {TASK}"),
    ("activate",): ([TASK, "v2"], f"crl undo {TASK} --epoch 4"),
    ("register",): ([TASK, "v2"], f"crl retire {TASK} v2"),
    ("retire",): ([TASK, "v2"], f"crl register {TASK} v2"),
    ("propose",): ([TASK, "v2"], "crl proposals reject prop-new --reason TEXT"),
    ("accept",): ([TASK, "v2"], "This cannot be undone: the old baseline is not kept."),
    ("quarantine", "lift"): (
        [TASK, "v2"],
        f"This cannot be undone. To keep the variant out for good: crl retire {TASK} v2",
    ),
    ("rollout", "start"): ([TASK, "v2"], f"crl rollout abort {TASK}"),
    ("rollout", "pause"): ([TASK], f"crl rollout resume {TASK}"),
    ("rollout", "resume"): ([TASK], f"crl rollout pause {TASK}"),
    ("rollout", "promote"): ([TASK], f"crl rollout abort {TASK}; once v3 is active: crl undo {TASK}"),
    ("rollout", "abort"): ([TASK], f"crl rollout start {TASK} v3"),
    ("proposals", "approve"): ([ID], "crl undo backend-architect/security-audit --epoch 4"),
    ("proposals", "reject"): (
        [ID, "-m", "no"],
        "This cannot be undone. It is proposed again once its evidence has doubled.",
    ),
    ("proposals", "defer"): ([ID], f"crl proposals approve {ID}; or: crl proposals reject {ID} --reason TEXT"),
}
"""Commands for one task: their arguments, and how the last line of their answer ends."""
ABOUT_THE_FLEET = {
    ("hold", "--all"): "To put it back: crl resume --all ends the hold",
    ("resume", "--all"): "To stop everything again: crl hold --all",
    ("policy", "apply", "--yes"): "To take it back: give the settings above their old values, then: crl policy apply",
}
CHANGES_NO_TASK = {
    ("demo",): "a broker of its own",
    ("up",): "processes",
    ("down",): "processes",
    ("worker",): "a process",
    ("publish",): "outcomes are facts, not decisions",
    ("drill",): "a task that is reserved for drills",
    ("sync",): "a file",
    ("export",): "a file",
    ("archive",): "files of telemetry",
    ("broker", "start"): "a process",
    ("broker", "stop"): "a process",
    ("topics", "apply"): "topics",
    ("topics", "adopt"): "the record of the topics",
    ("dead-letters", "replay"): "records that were not folded; each is marked as sent again",
    ("proposals", "export"): "a file",
    ("notify", "test"): "a message that says that it is a test",
    ("config", "init"): "a file",
    ("config", "trust"): "a record of the user",
}
"""Commands that change something, but nothing of a task."""
READS = {
    *(("replay",), ("calibrate",), ("tail",), ("status",), ("dashboard",), ("runtimes",), ("audit",), ("explain",)),
    *(("why-not",), ("window",), ("broker", "status"), ("topics", "diff"), ("topics", "list"), ("topology",)),
    *(("policy", "show"), ("policy", "diff"), ("rollbacks",), ("rollbacks", "show"), ("quarantine", "list")),
    *(("dead-letters", "list"), ("dead-letters", "show"), ("rollout", "status"), ("proposals", "list")),
    *(("proposals", "show"), ("proposals", "digest"), ("notify", "list"), ("config", "show"), ("config", "validate")),
}


class Topic:
    """The topic of the snapshots, with one of the task, one of another task, and an older one."""

    silent = False

    def __init__(self, *_: object) -> None:
        pass

    async def read_last(self, topic: str, _partition: int, _count: int) -> Sequence[Received]:
        if Topic.silent:
            raise Unavailable("Kafka does not answer.", hint="raised by the test")
        assert topic == TASKS
        about = [(*KEY, TOUCHES, 100), (*KEY, None, 50), ("z", "z", m.Touches(runtimes=9), 200)]
        about.append((PROPOSAL.agent_name, PROPOSAL.task_type, TOUCHES, 100))
        return [
            Received(topic, None, a_snapshot(agent_name=name, task_type=kind, touches=touches, offset=offset))
            for name, kind, touches, offset in about
        ]


@pytest.fixture(autouse=True)
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer every command as a monitor would that applies it and begins epoch 4."""

    async def known(*_: object, **__: object) -> None:
        return None

    async def active(_: object, key: TaskKey) -> Any:
        return SimpleNamespace(
            variant_id="default", epoch=3, rollout=SimpleNamespace(rollout_id="ro-1", variant_id="v3", stage=1)
        )

    async def give(_: object, command: Any, _timeout: float) -> m.CommandResult:
        begins = type(command) in {m.UndoRollback, m.ActivateVariant, m.ApproveProposal}
        return result_of(command, (command.agent_name, command.task_type), 4 if begins else 3)

    async def give_all(_: object, command: Any, _timeout: float) -> FleetAnswer:
        return FleetAnswer(1, {0: result_of(command, (None, None), 0)}, {})

    async def the_rollback(*_: object) -> Any:
        return SimpleNamespace(agent_name=KEY.agent_name, task_type=KEY.task_type, epoch=3)

    async def the_proposal(*_: object) -> m.Proposal:
        return PROPOSAL

    monkeypatch.setenv("CRL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(Topic, "silent", False)
    monkeypatch.setattr(consequences, "TopicReader", Topic)
    monkeypatch.setattr(reviewing, "now_ms", lambda: 1_763_629_200_000)
    monkeypatch.setattr(reviewing, "find", the_proposal)
    monkeypatch.setattr(orders, "find_rollback", the_rollback)
    for module in (orders, rollout):
        monkeypatch.setattr(module, "require_known", known)
        monkeypatch.setattr(module, "active_variant", active)
    for module in (orders, reviewing):
        monkeypatch.setattr(module, "give", give)
    monkeypatch.setattr(fleet, "give_all", give_all)
    the_policy(monkeypatch)


def the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another policy be in force, which is changed without Kafka."""
    before = SimpleNamespace(exists=True, policies=None)
    monkeypatch.setattr(policy, "read_fleet_policy", lambda *_: answer(before))
    monkeypatch.setattr(policy, "differences_of", lambda *_: [SimpleNamespace(setting="a", one=1, other=2)])
    monkeypatch.setattr(policy, "_show_differences", lambda *_: None)
    monkeypatch.setattr(policy, "_compared", lambda *_: {})
    monkeypatch.setattr(policy, "became", lambda *_: "in force")
    monkeypatch.setattr(policy, "_apply", lambda *_: answer([]))


async def answer(value: Any) -> Any:
    return value


def result_of(command: Any, key: tuple[str | None, str | None], epoch: int) -> m.CommandResult:
    return m.CommandResult(
        result_id="cmdr-1",
        timestamp=to_text(0),
        agent_name=key[0],
        task_type=key[1],
        command_id=command.command_id,
        command=type(command).__name__,
        actor="ada",
        reason="",
        outcome="applied",
        detail="held until noon: done" if isinstance(command, m.HoldAll) else "done",
        epoch=epoch,
        position=m.Position(0, 1),
        policy_hash="0" * 16,
        engine_version="1",
        tasks=1 if key[0] is None else None,
        proposal_id="prop-new" if isinstance(command, m.ProposeVariant) else None,
    )


def call(*words: str) -> None:
    app(list(words), standalone_mode=False)


def test_every_command_is_known_here_to_change_tasks_the_fleet_something_else_or_nothing() -> None:
    of_fleet = {tuple(word for word in path if not word.startswith("--")) for path in ABOUT_THE_FLEET}
    groups = [{*ABOUT_A_TASK}, {*CHANGES_NO_TASK}, READS, of_fleet - {*ABOUT_A_TASK}]
    assert {*commands()} == set().union(*groups)
    assert sum(map(len, groups)) == len({*commands()}), "none is listed twice"


@pytest.mark.parametrize("path", ABOUT_A_TASK, ids=" ".join)
def test_the_answer_says_what_was_touched_and_how_to_undo_it(
    path: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    arguments, back = ABOUT_A_TASK[path]
    call(*path, *arguments)
    _, touched, undo = capsys.readouterr().out.splitlines()
    assert touched == WORDS
    assert undo.endswith(back)
    assert len(undo) < 200


@pytest.mark.parametrize("path", ABOUT_A_TASK, ids=" ".join)
def test_the_json_of_the_answer_has_both_beside_the_monitor_s_result(
    path: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    arguments, back = ABOUT_A_TASK[path]
    call(*path, *arguments, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["touches"] == {"tasks": 1, "runtimes": 4, "outcomes_an_hour": 1_200}
    assert found["way_back"].endswith(back)
    assert found["result_id"] == "cmdr-1"


@pytest.mark.parametrize("path", ABOUT_THE_FLEET, ids=" ".join)
def test_a_command_for_the_fleet_says_that_it_touches_every_task(
    path: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    call(*path)
    told = capsys.readouterr()
    touched, undo = told.out.splitlines()[-2:]
    assert touched == OF_FLEET
    assert undo.strip().startswith(ABOUT_THE_FLEET[path])
    call(*path, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["touches"]["tasks"] is None
    assert found["way_back"].startswith(ABOUT_THE_FLEET[path])


def test_a_pin_that_makes_another_variant_active_says_how_that_is_undone_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    async def give(_: object, command: Any, _timeout: float) -> m.CommandResult:
        return result_of(command, KEY, 4)

    monkeypatch.setattr(orders, "give", give)
    call("pin", TASK, "v2")
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"  To end it: crl unpin {TASK}; to make default active again: crl undo {TASK} --epoch 4"
    )


def test_an_undo_that_only_frees_the_variant_of_an_aborted_rollout_names_no_variant_to_activate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    async def give(_: object, command: Any, _timeout: float) -> m.CommandResult:
        return result_of(command, KEY, 3)

    monkeypatch.setattr(orders, "give", give)
    call("undo", TASK)
    assert "crl activate" not in capsys.readouterr().out


def test_a_command_that_was_applied_is_answered_even_if_the_figures_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(Topic, "silent", True)
    call("hold", TASK)
    assert capsys.readouterr().out.splitlines() == [
        f"{TASK}: done (cmdr-1, epoch 3)",
        "  What it touches is not known.",
        f"  To end it: crl resume {TASK}",
    ]
