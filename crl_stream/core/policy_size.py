"""Limits the size of a policy and of the tasks under it, so that no setting leads to a record too large for its topic.

A task's snapshot is one record that contains every variant with its window, and the results of the last reviews. The
task's row is one record too. Names and texts are limited where they are accepted. The settings of a policy are limited
here, before the policy comes into force.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.policy import Policy, PolicySet

MAX_TASK: Final = 3_900_000
"""Maximum bytes in a task's snapshot or row: what ``crl.tasks`` and the changelog accept, less the envelope."""
MAX_POLICY: Final = 60_000
"""Maximum bytes in a policy set's canonical text: the room that the other fields of ``SetPolicy`` leave."""
_PER_OUTCOME: Final = 33
"""Bytes of an outcome in a snapshot: offset, reward and three letters as JSON; in a row, an outcome takes 30."""
_PER_VARIANT: Final = 3_000
"""Bytes of a variant in a snapshot: figures and sentences, without its configuration."""
_PER_REVIEW: Final = 50_000
"""Bytes of a review: actor, reason and detail, if all characters take six bytes in JSON."""
_PER_RUNTIME: Final = 300
_OTHERWISE: Final = 700_000
"""Bytes for the pin, the holds and all configurations (``core.monitor.registration.MAX_CONFIGURATIONS``)."""
_FILED: Final = 100_000
"""Bytes for the proposals from outside: ``MAX_OPEN`` of at most ``MAX_FILED`` bytes (``core.monitor.filing``)."""


def task_bytes(policy: Policy) -> int:
    """Return the largest size in bytes of a task's snapshot or row under ``policy``."""
    limits = policy.limits
    variant = _PER_VARIANT + _PER_OUTCOME * policy.degradation.lookback_window
    return (
        _OTHERWISE + _FILED + limits.variants * variant + limits.reviews * _PER_REVIEW + limits.runtimes * _PER_RUNTIME
    )


def too_large(policies: PolicySet) -> str | None:
    """Return why the set or a task under it is too large, with figures and limit; None if it is not."""
    if (size := len(policies.canonical())) > MAX_POLICY:
        return (
            f"with overrides for {len(policies.agents)} agents and {len(policies.tasks)} tasks, the policy takes "
            f"{size:,} bytes; a command can hold {MAX_POLICY:,}"
        )
    scopes = {"": policies.default}
    scopes |= {f"agents.{name}.": policy for name, policy in policies.agents.items()}
    scopes |= {f'tasks."{name}".': policy for name, policy in policies.tasks.items()}
    for scope, policy in scopes.items():
        if (size := task_bytes(policy)) > MAX_TASK:
            limits = policy.limits
            return (
                f"{scope}limits.variants = {limits.variants}, {scope}degradation.lookback_window = "
                f"{policy.degradation.lookback_window}, {scope}limits.reviews = {limits.reviews} and "
                f"{scope}limits.runtimes = {limits.runtimes} together let a task grow to {size:,} bytes; "
                f"a record can hold {MAX_TASK:,}"
            )
    return None
