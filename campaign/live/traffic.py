"""Drafts what the agents, runtimes and people of a round send, one record after another; the seed determines all."""

from __future__ import annotations

import random
from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import AutoApply, Degradation, Operations, Policy, PolicySet
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, MESSAGES, POLICY_KEY

TASKS: Final = 50
VARIANTS: Final = ("default", "v2", "v3", "v4")
RECENT: Final = 12
"""Number of a task's latest ids that may be repeated.

It is smaller than the number that a task remembers, because misplaced records may change the order.
"""
POISON, REPEATED, MISPLACED, SCORES, ORDERS = 0.02, 0.05, 0.02, 0.08, 0.04
"""The share of each of these kinds among all records."""
WORSE_EVERY: Final = 1_500
"""Number of records after which the set of bad variants changes."""

OUTCOME: Final = "outcome"
REPEAT: Final = "repeat"
FEEDBACK: Final = "feedback"
COMMAND: Final = "command"
POLICY: Final = "policy"
RUBBISH: Final = "poison"

BAD_VALUES: Final[tuple[bytes | None, ...]] = (
    b"{broken",
    b"\xff\xfe\x00",
    b"",
    b"[]",
    b"null",
    b'{"type":"invocation"}',
    b'{"reward":NaN}',
    b"[" * 10_000,
    None,
)
"""Values that are not messages, whatever their key."""


class Draft(NamedTuple):
    """A record to be sent."""

    what: str
    topic: str
    key: bytes | None
    value: bytes | None
    task: str = ""
    """The task that the record is about, as ``agent/task``."""
    id: str = ""
    """Id of the invocation or the command."""
    partition: int | None = None
    """The partition to send to; None means the one that the key maps to."""
    headers: tuple[tuple[str, bytes], ...] = ()


