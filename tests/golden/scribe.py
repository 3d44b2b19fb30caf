"""Writes the hour: a driver that keeps every record of the log and of the commands as it is appended.

It uses no real clock, and only seeded random numbers.  It also keeps the latest records of some topics, because later
records name rollbacks and proposals from earlier ones.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

from crl_stream.core import messages as m
from crl_stream.settings import load_remedies
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, INVOCATIONS, ROLLBACKS

from .fold import PARTITIONS, START
from .storage import REMEDIES, ROWS, Input

SEED = 20_251_119
TICK = 200
"""Milliseconds between two records."""
STATUS = {"S": "success", "F": "failure", "E": "error", "X": "success"}
"""The status for each letter; ``X`` is a success during which an error occurred."""


def instant(milliseconds: int) -> str:
    """Format milliseconds as RFC 3339 in UTC."""
    text = datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Scribe(TopologyDriver):
    """A driver that keeps every appended record."""

    def __init__(self) -> None:
        super().__init__(partitions=PARTITIONS, start=START, tick=TICK, remedies=load_remedies(REMEDIES))
        self.inputs: list[Input] = []
        self.chance = Random(SEED)
        self.numbers = count(1)
        self.last: dict[tuple[str, bytes], Any] = {}
        """The latest record by topic and task."""

    def append(self, topic: str, value: bytes | None, key: bytes | None, **given: Any) -> Stored:
        """Append a record to a topic; only input records advance the clock."""
        if topic not in (INVOCATIONS, COMMANDS):
            if topic in (ACTIVE_VARIANTS, ROLLBACKS):
                assert key is not None
                assert value is not None
                self.last[topic, key] = json.loads(value)
            return super().append(topic, value, key, **given | {"timestamp": self.clock})
        if given.get("partition") is None:
            given["partition"] = partition_of(key or b"", self.partitions)
        record = super().append(topic, value, key, **given)
        self.clock = max(self.clock, record.timestamp)
        self.inputs.append(Input(topic, given["partition"], *record))
        return record

    def put_row(self, key: bytes, value: bytes) -> None:
        """Begin with a row that an older engine, or a fault, has left in the changelog."""
        partition = partition_of(key, self.partitions)
        self.inputs.append(Input(ROWS, partition, -1, 0, key, value, ()))
        self.changelog[partition][key] = value

    def stray(
        self, value: bytes | None, key: bytes | None = b"a/b", *, topic: str = INVOCATIONS, **given: Any
    ) -> Stored:
        """Append arbitrary bytes; bytes on the topic of commands are processed with the next message."""
        record = self.append(topic, value, key, **given)
        self.pipe()
        return record

    def task(self, agent_name: str, task_type: str) -> Task:
        """Return a task for which records can be written."""
        return Task(self, agent_name, task_type)

    def command(self, kind: Any, **fields: Any) -> Any:
        """Build a command of ``kind`` with all required fields."""
        given = {
            "schema_version": 1,
            "command_id": f"cmd-{next(self.numbers)}",
            "timestamp": instant(self.clock),
            "actor": "ada",
            "reason": "asked for",
        }
        return kind(**(given | fields))

    def order(self, kind: Any, **fields: Any) -> Any:
        """Send a command for all tasks."""
        command = self.command(kind, **fields)
        self.pipe(command)
        return command

    def pick(self, *choices: Any) -> Any:
        """Return one of the choices; only ``Random.random`` gives the same numbers in every Python version."""
        return choices[int(self.chance.random() * len(choices))]


class Task:
    """One task of the hour."""

    def __init__(self, scribe: Scribe, agent_name: str, task_type: str) -> None:
        self.scribe, self.names = scribe, {"agent_name": agent_name, "task_type": task_type}
        self.key = f"{agent_name}/{task_type}".encode()

    @property
    def epoch(self) -> int:
        """The epoch of the task's active variant now."""
        active = self.scribe.last.get((ACTIVE_VARIANTS, self.key))
        return 0 if active is None else int(active["epoch"])

    @property
    def active(self) -> str:
        """The task's active variant now; ``a`` before there is one."""
        active = self.scribe.last.get((ACTIVE_VARIANTS, self.key))
        return "a" if active is None else str(active["variant_id"])

    def outcome(self, variant_id: str = "default", status: str = "success", **fields: Any) -> m.Invocation:
        """Build an invocation without sending it."""
        given = {
            "schema_version": 1,
            "invocation_id": f"inv-{next(self.scribe.numbers)}",
            "timestamp": instant(self.scribe.clock),
            "variant_id": variant_id,
            "status": status,
        }
        return m.Invocation(**(given | self.names | fields))

    def send(self, variant_id: str = "default", status: str = "success", **fields: Any) -> str:
        """Send one invocation; return its id."""
        outcome = self.outcome(variant_id, status, **fields)
        self.scribe.pipe(outcome)
        return outcome.invocation_id

    def run(self, variant_id: str, letters: str, **fields: Any) -> list[str]:
        """Send an invocation for each letter, in the current epoch unless another is given; return their ids."""
        given: dict[str, Any] = {"active_epoch": self.epoch or None}
        found = []
        for letter in letters:
            errors = {"error_count": 1} if letter in "EX" else {}
            found.append(self.send(variant_id, STATUS[letter], **(given | errors | fields)))
        return found

    def explore(self, variant_id: str, letters: str, **fields: Any) -> list[str]:
        """Send an invocation for each letter, as ``run`` does, with a variant that is explored."""
        return self.run(variant_id, letters, **({"variant_source": "explore"} | fields))

    def order(self, kind: Any, **fields: Any) -> Any:
        """Send a command for the task."""
        return self.scribe.order(kind, **(self.names | fields))

    def score(self, invocation_id: str, feedback_id: str | None = None, **fields: Any) -> None:
        """Send a late score."""
        score = m.Feedback(
            schema_version=1,
            feedback_id=feedback_id or f"fb-{next(self.scribe.numbers)}",
            timestamp=instant(self.scribe.clock),
            invocation_id=invocation_id,
            **(self.names | fields),
        )
        self.scribe.pipe(score)

    def misplace(self, message: Any, **given: Any) -> None:
        """Append a message to a partition to which the task does not belong."""
        home = partition_of(self.key, self.scribe.partitions)
        partition = (home + 1) % self.scribe.partitions
        self.scribe.stray(encode(message), self.key, **({"partition": partition} | given))

    @property
    def last_rollback(self) -> str:
        """The id of the latest rollback that happened or, in shadow mode, would have happened."""
        rollback = self.scribe.last.get((ROLLBACKS, self.key))
        return "rb-none" if rollback is None else str(rollback["rollback_id"])

    def proposals(self, status: str = "pending") -> list[m.Proposal]:
        """Return the task's proposals with this status."""
        return [found for found in self.scribe.proposals() if found.status == status and self._is_of(found)]

    def review(self, kind: Any, proposal: m.Proposal, **fields: Any) -> None:
        """Review a proposal; an approval carries the proposal's change."""
        if kind is m.ApproveProposal:
            fields = {"change": proposal.change, "valid_until": proposal.expires_at} | fields
        self.order(kind, **({"proposal_id": proposal.proposal_id, "expected_epoch": proposal.epoch} | fields))

    def _is_of(self, message: Any) -> bool:
        return {"agent_name": message.agent_name, "task_type": message.task_type} == self.names
