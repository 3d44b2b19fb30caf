"""Everything that the topics say about one task, each fact once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.explaining.ids import id_of, ids_in
from crl_stream.wire.topics import ALERTS, COMMANDS, DECISIONS, DEGRADATIONS, PROPOSALS, RECEIPTS, ROLLBACKS, TASKS

TOPICS: Final = (COMMANDS, DEGRADATIONS, ROLLBACKS, DECISIONS, ALERTS, PROPOSALS, RECEIPTS, TASKS)
"""The topics of a story, in the order in which they must be taken: commands come before their results."""
OF_THE_FLEET: Final = (COMMANDS, DECISIONS, ALERTS)
"""The topics of a story about no task."""


class Story:
    """The facts, commands, proposals and receipts of one task.

    After a crash a fact may be on its topic twice, with the same id and bytes; it counts once.
    """

    def __init__(self, key: TaskKey | None, wanted: str = "") -> None:
        self.key, self.wanted = key, wanted
        """``key`` is None if what is explained is about no task; only what names ``wanted`` is kept then."""
        self.facts: dict[str, tuple[str, Any]] = {}
        """Topic and message by id: facts, commands, and proposals in their latest revision."""
        self.receipts: dict[str, m.Receipt] = {}
        self.snapshot: m.TaskSnapshot | None = None
        """The newest snapshot of the task."""
        self.refused: set[str] = set()
        """Ids of the policy commands that were refused in the task's partition."""

    def take(self, topic: str, message: Any) -> None:
        """Take one message into account, if it is about the task."""
        if message is None:
            return
        if self.key is None:
            is_end = isinstance(message, m.ResumeAll)  # it ends the hold of the fleet without naming it
            if getattr(message, "agent_name", None) is None and (is_end or self._names_it(message)):
                self.facts[id_of(message)] = topic, message
            return
        if isinstance(message, m.CommandResult) and message.command == "SetPolicy" and message.outcome == "refused":
            self.refused.add(message.command_id)
        if (getattr(message, "agent_name", None), getattr(message, "task_type", None)) != self.key:
            return
        if isinstance(message, m.TaskSnapshot):
            known = self.snapshot
            if known is None or (known.incarnation, known.as_of.offset) <= (message.incarnation, message.as_of.offset):
                self.snapshot = message
        elif isinstance(message, m.Receipt):
            self.receipts[message.receipt_id] = message
        elif isinstance(message, m.Proposal):
            known_revision = self.facts.get(message.proposal_id)
            if known_revision is None or message.revision >= known_revision[1].revision:
                self.facts[message.proposal_id] = topic, message
        else:
            self.facts[id_of(message)] = topic, message

    def _names_it(self, message: Any) -> bool:
        return self.wanted in {*ids_in(message), getattr(message, "cause_id", None)}

    def get(self, name: str) -> Any | None:
        """Return the fact, command or proposal with this id, or the first one that names it."""
        if name in self.facts:
            return self.facts[name][1]
        return next((message for _, message in self.facts.values() if name in ids_in(message)), None)

    def each(self, kind: type) -> Iterator[Any]:
        """Yield all messages of a kind, in the order in which they were taken."""
        return (message for _, message in self.facts.values() if isinstance(message, kind))

    @property
    def epoch(self) -> int:
        """The task's latest epoch."""
        told = [0 if self.snapshot is None else self.snapshot.epoch]
        told += [one.epoch for _, one in self.facts.values() if isinstance(one, m.Activation) and one.enforced]
        told += [one.epoch for _, one in self.facts.values() if isinstance(one, m.RollbackEvent) and one.enforced]
        return max(told)
