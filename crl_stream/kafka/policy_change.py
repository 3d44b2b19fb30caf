"""Changes a part of the fleet's policy without losing what others change at the same time.

A policy is one document, so a change reads, edits and writes all of it. All policies are in one partition of
``crl.commands``. After writing, the partition shows whether another policy came in between; if so, the change is
repeated on top of that policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from crl_stream.core.policy import PolicySet
from crl_stream.core.policy_size import too_large
from crl_stream.errors import Unavailable, UsageError
from crl_stream.kafka.fleet_policy import FleetPolicy, Ordered, last_ordered, read_fleet_policy, send_policy
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import Settings
from crl_stream.wire.topics import COMMANDS

TRIES: Final = 5
"""How many times a change is tried again because another policy came in between."""


class Changed(NamedTuple):
    """The result of a change to the fleet's policy."""

    before: FleetPolicy
    """The fleet's policy before the change, as it was first read."""
    policies: PolicySet
    sent: Ordered | None
    """The command that was written; None if the policy needed no change."""


async def change_policy(
    settings: Settings, session: KafkaSession, change: Callable[[PolicySet], PolicySet], *, actor: str, reason: str
) -> Changed:
    """Apply ``change`` to the fleet's policy and write the result, for ``actor`` (a name) and ``reason`` (a sentence).

    Raises ``UsageError`` if the result is too large for a record, and ``Unavailable`` if Kafka does not accept it or
    others keep changing the policy.
    """
    before = await read_fleet_policy(settings, session)
    base, policies = before.ordered, before.policies
    for _ in range(TRIES):
        wanted = change(policies)
        if wanted == policies:
            return Changed(before, policies, None)
        if (why := too_large(wanted)) is not None:
            raise UsageError(
                f"The policy would be too large: {why}.", hint="remove overrides that are no longer needed"
            )
        sent = await send_policy(session, wanted, actor=actor, reason=reason)
        earlier = [r for r in await TopicReader(session).read(COMMANDS, before.home) if r.record.offset < sent.offset]
        between = last_ordered(earlier)
        if between is None or (base is not None and between.offset <= base.offset):
            return Changed(before, wanted, sent)
        # The policy ``between`` came after the fleet's policy was read, and has been overwritten: start over from it.
        base, policies = sent, between.policies
    raise Unavailable(
        f"Others changed the policy {TRIES} times in the meantime.", hint="see crl policy show, then try again"
    )
