"""Commands for the whole fleet, and what its partitions answered, in words; ``crl hold --all`` and pages share them."""

from __future__ import annotations

from typing import Any, Final

from crl_stream.core import messages as m
from crl_stream.core.messages.parts import Touches
from crl_stream.core.way_back import way_back
from crl_stream.errors import CommandRefused, CrlError, Unavailable
from crl_stream.kafka.commands import VALID_SECONDS, FleetAnswer

DEFAULT_VALID_HOURS: Final = 24.0
"""Hours for which a hold without a length waits for a partition to get a worker; a resume waits one minute."""
MOST_HOURS: Final = 8_760.0
"""The longest hold, in hours; a longer one is refused before it is sent."""

PUT_BACK: Final = way_back("HoldAll")
"""What follows a hold of the fleet, in a terminal and on a page."""
EVERY_TASK: Final = Touches(tasks=None)
"""What a command for the whole fleet touches."""


def valid_hours(kind: type[Any], hours: float | None) -> float:
    """Return how long a command of ``kind`` is valid; ``hours`` is the length of a hold, None for the policy's.

    A partition without a worker must be held once it gets one, but a late resume could surprise people.
    """
    if kind is not m.HoldAll:
        return VALID_SECONDS / 3_600
    return hours if isinstance(hours, int | float) and 0.0 < hours <= MOST_HOURS else DEFAULT_VALID_HOURS


def answer_document(command: m.FleetCommand, answer: FleetAnswer) -> dict[str, Any]:
    """Return the partitions' answers to a command as a JSON object."""
    return {
        "command": type(command).__name__,
        "command_id": command.command_id,
        "actor": command.actor,
        "reason": command.reason,
        **({"stops": command.stops} if isinstance(command, m.HoldAll) else {}),
        "partitions": answer.partitions,
        "applied": [result.position.partition for result in answer.applied],
        "refused": {str(p): result.detail for p, result in answer.results.items() if result.outcome == "refused"},
        "silent": answer.silent,
        "unsent": {str(p): why for p, why in answer.unsent.items()},
        "tasks": answer.tasks,
        "touches": EVERY_TASK,
        "way_back": way_back(type(command).__name__),
        "results": list(answer.results.values()),
    }


def answer_summary(command: m.FleetCommand, answer: FleetAnswer) -> str:
    """Return one line that says how many partitions and tasks are held or resumed, and when that ends."""
    done = answer.applied
    word = done_word(command)
    tasks = f"{answer.tasks} task{'' if answer.tasks == 1 else 's'}"
    text = f"{word}: {len(done)} of {answer.partitions} partitions, {tasks}"
    if done and isinstance(command, m.HoldAll):
        text += f", {done[0].detail.partition(': ')[0].removeprefix(f'{word} ')}"
    refused = [result for result in answer.results.values() if result.outcome == "refused"]
    if refused and done:
        text += f"; {len(refused)} refused: {refused[0].detail}"
    if done and isinstance(command, m.ResumeAll):
        text += "; tasks with their own hold stay held"
    return f"{text} ({command.command_id})"


def done_word(command: m.FleetCommand) -> str:
    """Return what a command has done once it is applied, as the partitions' results begin."""
    if isinstance(command, m.ResumeAll):
        return "resumed"
    return "promotions stopped" if command.stops == "promotions" else "held"


def _did(command: m.FleetCommand, result: m.CommandResult) -> bool:
    """Return whether a partition did what the command says; a worker of an earlier version ignores ``stops``."""
    return not isinstance(command, m.HoldAll) or result.detail.startswith(done_word(command))


def line_of(command: m.FleetCommand) -> str:
    """Return the command line that sends a command, without hours and reason."""
    if isinstance(command, m.ResumeAll):
        return "crl resume --all"
    return "crl hold --all --promotions-only" if command.stops == "promotions" else "crl hold --all"


def answer_trouble(command: m.FleetCommand, answer: FleetAnswer, timeout: float) -> CrlError | None:
    """Return why a command has not reached its aim in every partition; None if it has."""
    done = "held" if isinstance(command, m.HoldAll) else "resumed"
    troubles = []
    if answer.unsent:
        names = ", ".join(f"{partition} ({why})" for partition, why in answer.unsent.items())
        troubles.append(f"nothing confirms that the command arrived in partition {names}")
    if answer.silent:
        names = ", ".join(map(str, answer.silent))
        which = f"partition {names} has" if len(answer.silent) == 1 else f"partitions {names} have"
        troubles.append(
            f"{which} not answered within {timeout:.0f} s; a worker can apply it until {command.expires_at}"
        )
    if troubles:
        return Unavailable(
            f"The fleet is only partly {done}: {'; '.join(troubles)}.",
            hint=f"is a worker running? check with `crl status`, then repeat {line_of(command)}, which is harmless; "
            f"`crl audit` shows what became of {command.command_id}",
        )
    others = [str(result.position.partition) for result in answer.applied if not _did(command, result)]
    if others:
        return Unavailable(
            f"Rollbacks are stopped too in partition {', '.join(others)}: a worker of an earlier version cannot stop "
            "only promotions.",
            hint="crl resume --all ends the hold; upgrade all workers before you stop only promotions",
        )
    if not answer.applied:
        details = sorted({result.detail for result in answer.results.values()})
        return CommandRefused(f"Every partition refused: {'; '.join(details)}.", hint="crl status shows what is held")
    return None
