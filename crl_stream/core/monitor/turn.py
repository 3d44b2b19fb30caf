"""One step under way: the row, the place in the log, the policy, and the facts stated so far."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from crl_stream.core.instant import day
from crl_stream.core.monitor.row import StandingOrder, TaskRow
from crl_stream.core.monitor.verdict import rules_of
from crl_stream.core.policy import Policy


class Context(msgspec.Struct, gc=False):
    """Where in the log a message stands, and under which policy; a step keeps its values, never itself."""

    partition: int
    offset: int
    timestamp_ms: int
    """Append time, milliseconds since the epoch."""
    incarnation: int
    policy_hash: str
    fleet: StandingOrder | None = None
    """The hold of the whole fleet, while there is one."""
    brief: bool = False
    """Whether snapshots leave out what the proposer does not read: windows, and sentences for people."""


class Turn:
    """What one message does to one row."""

    __slots__ = ("active_changed", "at", "catalogue_changed", "facts", "policy", "row", "rules")

    def __init__(self, row: TaskRow, at: Context, policy: Policy) -> None:
        self.row, self.at, self.policy, self.rules = row, at, policy, rules_of(policy)
        self.facts: list[Any] = []
        self.active_changed = False
        """Whether ``crl.active-variants`` has to say something new."""
        self.catalogue_changed = False
        """Whether ``crl.variants`` has to."""

    def identify(self, prefix: str, kind: str, detail: str = "") -> str:
        """The id of a fact: the day for people, then a hash of kind, task and log position."""
        row, at = self.row, self.at
        text = f"{kind} {row.agent_name}/{row.task_type} {at.incarnation} {at.partition} {at.offset} {detail}"
        return f"{prefix}-{day(row.time)}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"

    @property
    def enforced(self) -> bool:
        """Whether what is decided is done."""
        return self.rules.mode == "enforce"

    @property
    def hold(self) -> StandingOrder | None:
        """What keeps everything automatic from the task: its own hold, else the fleet's."""
        return self.row.held if self.row.held is not None else self.at.fleet
