"""``crl hold --all`` and ``crl resume --all``: one order to every partition, and what became of it in each."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from crl_stream.cli.session import Session
from crl_stream.cli.talk import show, show_json
from crl_stream.core import messages as m
from crl_stream.errors import CommandRefused, Unavailable
from crl_stream.kafka.commands import VALID_SECONDS, FleetAnswer, fleet_command, give_all

DEFAULT_VALID_HOURS: Final = 24.0
"""How long a hold without ``--hours`` waits for a partition that has no worker; a resume waits a minute."""
MOST_HOURS: Final = 8_760.0
"""As many as a hold may last; what is beyond is refused before it is sent."""


def order_fleet(
    session: Session,
    kind: type[Any],
    reason: str,
    actor: str | None,
    timeout: float,
    json: bool,
    *,
    hours: float | None = None,
) -> None:
    """Give an order to the fleet and say what became of it.

    ``CommandRefused`` when every partition refuses, ``Unavailable`` when one has not taken it.
    """
    fields: dict[str, Any] = {"reason": reason, "actor": actor}
    valid_hours = VALID_SECONDS / 3_600
    if kind is m.HoldAll:
        # A partition without a worker must be held when it gets one; a late resume could surprise people.
        valid_hours = DEFAULT_VALID_HOURS if hours is None or not 0.0 < hours <= MOST_HOURS else hours
        fields["hours"] = hours
    command = fleet_command(kind, valid_hours=valid_hours, **fields)
    answer = asyncio.run(give_all(session.kafka, command, timeout))
    if json:
        show_json(document(command, answer))
    elif answer.results:
        show(summary(command, answer))
    _raise_for(command, answer, timeout)


def document(command: m.FleetCommand, answer: FleetAnswer) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "command": type(command).__name__,
        "command_id": command.command_id,
        "actor": command.actor,
        "reason": command.reason,
        "partitions": answer.partitions,
        "applied": [result.position.partition for result in answer.applied],
        "refused": {str(p): result.detail for p, result in answer.results.items() if result.outcome == "refused"},
        "silent": answer.silent,
        "unsent": {str(p): why for p, why in answer.unsent.items()},
        "tasks": answer.tasks,
        "results": list(answer.results.values()),
    }


def summary(command: m.FleetCommand, answer: FleetAnswer) -> str:
    """One line: how many partitions and tasks, and until when."""
    done = answer.applied
    word = "held" if isinstance(command, m.HoldAll) else "resumed"
    tasks = f"{answer.tasks} task{'' if answer.tasks == 1 else 's'}"
    text = f"{word}: {len(done)} of {answer.partitions} partitions, {tasks}"
    if done and isinstance(command, m.HoldAll):
        text += f", {done[0].detail.partition(': ')[0].removeprefix('held ')}"
    refused = [result for result in answer.results.values() if result.outcome == "refused"]
    if refused and done:
        text += f"; {len(refused)} refused: {refused[0].detail}"
    if done and isinstance(command, m.ResumeAll):
        text += "; a task with a hold of its own stays held"
    return f"{text} ({command.command_id})"


def _raise_for(command: m.FleetCommand, answer: FleetAnswer, timeout: float) -> None:
    verb, done = ("hold", "held") if isinstance(command, m.HoldAll) else ("resume", "resumed")
    troubles = []
    if answer.unsent:
        names = ", ".join(f"{partition} ({why})" for partition, why in answer.unsent.items())
        troubles.append(f"it could not be written to partition {names}")
    if answer.silent:
        names = ", ".join(map(str, answer.silent))
        troubles.append(
            f"partition {names} has not answered within {timeout:.0f} s; a worker takes it until {command.expires_at}"
        )
    if troubles:
        raise Unavailable(
            f"Not the whole fleet is {done}: {'; '.join(troubles)}.",
            hint=f"run crl {verb} --all again, which is harmless; is a worker running? `crl status` asks it",
        )
    if not answer.applied:
        details = sorted({result.detail for result in answer.results.values()})
        raise CommandRefused(f"Every partition refused: {'; '.join(details)}.", hint="crl status says what is held")
