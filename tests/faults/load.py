"""A load that does not stop: bursts of outcomes for many tasks, and commands among them."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

from builders import AT, a_command
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, POLICY_KEY

TASKS = 60
VARIANTS = ("default", "api-optimized", "api-cheap")


class Load:
    """Sends until it is cancelled; everything is acknowledged before ``stop`` returns."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self.installation, self.random = installation, random.Random(seed)
        self.keys = [TaskKey("agent", f"task-{number}") for number in range(TASKS)]
        self.sent = self.commands = 0
        self._numbers = itertools.count(1)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.installation.producer.flush()

    async def burst(self, size: int) -> None:
        """Many outcomes at once: more than a worker folds in the moment."""
        await asyncio.gather(*[await self._send_outcome() for _ in range(size)])

    async def _run(self) -> None:
        for turn in itertools.count():
            await asyncio.gather(*[await self._send_outcome() for _ in range(20)])
            if turn % 3 == 0:
                await self._send_command()
            await asyncio.sleep(0.02)

    async def _send_outcome(self) -> Any:
        key = self.random.choice(self.keys)
        variant = self.random.choice(VARIANTS)
        # Every variant has its bad times, so that windows degrade, roll back and recover all the while.
        bad = (self.sent // 4_000 + VARIANTS.index(variant)) % 3 == 0
        number = next(self._numbers)
        # One in fifty is a duplicate.
        invocation_id = f"inv-{number if self.random.random() > 0.02 else max(1, number - 1)}"
        message = m.Invocation(
            schema_version=1,
            invocation_id=invocation_id,
            timestamp=AT,
            agent_name=key.agent_name,
            task_type=key.task_type,
            variant_id=variant,
            status="failure" if self.random.random() < (0.8 if bad else 0.05) else "success",
            quality=round(self.random.random(), 3),
        )
        self.sent += 1
        home = partition_of(key.encode(), self.installation.kafka.partitions)
        # One in a hundred lands where it does not belong, one in two hundred is no message at all.
        if self.random.random() < 0.01:
            home = (home + 1) % self.installation.kafka.partitions
        value = encode(message) if self.random.random() > 0.005 else b"{broken"
        producer, topic = self.installation.producer, self.installation.names(INVOCATIONS)
        return await producer.send(topic, value, key=key.encode(), partition=home)

    async def _send_command(self) -> None:
        key = self.random.choice(self.keys)
        names = {"agent_name": key.agent_name, "task_type": key.task_type}
        kind: Any = self.random.choice(
            [m.PinVariant, m.UnpinVariant, m.HoldTask, m.ResumeTask, m.ActivateVariant, m.LiftQuarantine, m.SetPolicy]
        )
        if kind is m.SetPolicy:
            share = self.random.choice([0.0, 0.05, 0.1])
            policies = PolicySet(default=Policy(operations=Operations(exploration=share)))
            command = a_command(kind, policy=policies, policy_hash=policies.digest())
            record_key = POLICY_KEY
        else:
            if kind in {m.ActivateVariant, m.LiftQuarantine}:
                names["variant_id"] = self.random.choice(VARIANTS)
            command, record_key = a_command(kind, **names), key.encode()
        self.commands += 1
        await self.installation.send(encode(command), record_key, COMMANDS)
