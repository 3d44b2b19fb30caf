"""One step in progress: the row, the position in the log, the policy, and the facts produced so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from crl_stream.core.ids import fact_id
from crl_stream.core.monitor.row import StandingOrder, TagReport, TaskRow
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.policy import Policy


class Context(msgspec.Struct, gc=False):
    """A message's position in the log, and its policy; a step may keep the values, but never the object itself."""

    partition: int
    offset: int
    timestamp_ms: int
    """Append time of the message, in milliseconds since the epoch."""
    incarnation: int
    policy_hash: str
    fleet: StandingOrder | None = None
    """The hold on the whole fleet, if there is one."""
    tags: Mapping[str, TagReport] = {}
    """The tags that are failing in many tasks, according to the log."""
    brief: bool = False
    """Whether snapshots omit what the proposer does not read: windows, and sentences for people."""


class Turn:
    """The processing of one message for one row."""

    __slots__ = ("active_changed", "at", "catalogue_changed", "facts", "measured", "policy", "retagged", "row", "rules")

    def __init__(self, row: TaskRow, at: Context, policy: Policy) -> None:
        self.row, self.at, self.policy, self.rules = row, at, policy, rules_of(policy)
        self.facts: list[Any] = []
        self.measured: list[Any] = []
        """The guardrails whose metric is broken, or was broken before this outcome."""
        self.active_changed = False
        """Whether ``crl.active-variants`` needs a new record."""
        self.catalogue_changed = False
        """Whether ``crl.variants`` needs a new record."""
        self.retagged = False
        """Whether the outcome named a different provider or model than the variant's last one did."""

    def identify(self, prefix: str, kind: str, detail: str = "") -> str:
        """Return the id of a fact of ``kind`` about this message; ``detail`` distinguishes facts of the same kind."""
        row, at = self.row, self.at
        task = f"{row.agent_name}/{row.task_type}"
        return fact_id(prefix, row.time, kind, task, at.incarnation, at.partition, at.offset, detail)