class Traffic:
    """An endless series of drafts."""

    def __init__(self, rng: random.Random, partitions: int, *, tasks: int = TASKS) -> None:
        self.rng, self.partitions = rng, partitions
        self.tasks = [TaskKey(f"agent-{number % 7}", f"task-{number}") for number in range(tasks)]
        self._recent: dict[TaskKey, deque[m.Invocation]] = {key: deque(maxlen=RECENT) for key in self.tasks}
        self._numbers = count(1)
        self._drafted = 0
        self._clock = datetime.now(UTC)

    def draft(self) -> Draft:
        """Return the next record to send."""
        self._drafted += 1
        self._clock += timedelta(milliseconds=20)
        rng = self.rng
        task = rng.choice(self.tasks)
        roll = rng.random()
        for share, make in (
            (POISON, self.poison),
            (REPEATED, self.repeat),
            (SCORES, self.feedback),
            (ORDERS, self.order),
        ):
            if roll < share:
                return make(task)
            roll -= share
        return self.outcome(task)

    def task_in(self, partitions: set[int]) -> TaskKey:
        """Return one of the tasks in these partitions, or any task if there is none in them."""
        there = [key for key in self.tasks if partition_of(key.encode(), self.partitions) in partitions]
        return self.rng.choice(there or self.tasks)

    # -- outcomes and scores -----------------------------------------------------------------------
    def outcome(self, task: TaskKey) -> Draft:
        """Return one finished invocation with a new id."""
        message = self._invocation(task)
        draft = self._record(OUTCOME, task, encode(message), message.invocation_id)
        # A misplaced outcome may be forwarded so late that its id is already forgotten when it is repeated.
        if draft.partition is None:
            self._recent[task].append(message)
        return draft

    def _invocation(self, task: TaskKey) -> m.Invocation:
        rng = self.rng
        variant = rng.choice(VARIANTS)
        # Every variant is bad at times, so that variants keep degrading, being rolled back and recovering.
        bad = (self._drafted // WORSE_EVERY + VARIANTS.index(variant)) % 3 == 0
        success = rng.random() < (0.25 if bad else 0.95)
        return m.Invocation(
            schema_version=1,
            invocation_id=f"i{next(self._numbers)}",
            timestamp=self._at(rng.choice((0, 0, 0, -86_400, 86_400))),
            agent_name=task.agent_name,
            task_type=task.task_type,
            variant_id=variant,
            status="success" if success else rng.choice(("failure", "error")),
            reward=rng.choice((None, None, round(rng.uniform(-1, 1), 3))),
            quality=rng.choice((None, round(rng.random(), 3))),
            duration_seconds=rng.choice((None, round(rng.uniform(0, 900), 1))),
            active_epoch=rng.choice((None, None, None, 1, 2, 5)),
            runtime_id=rng.choice((None, "r1", "r2")),
            variant_source=rng.choice((None, None, "explore")),
            role=rng.choice((None, None, None, None, None, "shadow")),
        )

    def repeat(self, task: TaskKey) -> Draft:
        """Return an earlier outcome again, sometimes with a different variant."""
        if not self._recent[task]:
            return self.outcome(task)
        again = self.rng.choice(self._recent[task])
        if self.rng.random() < 0.3:
            again = msgspec.structs.replace(again, variant_id=self.rng.choice(VARIANTS))
        return self._record(REPEAT, task, encode(again), again.invocation_id)._replace(partition=None)

    def feedback(self, task: TaskKey) -> Draft:
        """Return a late score for a recent outcome, which may have one already, or for an outcome not sent yet."""
        rng, recent = self.rng, self._recent[task]
        known = rng.choice(recent).invocation_id if recent and rng.random() < 0.9 else f"i{self._drafted + 40}"
        message = m.Feedback(
            schema_version=1,
            feedback_id=f"f{next(self._numbers)}",
            timestamp=self._at(0),
            agent_name=task.agent_name,
            task_type=task.task_type,
            invocation_id=known,
            reward=round(rng.uniform(-1, 1), 3),
            quality=rng.choice((None, round(rng.random(), 3))),
        )
        return self._record(FEEDBACK, task, encode(message), message.feedback_id)

    # -- orders ------------------------------------------------------------------------------------
    def order(self, task: TaskKey) -> Draft:
        """Return a command of any kind, or a new policy."""
        return self.policy() if self.rng.random() < 0.05 else self.command(task)

    def command(self, task: TaskKey) -> Draft:
        """Return a command for a task.  Many are refused, which is a valid result too."""
        rng = self.rng
        kind: Any = rng.choice(_COMMANDS)
        fields = self._common() | {"agent_name": task.agent_name, "task_type": task.task_type}
        if rng.random() < 0.2:
            fields["expected_epoch"] = rng.randint(0, 6)
        names = kind.__struct_fields__
        if "variant_id" in names and kind is not m.PinVariant:
            fields["variant_id"] = rng.choice(VARIANTS)
        if "proposal_id" in names:
            fields["proposal_id"] = "p-1"
        if kind is m.ConfirmRollback:
            fields["rollback_id"] = "rb-1"
        if kind is m.ApproveProposal:
            fields["change"] = {"action": "activate", "variant_id": rng.choice(VARIANTS)}
        if kind is m.ProposeVariant:
            fields |= {"variant_id": f"c{rng.randint(1, 6)}", "source": "gepa@1", "configuration": {"n": rng.random()}}
        if "hours" in names:
            fields["hours"] = rng.choice((0.001, 0.002, 1.0))
        message = msgspec.convert(fields | {"type": kind.__name__}, kind)
        return Draft(COMMAND, COMMANDS, task.encode(), encode(message), str(task.encode(), "utf-8"), message.command_id)

    def policy(self) -> Draft:
        """Return a new policy for all tasks.  The window size never changes, so the oracle can count windows itself."""
        rng = self.rng
        policies = PolicySet(
            default=Policy(
                degradation=Degradation(
                    success_drop=rng.choice((0.1, 0.2, 0.3)), guard=rng.choice(("none", "evidence"))
                ),
                auto_apply=AutoApply(min_samples=rng.choice((5, 10, 20))),
                operations=Operations(
                    exploration=rng.choice((0.0, 0.05, 0.1)),
                    mode=rng.choice(("enforce", "enforce", "shadow", "observe")),
                ),
            )
        )
        message = m.SetPolicy(policy=policies, policy_hash=policies.digest(), **self._common())
        return Draft(POLICY, COMMANDS, POLICY_KEY, encode(message), "", message.command_id)

    def poison(self, task: TaskKey) -> Draft:
        """Return bytes that are not a message, or a message with a wrong key or no key."""
        rng = self.rng
        topic = COMMANDS if rng.random() < 0.1 else INVOCATIONS
        if topic == INVOCATIONS and rng.random() < 0.3:
            bad = encode(self._invocation(task))
            return Draft(RUBBISH, topic, rng.choice((None, b"nobody/nothing")), bad, partition=self._any())
        bad_value = rng.choice(BAD_VALUES)
        key = task.encode() if bad_value is None else rng.choice((None, task.encode()))
        return Draft(RUBBISH, topic, key, bad_value, partition=self._any())

    # -- small things ------------------------------------------------------------------------------
    def _record(self, what: str, task: TaskKey, value: bytes, name: str) -> Draft:
        partition = self._any() if self.rng.random() < MISPLACED else None
        return Draft(what, INVOCATIONS, task.encode(), value, str(task.encode(), "utf-8"), name, partition)

    def _any(self) -> int:
        return self.rng.randrange(self.partitions)

    def _at(self, seconds: int) -> str:
        return (self._clock + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _common(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "command_id": f"c{next(self._numbers)}",
            "timestamp": self._at(0),
            "actor": self.rng.choice(("ada", "bob")),
            "reason": "the campaign",
        }


_COMMANDS: Final = tuple(kind for kind in MESSAGES[COMMANDS] if issubclass(kind, m.TaskCommand))
