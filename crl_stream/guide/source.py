"""What the guide's objects ask of the place where the figures are: this process, or the live topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier, suggest_identifier
from crl_stream.core.monitor.row import TaskRow, Variant
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import UsageError


class Source(Protocol):
    """Rows to judge, and the two ways to change anything: an outcome and an order."""

    @property
    def policies(self) -> PolicySet:
        """In force now."""
        ...

    @property
    def decides(self) -> bool:
        """Whether the policy is in this process's hands; on live topics it is the workers'."""
        ...

    def record(self, message: m.Invocation | m.Feedback) -> bool:
        """Take one outcome or late score in; False when it was met before."""
        ...

    def order(self, command: m.AnyTaskCommand) -> m.CommandResult:
        """Give an order; ``CommandRefused`` says why not."""
        ...

    def policy_of(self, key: TaskKey) -> Policy:
        """What the task is judged by."""
        ...

    def put_in_force(self, policies: PolicySet) -> None:
        """Judge by ``policies`` from now on; only where the source ``decides``."""
        ...

    def row(self, key: TaskKey) -> TaskRow | None:
        """A copy of the task's row; None when nothing is known of it."""
        ...

    def rows(self) -> Sequence[TaskRow]:
        """Copies of all rows, by name."""
        ...

    def looking_back(self, key: TaskKey, variant_id: str, last: int) -> Variant | None:
        """The variant over its last so many outcomes, as far as they are kept."""
        ...

    def active_variants(self) -> list[tuple[str, str, str]]:
        """(agent_name, task_type, variant_id) of every task that has an active variant, by name."""
        ...

    def untold_rollbacks(self, key: TaskKey, variant_id: str) -> list[m.RollbackEvent]:
        """Rollbacks from or to a variant that nobody has been told of yet, oldest first."""
        ...

    def claim_rollback(self, rollback_id: str) -> bool:
        """Take a rollback to tell it; False when another process has told it."""
        ...

    def roll_back(self, key: TaskKey, policy: Policy) -> dict[str, Any] | None:
        """Judge the active variant now by ``policy`` and leave it when it is degraded."""
        ...

    def rollbacks(self) -> Sequence[Mapping[str, Any]]:
        """All rollbacks in the guide's schema, newest first."""
        ...

    def analyze(self, limits: Mapping[str, Any]) -> list[m.Proposal]:
        """Pending proposals that the figures speak for; ``limits`` in place of the policy's, where the source decides.

        Only the newly made or revised where it decides, else all that the proposer has open.
        """
        ...

    def proposals(self) -> list[dict[str, Any]]:
        """All proposals in the guide's schema, newest first, as they were last written."""
        ...

    def open_proposal(self, proposal_id: str) -> m.Proposal | None:
        """One that waits for a review; None when it does not, or is not known here."""
        ...

    def now(self) -> int:
        """The time by which something has expired, in milliseconds."""
        ...

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``condition`` holds; False after ``timeout`` seconds."""
        ...

    def close(self) -> None:
        """Write or send what waits, and end."""
        ...


class Asked(NamedTuple):
    """A task and one of its variants, names checked."""

    key: TaskKey
    variant_id: str


def asked(agent_name: str, task_type: str, variant_id: str) -> Asked:
    """The names as they stand everywhere; ``UsageError`` offers the nearest name that can."""
    for what, name in (("agent_name", agent_name), ("task_type", task_type), ("variant_id", variant_id)):
        text = str(name)  # also of what is no text, which is refused as such
        if text is not name or not is_identifier(text):
            raise UsageError(
                f"{what} {name!r:.128} is not an identifier.",
                hint=f"write {suggest_identifier(text)!r}: letters, digits and . _ : - only, 1 to 128 of them",
            )
    return Asked(TaskKey(agent_name, task_type), variant_id)
