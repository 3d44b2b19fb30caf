"""Reads and sets the fleet's policy, which comes from the log and so is the same for every reader.

The policy in force is the last ``SetPolicy`` on ``crl.commands`` that was not refused.  Commands are kept for a year;
the partition rows of the monitor's changelog keep the policy for as long as the state exists.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from time import time_ns
from typing import Any, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.core.policy import PolicySet
from crl_stream.core.policy_difference import Difference, policy_differences
from crl_stream.kafka.partition_rows import read_last_partition_rows
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.settings import Settings
from crl_stream.settings.model import Kafka
from crl_stream.stages.partition import PartitionRow
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, POLICY_KEY, Topics


class Ordered(NamedTuple):
    """A policy that was set by a command, with the position of that command."""

    policies: PolicySet
    actor: str
    reason: str
    time: int
    """When the broker stored the command, in milliseconds since the epoch."""
    offset: int
    """The command's offset in ``crl.commands``, partition ``policy_home``."""


class FleetPolicy(NamedTuple):
    """The fleet's policy, as far as Kafka still has it."""

    ordered: Ordered | None
    """The policy of the last command; None if no command is left on the topic."""
    rows: dict[int, PartitionRow]
    """The partition row of each partition of the log; partitions that were never folded are missing."""
    home: int

    @property
    def exists(self) -> bool:
        """Whether the fleet has a policy. If the log was folded before one was set, the guide's policy is in force."""
        return self.ordered is not None or any(row.next_offset or row.has_policy for row in self.rows.values())

    @property
    def pending(self) -> list[int]:
        """Partitions that have not folded the last command yet."""
        ordered = self.ordered
        if ordered is None:
            return []
        return [p for p, row in self.rows.items() if row.commanded.get(self.home, -1) < ordered.offset]

    @property
    def policies(self) -> PolicySet:
        """The policy in force, or the one that takes effect as soon as a worker reads the last command."""
        if self.ordered is not None:
            return self.ordered.policies
        return max(self.rows.values(), key=lambda row: row.policy_time, default=PartitionRow()).policies

    @property
    def actor(self) -> str:
        """Who set the policy in force; empty when unknown."""
        if self.ordered is not None:
            return self.ordered.actor
        return max((row.policy_actor for row in self.rows.values()), default="")

    @property
    def time(self) -> int:
        """When the policy was set, in milliseconds since the epoch; 0 when unknown."""
        if self.ordered is not None:
            return self.ordered.time
        return max((row.policy_time for row in self.rows.values()), default=0)


def policy_home(kafka: Kafka) -> int:
    """Return the partition of ``crl.commands`` that holds the policies."""
    return partition_of(POLICY_KEY, kafka.partitions)


async def read_fleet_policy(settings: Settings, access: Access | None = None, *, with_rows: bool = True) -> FleetPolicy:
    """Read the fleet's policy from the log.

    ``with_rows`` reads the monitor's state too; without it, the state is read only if no command is left.  ``access``
    defaults to the connection of ``settings``.
    """
    home = policy_home(settings.kafka)
    async with KafkaSession.of(access or settings.kafka) as session:
        ordered = last_ordered(await TopicReader(session).read(COMMANDS, home))
        rows = await read_last_partition_rows(settings, session) if with_rows or ordered is None else {}
    return FleetPolicy(ordered, rows, home)


def last_ordered(received: Iterable[Any]) -> Ordered | None:
    """Return the last policy set by ``received``, the records of partition ``policy_home`` of ``crl.commands``."""
    last: Ordered | None = None
    for one in received:
        command, record = one.message, one.record
        if isinstance(command, m.SetPolicy) and not (command.if_none and last is not None):
            last = Ordered(command.policy, command.actor, command.reason, record.timestamp, record.offset)
    return last


def encode_policy(command: m.SetPolicy) -> bytes:
    """Encode the command with only those policy settings that differ from the guide's, including in overrides."""
    fields = msgspec.to_builtins(command)
    fields["policy"] = msgspec.Raw(command.policy.canonical())
    return encode(fields)


async def send_policy(
    access: Access, policies: PolicySet, *, actor: str, reason: str, if_none: bool = False
) -> Ordered:
    """Write ``SetPolicy`` to ``crl.commands`` and return once the broker has stored it.

    With ``if_none`` the command is refused if a policy was set before.  Raises ``Unavailable`` if Kafka does not accept
    the record.
    """
    command = m.SetPolicy(
        schema_version=m.SCHEMA_VERSION,
        command_id=f"policy-{policies.digest()}-{uuid.uuid4().hex[:12]}",
        timestamp=to_text(time_ns() // 1_000_000),
        actor=actor,
        reason=reason,
        policy=policies,
        policy_hash=policies.digest(),
        if_none=if_none,
    )
    session = KafkaSession.of(access)
    kafka = session.kafka
    async with session.producing() as producer:
        written = await producer.send_and_wait(
            Topics(kafka.topic_prefix)(COMMANDS), encode_policy(command), key=POLICY_KEY, partition=policy_home(kafka)
        )
    return Ordered(policies, actor, reason, written.timestamp, written.offset)


def set_by(actor: str, time: int) -> str:
    """Return text such as `` set by ada on 2026-11-27``, as far as actor and time are known."""
    return (f" set by {actor}" if actor else "") + (f" on {to_text(time)[:16].replace('T', ' ')} UTC" if time else "")


def differences_of(settings: Settings, in_force: PolicySet) -> list[Difference]:
    """Return the policy settings that differ between ``settings`` and the policy in force."""
    return policy_differences(in_force, settings.policies)


def difference_line(policies: PolicySet, actor: str, time: int, differences: int) -> str:
    """Return the line that a process logs if its settings differ from the policy in force."""
    settings = "1 setting" if differences == 1 else f"{differences} settings"
    return (
        f"policy {policies.digest()} is in force,{set_by(actor, time) or ' according to the log'}; "
        f"the settings of this process differ from it in {settings}: see `crl policy diff`."
    )
