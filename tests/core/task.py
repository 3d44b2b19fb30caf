"""Drives one task through the engine, message by message, without Kafka or serialization."""

from __future__ import annotations

from typing import Any

from builders import AGENT, TASK, a_command, invocations

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import StandingOrder, TagReport, TaskRow, Variant, new_row
from crl_stream.core.monitor.step import Context, Step, step
from crl_stream.core.policy import Policy

KEY = TaskKey(AGENT, TASK)
NOON = 1_763_562_600_000
"""2025-11-19T14:30:00Z, the instant of the guide's examples, in milliseconds."""
HOUR = 3_600_000


class Task:
    """A row and its position in the log; one second passes for each message."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.row: TaskRow = new_row(KEY)
        self.offset = -1
        self.now = NOON
        self.facts: list[Any] = []
        self.last: Step | None = None
        self.fleet: StandingOrder | None = None
        """A hold on the whole fleet."""
        self.tags: dict[str, TagReport] = {}
        """Reports about tags."""

    def take(self, *messages: Any) -> list[Any]:
        """Fold the messages one by one; return their facts."""
        stated: list[Any] = []
        for message in messages:
            self.offset += 1
            self.now += 1_000
            at = Context(0, self.offset, self.now, 0, "0" * 16, fleet=self.fleet, tags=self.tags)
            self.last = step(self.row, message, at, self.policy)
            stated += self.last.facts
        self.facts += stated
        return stated

    def run(self, variant_id: str, outcomes: str, **fields: Any) -> list[Any]:
        """Fold outcomes of a variant, one for each letter; return their facts."""
        return self.take(*invocations(variant_id, outcomes, **fields))

    def order(self, kind: type, **fields: Any) -> m.CommandResult:
        """Send a command; return its result."""
        [result] = [fact for fact in self.take(a_command(kind, **fields)) if isinstance(fact, m.CommandResult)]
        return result

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass without a message."""
        self.now += milliseconds

    def stated(self, kind: type) -> list[Any]:
        """Return all facts of a kind so far."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def alerts(self, kind: str) -> list[m.Alert]:
        """Return all alerts of a kind so far."""
        return [alert for alert in self.stated(m.Alert) if alert.kind == kind]

    def variant(self, variant_id: str) -> Variant:
        return self.row.variants[variant_id]

    def snapshot(self, variant_id: str) -> m.VariantSnapshot:
        """Return the variant from the newest published snapshot."""
        [found] = [v for v in self.stated(m.TaskSnapshot)[-1].variants if v.variant_id == variant_id]
        return found


def proven(policy: Policy | None = None, **others: str) -> Task:
    """Build a task whose ``default`` is active after 30 successes.

    ``others`` were explored with the given outcomes; a ``_`` in their names becomes a dash.
    """
    task = Task(policy)
    task.run("default", "S" * 30)
    for name, outcomes in others.items():
        task.run(name.replace("_", "-"), outcomes, variant_source="explore")
    return task


def collapsed(policy: Policy | None = None) -> Task:
    """Build a task in which ``api-optimized`` replaced a proven default, and failed until it was rolled back."""
    task = proven(policy, api_optimized="S" * 30)
    task.order(m.ActivateVariant, variant_id="api-optimized")
    task.run("api-optimized", "S" * 10, active_epoch=2)
    for _ in range(20):
        if task.stated(m.RollbackEvent):
            break
        task.run("api-optimized", "F", active_epoch=2)
    return task
