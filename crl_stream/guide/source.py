"""The interface through which the guide's objects get their figures, from this process or from the live topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier, suggest_identifier
from crl_stream.core.monitor.row import TaskRow, Variant
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import UsageError


class Source(Protocol):
    """Provides rows to judge, and accepts the two things that change them: outcomes and commands."""

    @property
    def policies(self) -> PolicySet:
        """Return the policies in force."""
        ...

    @property
    def decides(self) -> bool:
        """Return whether this process sets the policy; on live topics the workers do."""
        ...

    def record(self, message: m.Invocation | m.Feedback) -> bool:
        """Record one outcome or late score; return False if it is a duplicate."""
        ...

    def order(self, command: m.AnyTaskCommand) -> m.CommandResult:
        """Send a command and return its result; raises ``CommandRefused`` with the reason."""
        ...

    def policy_of(self, key: TaskKey) -> Policy:
        """Return the policy that judges the task."""
        ...

    def put_in_force(self, policies: PolicySet) -> None:
        """Judge by ``policies`` from now on; only for a source that ``decides``."""
        ...

    def row(self, key: TaskKey) -> TaskRow | None:
        """Return a copy of the task's row; None if the task is unknown."""
        ...

    def rows(self) -> Sequence[TaskRow]:
        """Return copies of all rows, sorted by name."""
        ...

    def looking_back(self, key: TaskKey, variant_id: str, last: int) -> Variant | None:
        """Return the variant judged over its ``last`` outcomes, or as many as are kept."""
        ...

    def active_variants(self) -> list[tuple[str, str, str]]:
        """Return (agent_name, task_type, variant_id) for every task with an active variant, sorted by name."""
        ...

    def untold_rollbacks(self, key: TaskKey, variant_id: str) -> list[m.RollbackEvent]:
        """Return rollbacks from or to a variant that have not been reported yet, oldest first."""
        ...

    def claim_rollback(self, rollback_id: str) -> bool:
        """Claim a rollback in order to report it; return False if another process has claimed it."""
        ...

    def roll_back(self, key: TaskKey, policy: Policy) -> dict[str, Any] | None:
        """Judge the active variant now by ``policy``, and roll it back if it is degraded."""
        ...

    def rollbacks(self) -> Sequence[Mapping[str, Any]]:
        """Return all rollbacks in the guide's schema, newest first."""
        ...

    def analyze(self, limits: Mapping[str, Any]) -> list[m.Proposal]:
        """Return pending proposals that the figures support.

        If the source ``decides``, ``limits`` override the policy's, and only new and revised proposals are returned.
        Otherwise, all pending proposals of the running proposer are returned.
        """
        ...

    def proposals(self) -> list[dict[str, Any]]:
        """Return the latest version of all proposals in the guide's schema, newest first."""
        ...

    def open_proposal(self, proposal_id: str) -> m.Proposal | None:
        """Return a proposal that is waiting for a review; None if there is no such proposal."""
        ...

    def now(self) -> int:
        """Return the current time for expiry checks, in milliseconds."""
        ...

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``condition`` holds; return False after ``timeout`` seconds."""
        ...

    def close(self) -> None:
        """Write or send waiting records, and close."""
        ...


class Asked(NamedTuple):
    """A task and one of its variants, with checked names."""

    key: TaskKey
    variant_id: str


def asked(agent_name: str, task_type: str, variant_id: str) -> Asked:
    """Check the names; raises ``UsageError`` and suggests a valid name."""
    for what, name in (("agent_name", agent_name), ("task_type", task_type), ("variant_id", variant_id)):
        text = str(name)  # so that a value that is not text can be refused with a hint
        if text is not name or not is_identifier(text):
            raise UsageError(
                f"{what} {name!r:.128} is not an identifier.",
                hint=f"write {suggest_identifier(text)!r} (1 to 128 letters, digits or . _ : -)",
            )
    return Asked(TaskKey(agent_name, task_type), variant_id)
