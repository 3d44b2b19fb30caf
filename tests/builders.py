"""Builders of messages for tests.  They fill in every field that a test does not set."""

from __future__ import annotations

from itertools import count
from typing import Any

from crl_stream.core import messages as m
from crl_stream.core.policy import PolicySet

_numbers = count(1)
AT = "2025-11-19T14:30:00Z"
AGENT, TASK = "backend-architect", "api-design"


def an_invocation(variant_id: str = "default", status: str = "success", **fields: Any) -> m.Invocation:
    """Build one finished invocation of the guide's agent, with a fresh id unless one is given."""
    given = {
        "schema_version": 1,
        "invocation_id": f"inv-{next(_numbers)}",
        "timestamp": AT,
        "agent_name": AGENT,
        "task_type": TASK,
        "variant_id": variant_id,
        "status": status,
    }
    return m.Invocation(**(given | fields))


def invocations(variant_id: str, outcomes: str, **fields: Any) -> list[m.Invocation]:
    """Build one invocation per character: ``S`` success, ``F`` failure, ``E`` error."""
    status = {"S": "success", "F": "failure", "E": "error"}
    return [an_invocation(variant_id, status[outcome], **fields) for outcome in outcomes]


def a_command(kind: type, **fields: Any) -> Any:
    """Build a command of ``kind`` for the guide's task."""
    given: dict[str, Any] = {
        "schema_version": 1,
        "command_id": f"cmd-{next(_numbers)}",
        "timestamp": AT,
        "actor": "ada",
        "reason": "a test asked for it",
    }
    if issubclass(kind, m.TaskCommand):
        given |= {"agent_name": AGENT, "task_type": TASK}
    return kind(**(given | fields))


def a_policy(policies: PolicySet) -> m.SetPolicy:
    """Build the command that applies ``policies``."""
    return a_command(m.SetPolicy, policy=policies, policy_hash=policies.digest())


def a_collapse(good: str = "default", bad: str = "api-optimized") -> list[Any]:
    """Build a story of two proven variants: ``bad`` is activated by hand, then fails until it must be rolled back."""
    return [
        *invocations(good, "S" * 30),
        *invocations(bad, "S" * 30, variant_source="explore"),
        a_command(m.ActivateVariant, variant_id=bad),
        *invocations(bad, "S" * 10, active_epoch=2),
        *invocations(bad, "F" * 12, active_epoch=2),
    ]
