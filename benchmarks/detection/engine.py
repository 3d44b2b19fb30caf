"""The interface that every contestant has, and the product as a contestant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.rollout import weights_of
from crl_stream.core.monitor.row import encode_row, new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Policy

NOON = 1_767_607_200_000
"""Append time of the first message, in milliseconds; each further message follows a second after the previous one."""
FIXED: dict[str, Any] = {
    "schema_version": 1,
    "timestamp": "2026-01-05T10:00:00Z",
    "agent_name": "agent",
    "task_type": "task",
}
"""The fields that all messages share."""


class Switched(NamedTuple):
    """The active variant was replaced, for this cause: ``rollback``, ``auto_apply`` or ``command``."""

    cause: str
    left: str
    chosen: str


class Alarmed(NamedTuple):
    """The active variant was found degraded."""


class Noticed(NamedTuple):
    """An alert of this kind asks a person to act."""

    kind: str


Event = Switched | Alarmed | Noticed


class Decider(Protocol):
    """Decides for one task which variant is active."""

    active: str | None
    """The variant that runtimes use; None before the first outcome."""
    epoch: int
    """Number of times that the active variant was set."""
    amends: bool
    """Whether a quality may follow its outcome; otherwise an outcome is held back until its quality is known."""

    stages: bool
    """Whether the decider rolls variants out in stages."""

    def excludes(self, name: str) -> bool:
        """Return whether runtimes must not explore this variant."""

    def weights(self) -> dict[str, int] | None:
        """Return the variants' shares of the outcomes in thousandths; None if all go to the active one."""

    def take(self, message: Any) -> Iterator[Event]:
        """Process an Invocation, a Feedback or an ActivateVariant; yield the resulting events."""

    def size(self) -> int:
        """Return the bytes of the state, as a table would store it."""


class Engine:
    """The product: one row, folded by ``step``."""

    amends = True
    stages = True

    def __init__(self, policy: Policy) -> None:
        self._policy, self._offset = policy, 0
        self.row = new_row(TaskKey(FIXED["agent_name"], FIXED["task_type"]))

    @property
    def active(self) -> str | None:
        """The variant that the row has activated."""
        return self.row.active

    @property
    def epoch(self) -> int:
        """The row's epoch."""
        return self.row.epoch

    def excludes(self, name: str) -> bool:
        """Return whether the variant is in quarantine."""
        known = self.row.variants.get(name)
        return known is not None and known.quarantined

    def weights(self) -> dict[str, int] | None:
        """Return the shares during a rollout."""
        return None if self.row.rollout is None else weights_of(self.row)

    def take(self, message: Any) -> Iterator[Event]:
        """Fold a message; yield an event for each published fact that matters here."""
        at = Context(0, self._offset, NOON + self._offset * 1_000, 0, "0" * 16)
        self._offset += 1
        for fact in step(self.row, message, at, self._policy).facts:
            if isinstance(fact, m.Activation) and fact.from_variant is not None:
                yield Switched(fact.cause, fact.from_variant, fact.to_variant)
            elif _is_alarm(fact):
                yield Alarmed()
            elif isinstance(fact, m.Alert) and not fact.resolved:
                yield Noticed(fact.kind)

    def size(self) -> int:
        """Return the bytes of the row in the changelog."""
        return len(encode_row(self.row))


def _is_alarm(fact: Any) -> bool:
    """Return whether the active variant was found degraded, or one of its guardrails broken."""
    if isinstance(fact, m.DegradationAlert):
        return fact.active and fact.state == "degraded"
    return isinstance(fact, m.Alert) and fact.kind == "guardrail" and not fact.resolved
