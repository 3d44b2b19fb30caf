"""Finds the policy with a given hash: facts and snapshots carry only the hash, ``crl.commands`` the policy itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from crl_stream.core.messages import SetPolicy
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.settings import Settings
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, POLICY_KEY


def known_policies(settings: Settings, digest: str) -> PolicySet | None:
    """Return the policy set with this hash if it is the guide's or that of ``settings``, without asking Kafka."""
    return next((known for known in (GUIDE, settings.policies) if known.digest() == digest), None)


class PolicyCommand(NamedTuple):
    """A command that set a policy."""

    command: SetPolicy
    stored: int
    """When the broker stored the command, in milliseconds since the epoch."""


async def find_policy(
    access: Access, digest: str, before: int, refused: Collection[str] = frozenset()
) -> PolicyCommand | None:
    """Return the command that put the policy with this hash into force; None if it is no longer on ``crl.commands``.

    It is the last one that was stored by ``before`` (milliseconds since the epoch), or if none was, the last of all.
    ``refused`` are the ids of commands that were refused.
    """
    reader = TopicReader(access)
    home = partition_of(POLICY_KEY, reader.kafka.partitions)
    by_then = found = None
    async for received in reader.each(COMMANDS, home):
        command = received.message
        if not isinstance(command, SetPolicy) or command.command_id in refused or command.policy.digest() != digest:
            continue
        found = PolicyCommand(command, received.record.timestamp)
        if found.stored <= before:
            by_then = found
    return by_then or found
