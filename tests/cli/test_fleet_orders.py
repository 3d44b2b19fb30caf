"""``crl hold --all`` waits for every partition, reports the result in each, and can be repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.program import Program
from crl_stream.cli import fleet
from crl_stream.cli.application import app
from crl_stream.core import messages as m
from crl_stream.errors import CommandRefused, Unavailable
from crl_stream.kafka.commands import FleetAnswer

UNTIL = "2025-11-20T14:30:00.000Z"
READ = "2025-11-20 14:30:00 UTC"
"""The same in a text for people."""


def a_result(partition: int, outcome: str = "applied", tasks: int = 30, detail: str = "") -> m.CommandResult:
    return m.CommandResult(
        result_id=f"cmdr-{partition}",
        timestamp="2025-11-19T14:30:00.000Z",
        agent_name=None,
        task_type=None,
        command_id="cmd-1",
        command="HoldAll",
        actor="ada",
        reason="",
        outcome=outcome,  # type: ignore[arg-type]
        detail=detail or f"held until {UNTIL}: {tasks} tasks in partition {partition}",
        epoch=0,
        position=m.Position(partition, 7),
        policy_hash="0" * 16,
        engine_version="1",
        tasks=tasks,
    )


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of commands sent to the fleet; each is answered with the last element of ``answers``."""
    given: list[Any] = []

    async def take(_kafka: Any, command: Any, _timeout: float) -> FleetAnswer:
        given.append(command)
        return answers[-1]

    monkeypatch.setenv("CRL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(fleet, "give_all", take)
    return given


answers = [FleetAnswer(4, {p: a_result(p, tasks=30 + p) for p in range(4)}, {})]
LAME = FleetAnswer(4, {0: a_result(0), 1: a_result(1)}, {3: "no leader"})
IDLE = FleetAnswer(2, {p: a_result(p, "refused", 0, "the fleet is not held") for p in range(2)}, {})
HALF = FleetAnswer(2, {0: a_result(0, detail="resumed: 3 tasks", tasks=3), 1: IDLE.results[1]}, {})


def call(*words: str, answer: FleetAnswer | None = None) -> None:
    if answer is not None:
        answers.append(answer)
    try:
        app(list(words), standalone_mode=False)
    finally:
        del answers[1:]


def test_the_partitions_and_tasks_are_summed_up_in_one_line(sent: list[Any], capsys: pytest.CaptureFixture) -> None:
    call("hold", "--all", "--hours", "2", "-m", "incident 42", "--actor", "ada")
    out = capsys.readouterr().out
    assert "To put it back: crl resume --all ends the hold; crl undo AGENT/TASK reverts" in out
    assert out.startswith(f"held: 4 of 4 partitions, 126 tasks, until {READ} (cmd-")
    [command] = sent
    assert (command.actor, command.reason, command.hours) == ("ada", "incident 42", 2.0)
    assert isinstance(command, m.HoldAll)


def test_only_promotions_are_stopped_if_asked_for(sent: list[Any], capsys: pytest.CaptureFixture) -> None:
    detail = f"promotions stopped until {UNTIL}: 3 tasks in partition 0"
    answer = FleetAnswer(1, {0: a_result(0, detail=detail, tasks=3)}, {})
    call("hold", "--all", "--promotions-only", answer=answer)
    out = capsys.readouterr().out
    assert out.startswith(f"promotions stopped: 1 of 1 partitions, 3 tasks, until {READ} (cmd-")
    [command] = sent
    assert (command.stops, command.hours) == ("promotions", None)


def test_a_worker_of_an_earlier_version_that_stops_rollbacks_too_is_trouble(sent: list[Any]) -> None:
    results = {0: a_result(0, detail=f"promotions stopped until {UNTIL}: 3 tasks in partition 0"), 1: a_result(1)}
    with pytest.raises(Unavailable) as trouble:
        call("hold", "--all", "--promotions-only", answer=FleetAnswer(2, results, {}))
    assert "Rollbacks are stopped too in partition 1: a worker of an earlier version" in trouble.value.message
    assert "crl resume --all" in (trouble.value.hint or "")


def test_to_stop_the_promotions_of_one_task_the_command_names_the_pin(crl: Program) -> None:
    crl.environment["CRL_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    result = crl.run("hold", "a/b", "--promotions-only")
    assert result.faults(2) == []
    assert "crl pin a/b" in result.err


def test_partitions_that_have_not_taken_it_are_named_and_it_may_be_repeated(
    sent: list[Any], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(Unavailable) as trouble:
        call("hold", "--all", answer=LAME)
    assert "held: 2 of 4 partitions, 60 tasks" in capsys.readouterr().out
    assert "nothing confirms that the command arrived in partition 3 (no leader)" in trouble.value.message
    assert "partition 2 has not answered within 20 s" in trouble.value.message
    assert trouble.value.hint is not None and "repeat crl hold --all" in trouble.value.hint


def test_resuming_what_is_half_held_succeeds_and_says_so(sent: list[Any], capsys: pytest.CaptureFixture) -> None:
    call("resume", "--all", answer=HALF)
    assert "resumed: 1 of 2 partitions, 3 tasks; 1 refused: the fleet is not held" in capsys.readouterr().out


def test_resuming_what_is_not_held_at_all_is_refused(sent: list[Any]) -> None:
    with pytest.raises(CommandRefused) as refused:
        call("resume", "--all", answer=IDLE)
    assert "the fleet is not held" in refused.value.message


def test_as_json_every_partition_is_there_also_when_some_are_missing(
    sent: list[Any], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(Unavailable):
        call("hold", "--all", "--json", answer=LAME)
    said = json.loads(capsys.readouterr().out)
    assert (said["partitions"], said["applied"], said["silent"]) == (4, [0, 1], [2])
    assert said["unsent"] == {"3": "no leader"}
    assert said["tasks"] == 60


@pytest.mark.parametrize("order", ["hold", "resume"])
@pytest.mark.parametrize(
    ("words", "fault"), [([], "Name a task or the whole fleet."), (["a/b", "--all"], "Name either a task")]
)
def test_one_task_or_the_fleet_must_be_named(crl: Program, order: str, words: list[str], fault: str) -> None:
    crl.environment["CRL_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    result = crl.run(order, *words)
    assert result.faults(2) == []
    assert fault in result.err and "--all" in result.err


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "9000"])
def test_an_impossible_span_is_refused_before_anything_is_sent(crl: Program, hours: str) -> None:
    crl.environment["CRL_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    assert crl.run("hold", "--all", "--hours", hours).faults(2) == []
