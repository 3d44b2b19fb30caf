"""``crl hold --all`` and ``crl resume --all``: send one command to every partition and report its result in each."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from crl_stream.cli.session import Session
from crl_stream.cli.talk import show, show_json
from crl_stream.core import messages as m
from crl_stream.errors import CommandRefused, Unavailable
from crl_stream.kafka.commands import VALID_SECONDS, FleetAnswer, fleet_command, give_all

DEFAULT_VALID_HOURS: Final = 24.0
"""Hours for which a hold without ``--hours`` waits for a partition to get a worker; a resume waits one minute."""
MOST_HOURS: Final = 8_760.0
"""The longest hold, in hours; a longer one is refused before it is sent."""


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
    """Send a command to the whole fleet and report the result.

    ``kind`` is the command's class, ``timeout`` the seconds to wait for all partitions, ``hours`` the length of a hold
    (None: the policy's). Raises ``CommandRefused`` if every partition refuses, ``Unavailable`` if one has not applied
    it.
    """
    fields: dict[str, Any] = {"reason": reason, "actor": actor}
    valid_hours = VALID_SECONDS / 3_600
    if kind is m.HoldAll:
        # A partition without a worker must be held once it gets one, but a late resume could surprise people.
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
    """Return the partitions' answers to a command as a JSON object."""
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
    """Return one line that says how many partitions and tasks are held or resumed, and when that ends."""
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
        text += "; tasks with their own hold stay held"
    return f"{text} ({command.command_id})"


def _raise_for(command: m.FleetCommand, answer: FleetAnswer, timeout: float) -> None:
    verb, done = ("hold", "held") if isinstance(command, m.HoldAll) else ("resume", "resumed")
    troubles = []
    if answer.unsent:
        names = ", ".join(f"{partition} ({why})" for partition, why in answer.unsent.items())
        troubles.append(f"the command could not be written to partition {names}")
    if answer.silent:
        names = ", ".join(map(str, answer.silent))
        which = f"partition {names} has" if len(answer.silent) == 1 else f"partitions {names} have"
        troubles.append(
            f"{which} not answered within {timeout:.0f} s; a worker can apply it until {command.expires_at}"
        )
    if troubles:
        raise Unavailable(
            f"The fleet is only partly {done}: {'; '.join(troubles)}.",
            hint=f"is a worker running? check with `crl status`, then repeat crl {verb} --all, which is harmless",
        )
    if not answer.applied:
        details = sorted({result.detail for result in answer.results.values()})
        raise CommandRefused(f"Every partition refused: {'; '.join(details)}.", hint="crl status shows what is held")
