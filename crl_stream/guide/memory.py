"""The figures of one process: outcomes are folded at once, by the engine that the workers run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.monitor.row import SIZE, TaskRow, Variant, decode_row, encode_row, new_row
from crl_stream.core.monitor.snapshot import task_snapshot
from crl_stream.core.monitor.step import Context, Step, step
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.core.proposer import row as proposal_row
from crl_stream.core.proposer.remedies import Remedies
from crl_stream.core.proposer.row import ProposalRow
from crl_stream.core.proposer.step import step as propose
from crl_stream.errors import CommandRefused, InvalidMessage, Unavailable, UsageError
from crl_stream.guide.figures import Figures
from crl_stream.guide.looking import look_again, looking_back
from crl_stream.guide.records import Records
from crl_stream.visible import visible

log = logging.getLogger(__name__)

KEPT: Final = 200
"""Number of outcomes kept per variant, because a safety monitor's window may be longer than the policy's."""


class Memory:
    """Rows in memory, with their own log.

    The log needs no broker: positions come from a counter, and the time comes from the outcomes and never goes back
    within a task. Each process starts a new log with its own incarnation, on top of the rows that the last process left
    in the folder. A process that only reads sees what the writer has written.
    """

    decides = True

    def __init__(self, folder: Path | None, policies: PolicySet, remedies: Remedies) -> None:
        self.policies, self.remedies = policies, remedies
        self.records = Records(folder)
        self._hash = policies.digest()
        self._incarnation = time.time_ns() // 1_000_000
        self._offset = -1
        self._rows: dict[TaskKey, TaskRow] = {}
        self._earlier: dict[tuple[TaskKey, str], bytearray] = {}
        """Outcomes since a variant's last activation that have left its window, oldest first."""
        self._untold: list[m.RollbackEvent] = []
        """Unreported rollbacks of a store without a folder."""
        self._proposing: dict[TaskKey, ProposalRow] = {}
        self._figures = None if folder is None else Figures(folder)
        self._said_that_it_only_reads = False
        self._lock = threading.RLock()

    # -- what changes anything ---------------------------------------------------------------------
    def record(self, message: m.Invocation | m.Feedback) -> bool:
        """Fold one outcome or late score."""
        key = TaskKey(message.agent_name, message.task_type)
        with self._lock:
            self._become_writer()
            row = self._rows.get(key) or new_row(key)
            policy = self.policies.for_task(key)
            name = message.variant_id if isinstance(message, m.Invocation) else ""
            variant = row.variants.get(name)
            window, n = (b"", 0) if variant is None else (bytes(variant.window), variant.life.n)
            done = step(row, message, self._next(from_text(message.timestamp)), policy)
            self._keep_evicted(row, name, window, n)
            if done.disposition == "rejected":
                raise InvalidMessage(
                    f"{key} already has {len(row.variants)} variants; the limit is {policy.limits.variants}.",
                    hint="retire one, or raise limits.variants",
                )
            self._rows[key] = row
            self._state(key, done, name)
            return done.disposition == "applied"

    def order(self, command: m.AnyTaskCommand) -> m.CommandResult:
        """Fold one command."""
        key = TaskKey(command.agent_name, command.task_type)
        with self._lock:
            self._become_writer()
            row = self._rows.setdefault(key, new_row(key))
            # If a task's outcomes are from last year, its time stays there; a command must not move it to today.
            done = step(row, command, self._next(row.time or from_text(command.timestamp)), self.policies.for_task(key))
            self._state(key, done)
            if isinstance(command, m.ApproveProposal | m.RejectProposal | m.DeferProposal):
                self._propose(key, {})
        results = [fact for fact in done.facts if isinstance(fact, m.CommandResult)]
        if not results:
            raise CommandRefused(f"The command {command.command_id} was already sent.", hint="use a new command_id")
        if results[0].outcome == "refused":
            raise CommandRefused(f"{results[0].command} for {key} was refused: {results[0].detail}.")
        return results[0]

    def put_in_force(self, policies: PolicySet) -> None:
        """Judge by ``policies`` from now on; a longer window fills up as outcomes arrive."""
        with self._lock:
            self.policies, self._hash = policies, policies.digest()

    def roll_back(self, key: TaskKey, policy: Policy) -> dict[str, Any] | None:
        """Judge the active variant between two outcomes; ``untold_rollbacks`` then includes a resulting rollback."""
        with self._lock:
            if not self._may_write():
                return None  # the recording process judges each outcome itself
            row = self._rows[key]
            self._state(key, look_again(row, self._next(row.time), policy))
        return None

    def analyze(self, limits: Mapping[str, Any]) -> list[m.Proposal]:
        """Run the proposer over every task and return new and revised proposals."""
        with self._lock:
            self._become_writer()
            published = [p for key in sorted(self._rows) for p in self._propose(key, limits)]
        newest = {proposal.proposal_id: proposal for proposal in published}
        return [proposal for proposal in newest.values() if proposal.status == "pending"]

    def _propose(self, key: TaskKey, limits: Mapping[str, Any]) -> list[m.Proposal]:
        row = self._rows[key]
        snapshot = task_snapshot(row, self._next(row.time), self.policies.for_task(key))
        if limits and snapshot.proposal_limits is not None:
            snapshot = replace(snapshot, proposal_limits=replace(snapshot.proposal_limits, **limits))
        proposing = self._proposing.setdefault(key, proposal_row.new_row(key))
        published = propose(proposing, snapshot, self.remedies) or []
        if self._figures is not None:
            self._figures.write_proposing(key.encode(), proposal_row.encode_row(proposing))
        self._keep(published)
        return published

    # -- what is known -----------------------------------------------------------------------------
    def policy_of(self, key: TaskKey) -> Policy:
        """Return the task's own policy, else its agent's, else the default."""
        return self.policies.for_task(key)

    def row(self, key: TaskKey) -> TaskRow | None:
        """Return a copy of the task's row, so that no reader sees a half-folded one; None if the task is unknown."""
        with self._lock:
            self._refresh()
            row = self._rows.get(key)
            return None if row is None else decode_row(encode_row(row))

    def rows(self) -> Sequence[TaskRow]:
        """Return copies of all rows."""
        with self._lock:
            self._refresh()
            return [decode_row(encode_row(self._rows[key])) for key in sorted(self._rows)]

    def looking_back(self, key: TaskKey, variant_id: str, last: int) -> Variant | None:
        """Return the variant judged over its ``last`` outcomes: at most ``KEPT``, or the policy's window if longer."""
        with self._lock:
            self._refresh()
            row = self._rows.get(key)
            variant = row.variants.get(variant_id) if row is not None else None
            if variant is None:
                return None
            return looking_back(variant, last, bytes(self._earlier.get((key, variant_id), b"")))

    def active_variants(self) -> list[tuple[str, str, str]]:
        """Return the active variant of every task that has one."""
        with self._lock:
            self._refresh()
            return [(*key, row.active) for key in sorted(self._rows) if (row := self._rows[key]).active is not None]

    def untold_rollbacks(self, key: TaskKey, variant_id: str) -> list[m.RollbackEvent]:
        """Return unreported rollbacks from or to the variant; for the active variant, all those of the task."""
        with self._lock:
            waiting = self._untold if self._figures is None else self._figures.untold()
            mine = [event for event in waiting if (event.agent_name, event.task_type) == key]
            self._refresh()
            row = self._rows.get(key)
            if row is not None and row.active == variant_id:
                return mine
            return [event for event in mine if variant_id in {event.from_variant, event.to_variant}]

    def claim_rollback(self, rollback_id: str) -> bool:
        """Claim a rollback; only one of the processes that use the folder succeeds."""
        with self._lock:
            if self._figures is not None:
                return self._figures.claim(rollback_id)
            self._untold = [event for event in self._untold if event.rollback_id != rollback_id]
            return True

    def rollbacks(self) -> list[dict[str, Any]]:
        """Return the rollbacks in the folder, including those of earlier processes."""
        with self._lock:
            return self.records.rollbacks()

    def proposals(self) -> list[dict[str, Any]]:
        """Return the proposals in the folder, including those of earlier processes."""
        with self._lock:
            return self.records.proposals()

    def open_proposal(self, proposal_id: str) -> m.Proposal | None:
        """Return a proposal that is waiting for a review; None if there is no such proposal."""
        with self._lock:
            self._refresh()
            found = [w.proposal for row in self._proposing.values() for w in row.open]
            return next((proposal for proposal in found if proposal.proposal_id == proposal_id), None)

    def now(self) -> int:
        """Return the time of the newest outcome; if there is none, the current time."""
        with self._lock:
            self._refresh()
            return max((row.time for row in self._rows.values()), default=time.time_ns() // 1_000_000)

    def wait_until(self, condition: Callable[[], bool], _: float) -> bool:
        """Check ``condition`` once, because nothing here changes later."""
        return condition()

    def close(self) -> None:
        """Release the folder."""
        with self._lock:
            self.records.close()
            if self._figures is not None:
                self._figures.close()

    # -- the folder --------------------------------------------------------------------------------
    def _become_writer(self) -> None:
        """Become the folder's writer and load its rows; raises ``UsageError`` while another process is the writer."""
        if self.records.open():
            self._load()

    def _may_write(self) -> bool:
        """Return whether this process is now the folder's writer; if it cannot be, log that once."""
        try:
            self._become_writer()
        except UsageError as error:
            if not self._said_that_it_only_reads:
                self._said_that_it_only_reads = True
                log.warning("%s This process only reads; the other process performs the rollbacks.", error.message)
            return False
        return True

    def _refresh(self) -> None:
        """Read what the writer has written, unless this process is the writer."""
        if not self.records.is_writer:
            self._load()

    def _load(self) -> None:
        contents = None if self._figures is None else self._figures.read()
        if contents is None:
            return
        rows = {TaskKey.decode(key): decode_row(data) for key, data in contents.rows.items()}
        self._rows = rows
        self._earlier = {(TaskKey.decode(key), name): bytearray(d) for (key, name), d in contents.earlier.items()}
        self._proposing = {
            TaskKey.decode(key): proposal_row.decode_row(data) for key, data in contents.proposing.items()
        }

    # -- the log -----------------------------------------------------------------------------------
    def _next(self, timestamp: int) -> Context:
        self._offset += 1
        return Context(0, self._offset, timestamp, self._incarnation, self._hash)

    def _keep_evicted(self, row: TaskRow, variant_id: str, window: bytes, n: int) -> None:
        """Keep the outcomes that a step pushed out of a variant's window.

        ``window`` and ``n`` are its window and its number of outcomes before the step.
        """
        variant = row.variants.get(variant_id)
        if variant is None or variant.life.n == n:
            return
        place = (row.key, variant_id)
        if n == 0:
            self._earlier.pop(place, None)  # these outcomes are left over from a forgotten variant of the same name
        elif (lost := len(window) + SIZE - len(variant.window)) > 0:
            earlier = self._earlier.setdefault(place, bytearray())
            earlier += window[:lost]
            del earlier[: max(0, len(earlier) + len(variant.window) - KEPT * SIZE)]

    def _state(self, key: TaskKey, done: Step, name: str = "") -> None:
        """Save the row and the facts of a step, and log its alerts.

        ``name`` is the variant whose window has moved.
        """
        events = [fact for fact in done.facts if isinstance(fact, m.RollbackEvent)]
        moved = {name}
        for fact in done.facts:
            if isinstance(fact, m.Activation) and fact.enforced:
                # Only outcomes since the activation are judged, so older ones are no longer needed.
                self._earlier.pop((key, fact.to_variant), None)
                moved.add(fact.to_variant)
            elif isinstance(fact, m.Alert):
                log.log(logging.INFO if fact.severity == "info" else logging.WARNING, "%s", visible(fact.text))
        if self._figures is None:
            self._untold += events
        else:
            earlier = {variant: self._earlier.get((key, variant)) for variant in moved if variant}
            kept = {variant: None if data is None else bytes(data) for variant, data in earlier.items()}
            self._figures.write(key.encode(), encode_row(self._rows[key]), kept, events)
        self._keep(events)

    def _keep(self, events: Sequence[m.RollbackEvent | m.Proposal]) -> None:
        try:
            self.records.keep(events)
        except Unavailable as error:
            # The outcome still counts; records that could not be written are written with the next ones.
            log.error("%s", visible(str(error)))  # noqa: TRY400 - a sentence for the user, no traceback
