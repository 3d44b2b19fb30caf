"""The interface between the guide's objects and their figures: this process, or the live topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier, suggest_identifier
from crl_stream.core.monitor.row import TaskRow, Variant
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import UsageError


class Source(Protocol):
    """Provides rows to judge, and the two ways to change anything: an outcome and a command."""

    @property
    def policies(self) -> PolicySet:
        """Return the policies in force."""
        ...

    @property
    def decides(self) -> bool:
        """Return whether this process sets the policy; on live topics the workers do."""
        ...

    def record(self, message: m.Invocation | m.Feedback) -> bool:
        """Record one outcome or late score; False if it is a duplicate."""
        ...

    def order(self, command: m.AnyTaskCommand) -> m.CommandResult:
        """Send a command; raises ``CommandRefused``, which says why."""
        ...

    def policy_of(self, key: TaskKey) -> Policy:
        """Return the policy that judges the task."""
        ...

    def put_in_force(self, policies: PolicySet) -> None:
        """Judge by ``policies`` from now on; only if the source ``decides``."""
        ...

    def row(self, key: TaskKey) -> TaskRow | None:
        """Return a copy of the task's row; None if the task is unknown."""
        ...

    def rows(self) -> Sequence[TaskRow]:
        """Return copies of all rows, by name."""
        ...

    def looking_back(self, key: TaskKey, variant_id: str, last: int) -> Variant | None:
        """Return the variant over its last ``n`` outcomes, as far as they are kept."""
        ...

    def active_variants(self) -> list[tuple[str, str, str]]:
        """Return (agent_name, task_type, variant_id) of every task with an active variant, by name."""
        ...

    def untold_rollbacks(self, key: TaskKey, variant_id: str) -> list[m.RollbackEvent]:
        """Return rollbacks from or to a variant that were not reported yet, oldest first."""
        ...

    def claim_rollback(self, rollback_id: str) -> bool:
        """Claim a rollback to report it; False if another process has reported it."""
        ...

    def roll_back(self, key: TaskKey, policy: Policy) -> dict[str, Any] | None:
        """Judge the active variant now by ``policy``, and roll it back if it is degraded."""
        ...

    def rollbacks(self) -> Sequence[Mapping[str, Any]]:
        """Return all rollbacks in the guide's schema, newest first."""
        ...

    def analyze(self, limits: Mapping[str, Any]) -> list[m.Proposal]:
        """Return proposals that the figures support.

        If the source decides, ``limits`` replace the policy's, and only new and revised proposals are returned;
        otherwise all that the proposer has open.
        """
        ...

    def proposals(self) -> list[dict[str, Any]]:
        """Return all proposals in the guide's schema, newest first, as last written."""
        ...

    def open_proposal(self, proposal_id: str) -> m.Proposal | None:
        """Return a proposal that waits for a review; None if it does not wait or is unknown."""
        ...

    def now(self) -> int:
        """Return the time that decides about expiry, in milliseconds."""
        ...

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``condition`` holds; False after ``timeout`` seconds."""
        ...

    def close(self) -> None:
        """Write or send what is waiting, and close."""
        ...


class Asked(NamedTuple):
    """A task and one of its variants, with checked names."""

    key: TaskKey
    variant_id: str


def asked(agent_name: str, task_type: str, variant_id: str) -> Asked:
    """Check the names; raises ``UsageError``, which suggests a valid one."""
    for what, name in (("agent_name", agent_name), ("task_type", task_type), ("variant_id", variant_id)):
        text = str(name)  # also for values that are not text, which are refused
        if text is not name or not is_identifier(text):
            raise UsageError(
                f"{what} {name!r:.128} is not an identifier.",
                hint=f"write {suggest_identifier(text)!r}: letters, digits and . _ : - only, 1 to 128 of them",
            )
    return Asked(TaskKey(agent_name, task_type), variant_id)
