"""Guardrails: broken, kept again, accepted, and followed by a rollback or the end of a rollout."""

from __future__ import annotations

from crl_stream.core import messages as m

from .scribe import Scribe, Task


def costs(scribe: Scribe, agent: str) -> None:
    """Let a variant become dearer, and its replacement too."""
    task = scribe.task(agent, "dearer")
    _work(task, 70, 0.01)
    task.explore("b", "S" * 8, cost=0.01, tokens_input=90, session_id="s-1", trace_id="t-1")
    task.order(m.RegisterVariant, variant_id="c", configuration={"model": "m-1", "steps": [1, 2]}, ref="git:3f2a")
    task.order(m.RegisterVariant, variant_id="c", configuration={"model": "m-2"})
    _work(task, 40, 0.08)
    _work(task, 45, 0.01)
    _work(task, 40, 0.08)
    task.order(m.AcceptLevel)
    task.order(m.AcceptLevel)
    _work(task, 45, 0.08)
    task.order(m.StartRollout, variant_id="c")
    for number in range(14):
        task.explore("c", "S", cost=0.5 + number / 100)
        _work(task, 1, 0.08)


def _work(task: Task, outcomes: int, cost: float) -> None:
    for number in range(outcomes):
        task.run(
            task.active,
            "S",
            cost=cost * (0.8 + number % 5 / 10),
            tokens_input=1_000,
            tokens_output=number,
            metrics={"tool_calls": 3.0, "groundedness": 0.9},
            evaluator="judge@1",
        )


def judges(scribe: Scribe, agent: str) -> None:
    """Let a judge get new versions, for outcomes and for late scores."""
    task = scribe.task(agent, "judged")
    task.run("a", "S" * 30, reward=0.8, quality=0.9, evaluator="judge@1")
    task.run("a", "S" * 25, reward=0.3, evaluator="judge@2")
    late = task.run("a", "S" * 3, evaluator="judge@2")
    task.score(late[0], quality=0.4, evaluator="judge@3")
    task.score(late[1], reward=0.2, evaluator="judge@2")
    for number in range(10):
        task.run("a", "S", reward=0.5, evaluator=f"other@{number}")
