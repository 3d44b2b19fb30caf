"""How large a policy may be, and the tasks under it, so that no setting makes a record that its topic does not take.

A snapshot has every variant with its window, and the results of the last reviews.  It is one record, and so is the row
of the task.  What names and texts can add to them is bounded where they are accepted; what is left are the limits of
the policy, and they are bounded here, before the policy comes into force.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.policy import Policy, PolicySet

MAX_TASK: Final = 3_900_000
"""Bytes of a task's snapshot and of its row at most: what ``crl.tasks`` and the changelog take, less the envelope."""
MAX_POLICY: Final = 60_000
"""Bytes of the canonical text of a policy set: what ``SetPolicy`` has room for beside its other fields."""
_PER_OUTCOME: Final = 33
"""Offset, reward and three letters as JSON; a row takes 30."""
_PER_VARIANT: Final = 3_000
"""Its figures and sentences without its configuration."""
_PER_REVIEW: Final = 50_000
"""Actor, reason and detail of characters that JSON writes with six bytes each."""
_PER_RUNTIME: Final = 300
_OTHERWISE: Final = 700_000
"""The configurations of all variants (``core.registration.MAX_CONFIGURATIONS``), pin and holds."""


def task_bytes(policy: Policy) -> int:
    """Bytes that the snapshot or the row of a task takes at most under ``policy``."""
    limits = policy.limits
    variant = _PER_VARIANT + _PER_OUTCOME * policy.degradation.lookback_window
    return _OTHERWISE + limits.variants * variant + limits.reviews * _PER_REVIEW + limits.runtimes * _PER_RUNTIME


def too_large(policies: PolicySet) -> str | None:
    """Why no command or topic takes the set, or a task under it, with figures and limit; None when they do."""
    if (size := len(policies.canonical())) > MAX_POLICY:
        return (
            f"{len(policies.agents)} agents and {len(policies.tasks)} tasks with settings of their own make a policy "
            f"of {size:,} bytes; a command holds {MAX_POLICY:,}"
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
                f"{scope}limits.runtimes = {limits.runtimes} together allow a task of {size:,} bytes; "
                f"a record holds {MAX_TASK:,}"
            )
    return None
