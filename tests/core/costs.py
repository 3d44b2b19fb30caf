"""Outcomes with a cost, and tasks whose active variant became dearer."""

from __future__ import annotations

from itertools import count
from math import exp
from random import Random
from typing import Any

from builders import an_invocation

from crl_stream.core import messages as m
from crl_stream.core.policy import Guardrails, Policy

from .task import Task

GUARDED = Policy(guardrails=Guardrails(cost="rollback"))
ALERTING = Policy()


class Work:
    """Outcomes with a cost that varies around a mean, by half of it."""

    def __init__(self, policy: Policy = ALERTING, seed: int = 1) -> None:
        self.task, self._luck, self._ids = Task(policy), Random(seed), count()

    def __call__(self, variant: str, outcomes: int, mean: float, *, status: str = "success", **fields: Any) -> Work:
        for _ in range(outcomes):
            cost = mean * exp(self._luck.gauss(-0.125, 0.5))
            given = {"cost": cost, "duration_seconds": None, "invocation_id": f"i{next(self._ids)}"} | fields
            self.task.take(an_invocation(variant, status, **given))
        return self

    def alerts(self) -> list[m.Alert]:
        return self.task.alerts("guardrail")


def two(policy: Policy = ALERTING, other: float = 0.01) -> Work:
    """Return a task whose active variant ``a`` costs .01, and which has explored ``b``."""
    return Work(policy)("a", 120, 0.01)("b", 30, other, variant_source="explore")
