"""Carries out the approval of a proposal to enforce rollbacks: changes the mode of one task in the fleet's policy."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from crl_stream.cli.policy import became, follow_policy
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import PolicySet
from crl_stream.errors import CrlError, Unavailable
from crl_stream.kafka.policy_change import change_policy
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import Settings


class Enforced(NamedTuple):
    """The policy under which the task's rollbacks are enforced."""

    digest: str
    actor: str
    pending: list[int] | None
    """Partitions that have not applied the policy yet; None if no worker has ever run."""
    words: str

    def as_json(self) -> dict[str, Any]:
        """Return the policy's hash and state as a JSON object."""
        return {"in_force": self.digest, "set_by": self.actor, "pending": self.pending}


def enforced(policies: PolicySet, key: TaskKey) -> PolicySet:
    """Return the policies with an override for the task: its present policy, in the mode ``enforce``."""
    own = policies.for_task(key)
    if own.operations.mode == "enforce":
        return policies
    mode = msgspec.structs.replace(own.operations, mode="enforce")
    tasks = policies.tasks | {str(key): msgspec.structs.replace(own, operations=mode)}
    return msgspec.structs.replace(policies, tasks=tasks)


async def enforce(settings: Settings, session: KafkaSession, key: TaskKey, *, actor: str, reason: str) -> Enforced:
    """Set the task's mode to ``enforce`` as ``crl policy apply`` does; if that fails after approval, say what to do."""
    try:
        done = await change_policy(settings, session, lambda now: enforced(now, key), actor=actor, reason=reason)
        if done.sent is None:
            return Enforced(done.policies.digest(), actor, [], "the policy already enforces them")
        pending = await follow_policy(settings, session, done.before, done.sent)
    except CrlError as error:
        raise Unavailable(
            f"The proposal is approved, but the policy could not be changed: {error.message}",
            hint=f'set operations.mode = "enforce" for {key} in crl.toml, then run crl policy apply',
        ) from error
    return Enforced(done.policies.digest(), actor, pending, became(done.before, pending))
