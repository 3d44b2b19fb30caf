"""One exercise of a drill with a scripted monitor: what it sends, and what it reports if a reply is missing or bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from source_tree import ROOT

from crl_stream.cli.drill import part_operator
from crl_stream.cli.drill.exercise import Exercise, Setting
from crl_stream.cli.drill.plan import plan_of
from crl_stream.cli.drill.report import Report
from crl_stream.cli.drill.witness import Witness
from crl_stream.client import PublisherStats
from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT, FAILING, STEADY
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Policy
from crl_stream.errors import CommandRefused, Unavailable

KEY = TaskKey(DRILL_AGENT, "silent-1")
KNOWN = msgspec.structs.replace(
    msgspec.json.decode(
        (ROOT / "topics" / "examples" / "crl.active-variants" / "ActiveVariant.json").read_bytes(), type=m.ActiveVariant
    ),
    agent_name=KEY.agent_name,
    task_type=KEY.task_type,
    variant_id=STEADY,
    epoch=7,
    quarantined=[FAILING],
    pinned=None,
)


class Runtime:
    """A client whose Kafka accepts everything, or drops everything."""

    def __init__(self, *, drops: bool = False) -> None:
        self.publisher, self.trouble, self.drops = self, "Kafka refuses: TopicAuthorizationFailedError.", drops
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def invocation(self, *names: str, **fields: Any) -> bool:
        self.sent.append((names[2], fields))
        return True

    def flush(self, _: float) -> bool:
        return True

    @property
    def stats(self) -> PublisherStats:
        return PublisherStats(len(self.sent), 0, len(self.sent) if self.drops else 0, 0, 0)

    def health(self) -> Any:
        return self


Give = Callable[[Any], m.CommandResult]


async def run(
    monkeypatch: pytest.MonkeyPatch, answer: Give, *, known: m.ActiveVariant | None = KNOWN, **runtime: bool
) -> tuple[Report, list[Any], Runtime]:
    """Run an exercise; return its report, the commands that it has sent, and its runtime."""
    commands: list[Any] = []

    async def give(_kafka: Any, command: Any, _seconds: float) -> m.CommandResult:
        commands.append(command)
        return answer(command)

    monkeypatch.setattr(part_operator, "give", give)
    client: Any = Runtime(**runtime)
    kafka: Any = None
    setting = Setting(kafka, client, Witness(), plan_of(Policy()), "ada", 5.0, lambda *_: None)
    return await Exercise(setting, 0, KEY, known).run(), commands, client


def applied(command: Any) -> m.CommandResult:
    return m.CommandResult(
        result_id="cmdr-1",
        timestamp="2025-11-19T14:30:00Z",
        agent_name=KEY.agent_name,
        task_type=KEY.task_type,
        command_id=command.command_id,
        command=type(command).__name__,
        actor="ada",
        reason="",
        outcome="applied",
        detail="",
        epoch=8,
        position=m.Position(0, 1),
        policy_hash="0" * 16,
        engine_version="3",
    )


async def test_a_drill_names_the_epoch_that_it_saw_and_gives_way_to_whoever_was_quicker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def quicker(command: Any) -> m.CommandResult:
        if isinstance(command, m.PinVariant):
            raise CommandRefused(f"PinVariant for {KEY} was refused: the epoch is 8, not 7: {FAILING} is active.")
        return applied(command)

    report, commands, runtime = await run(monkeypatch, quicker)
    assert report.result == "busy"
    assert "another drill or a person has just changed crl-drill/silent-1" in report.detail
    assert [type(command) for command in commands] == [m.LiftQuarantine, m.PinVariant], (
        "the drill must not change the task"
    )
    assert {command.expected_epoch for command in commands} == {7}
    assert commands[-1].variant_id == FAILING
    assert {variant for variant, _ in runtime.sent} == {STEADY, FAILING}


async def test_an_unfinished_drill_is_cleared_away_before_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    left = msgspec.structs.replace(KNOWN, variant_id=FAILING, quarantined=[])

    def stop(command: Any) -> m.CommandResult:
        if isinstance(command, m.PinVariant):
            raise Unavailable("enough")
        return applied(command)

    _, commands, runtime = await run(monkeypatch, stop, known=left)
    assert [(type(command), command.variant_id) for command in commands[:2]] == [
        (m.ActivateVariant, STEADY),
        (m.PinVariant, FAILING),
    ]
    assert [command.expected_epoch for command in commands[:2]] == [7, 8]
    assert FAILING not in {variant for variant, _ in runtime.sent}, (
        "a failure could cause the rollback of the old drill"
    )


async def test_a_quarantine_that_somebody_has_just_lifted_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def lifted(command: Any) -> m.CommandResult:
        if isinstance(command, m.LiftQuarantine):
            raise CommandRefused(f"LiftQuarantine for {KEY} was refused: {FAILING} is not quarantined.")
        raise Unavailable("enough")

    _, commands, _ = await run(monkeypatch, lifted)
    assert [type(command) for command in commands[:2]] == [m.LiftQuarantine, m.PinVariant]


@pytest.mark.parametrize(
    ("error", "detail", "hint"),
    [
        (Unavailable("Kafka at k:1 does not let this user in: x.", hint="see the ACLs"), "not let this user", "ACLs"),
        (CommandRefused(f"{FAILING} is retired.", hint="register it"), "is retired", "register it"),
        (Unavailable("No worker has answered within 5 s"), "No worker has answered", "crl status"),
    ],
)
async def test_a_command_that_fails_is_the_step_that_is_missing_and_the_result_is_recorded_if_possible(
    monkeypatch: pytest.MonkeyPatch, error: Exception, detail: str, hint: str
) -> None:
    def fail(command: Any) -> m.CommandResult:
        if (getattr(command, "reason", "") or "").startswith("drill failed"):
            return applied(command)
        raise error

    report, commands, _ = await run(monkeypatch, fail)
    assert (report.result, report.missing, report.recorded) == ("failed", "command", True)
    assert detail in report.detail
    assert hint in report.hint
    assert commands[-1].reason.startswith("drill failed ")
    assert detail in commands[-1].reason


async def test_outcomes_that_kafka_does_not_take_are_explained_in_the_clients_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, commands, _ = await run(monkeypatch, applied, drops=True)
    assert (report.result, report.missing) == ("failed", "outcomes")
    assert report.detail == (
        "Kafka has not accepted every outcome; the client says: Kafka refuses: TopicAuthorizationFailedError"
    )
    assert "write crl.invocations" in report.hint
    assert [command.reason.partition(" 2")[0] for command in commands] == ["drill failed"]
