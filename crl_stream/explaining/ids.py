"""What an id is the id of.  Ids of facts begin with a prefix for their kind, and the day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.wire.topics import (
    ALERTS,
    COMMANDS,
    DECISIONS,
    DEGRADATIONS,
    PROPOSALS,
    RECEIPTS,
    ROLLBACKS,
    TAG_CONDITIONS,
)

TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "rb": (ROLLBACKS,),
    "deg": (DEGRADATIONS,),
    "gr": (DEGRADATIONS, ALERTS),
    "alert": (ALERTS,),
    "st": (ALERTS,),
    "cc": (ALERTS,),
    "dec": (DECISIONS,),
    "act": (DECISIONS,),
    "ro": (DECISIONS,),
    "step": (DECISIONS,),
    "hs": (DECISIONS,),
    "ben": (DECISIONS,),
    "ad": (DECISIONS,),
    "cmdr": (DECISIONS,),
    "cmd": (DECISIONS, COMMANDS),
    "prop": (PROPOSALS,),
    "rcpt": (RECEIPTS,),
    "tag": (TAG_CONDITIONS, DECISIONS, COMMANDS),
}
"""By prefix: the topics on which the id may be, the likeliest first."""
EVERYWHERE: Final = (ROLLBACKS, DECISIONS, PROPOSALS, ALERTS, DEGRADATIONS, COMMANDS, RECEIPTS, TAG_CONDITIONS)
"""Where to look for an id with an unknown prefix: a command may have any id."""

_OWN: Final[dict[type, str]] = {
    m.RollbackEvent: "rollback_id",
    m.DegradationAlert: "alert_id",
    m.Alert: "alert_id",
    m.Decision: "decision_id",
    m.Activation: "activation_id",
    m.RolloutStep: "step_id",
    m.Hindsight: "hindsight_id",
    m.Benefit: "benefit_id",
    m.Adoption: "adoption_id",
    m.CommandResult: "result_id",
    m.Proposal: "proposal_id",
    m.Receipt: "receipt_id",
    m.TagCondition: "condition_id",
}


class Found(NamedTuple):
    """A message that has the id, or is the first one that names it."""

    topic: str
    message: Any


def topics_of(wanted: str) -> tuple[str, ...]:
    """Return the topics on which the id may be, the likeliest first."""
    return TOPICS.get(wanted.partition("-")[0], EVERYWHERE)


def day_of(wanted: str) -> int | None:
    """Return the beginning of the day in an id, in milliseconds; None if it names none.

    >>> day_of("rb-20251119-5f2c8a90d1e7"), day_of("cmd-17"), day_of("rb-20259999-0")
    (1763510400000, None, None)
    """
    found = re.match(r"[a-z]+-([0-9]{4})([0-9]{2})([0-9]{2})-", wanted)
    try:
        return None if found is None else from_text(f"{found[1]}-{found[2]}-{found[3]}T00:00:00Z")
    except ValueError:
        return None


def id_of(message: Any) -> str:
    """Return the id of a fact, a proposal or a command."""
    name = _OWN.get(type(message), "command_id")
    return str(getattr(message, name))


def ids_in(message: Any) -> Iterator[str]:
    """Yield the ids under which people may ask for a message, its own first.

    A rollout and an incident have an id, but no message of their own; a result answers for its command.
    """
    yield id_of(message)
    if isinstance(message, m.RolloutStep):
        yield message.rollout_id
    elif isinstance(message, m.CommandResult):
        yield message.command_id
    elif isinstance(message, m.Alert) and message.cause_id.partition("-")[0] in {"st", "cc", "gr"}:
        yield message.cause_id
