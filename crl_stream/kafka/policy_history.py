"""Finds the policy with a given hash: facts and snapshots carry only the hash, ``crl.commands`` the policy itself."""

from __future__ import annotations

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


async def find_policies(access: Access, digest: str) -> PolicySet | None:
    """Return the policy set with this hash; None if it is no longer on ``crl.commands``."""
    reader = TopicReader(access)
    home = partition_of(POLICY_KEY, reader.kafka.partitions)
    found: PolicySet | None = None
    async for received in reader.each(COMMANDS, home):
        if isinstance(received.message, SetPolicy) and received.message.policy.digest() == digest:
            found = received.message.policy
    return found
