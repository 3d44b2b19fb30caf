"""A fleet of runtimes that follows the weights of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from builders import an_invocation

from crl_stream.core import messages as m
from crl_stream.core.policy import Policy, Rollout
from crl_stream.wire.weights import variant_of

from .task import Task, proven

CANDIDATE = "v9"
STAGED = Policy(rollout=Rollout(stages=(0.05, 0.25, 0.5)))


def registered(policy: Policy | None = None, **others: str) -> Task:
    """Build a task with a proven ``default`` and a candidate that has no outcomes."""
    task = proven(policy, **others)
    task.order(m.RegisterVariant, variant_id=CANDIDATE)
    return task


def rolling(policy: Policy | None = None, **fields: Any) -> Task:
    """Build a task with a rollout that has just begun."""
    task = registered(policy)
    result = task.order(m.StartRollout, variant_id=CANDIDATE, **fields)
    assert result.outcome == "applied", result.detail
    return task


def work(
    task: Task, outcomes: int, seed: int = 1, until: Callable[[], bool] = lambda: False, **rates: float
) -> list[Any]:
    """Let a runtime finish this many invocations, or fewer if the rollout ends or ``until`` holds; return the facts.

    ``rates`` are success rates by variant, 1 by default.
    """
    luck, facts = Random(f"luck {seed}"), list[Any]()
    for number in range(outcomes):
        active = task.stated(m.ActiveVariant)[-1]
        if task.row.rollout is None or until():
            break
        name = f"w{seed}-{task.row.n}-{number}"
        variant = variant_of(active.weights or {}, active.variant_id, name)
        facts += task.take(
            an_invocation(
                variant,
                "success" if luck.random() < rates.get(variant, 1.0) else "failure",
                invocation_id=name,
                active_epoch=active.epoch,
                variant_source="live" if variant == active.variant_id else "explore",
                runtime_id="r1",
            )
        )
    return facts


def steps(task: Task) -> list[str]:
    """Return the steps of all rollouts so far."""
    return [step.step for step in task.stated(m.RolloutStep)]
