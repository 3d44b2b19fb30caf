"""The figures of a running installation, read from its compacted topics in the background.

Nothing is decided here. The engine judges rows restored from ``crl.tasks``. Commands go to ``crl.commands``, and
outcomes go through the Publisher.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from crl_stream.client.publisher import Publisher
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.monitor.detectors import figures_of
from crl_stream.core.monitor.grounds import sentence
from crl_stream.core.monitor.row import TaskRow, Variant
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.verdict import DEGRADED, judge
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import CommandRefused, Unavailable
from crl_stream.guide.following import Following
from crl_stream.guide.looking import looking_back
from crl_stream.guide.restoration import restored_row
from crl_stream.guide.shapes import proposal_fields, rollback_fields
from crl_stream.kafka.commands import give, task_command
from crl_stream.settings import Settings


class Live:
    """A source that reads a running installation."""

    decides = False

    def __init__(self, settings: Settings, timeout: float) -> None:
        self.settings = settings
        self._topics = Following(settings.kafka, timeout, settings.client.cache_dir)
        self._publisher: Publisher | None = None

    @property
    def policies(self) -> PolicySet:
        """Return the policies last announced by the workers; if there are none, those in the settings."""
        with self._topics.reading():
            return self._topics.announced or self.settings.policies

    # -- what changes anything ---------------------------------------------------------------------
    def record(self, message: m.Invocation | m.Feedback) -> bool:
        """Queue the message for Kafka; raises ``Unavailable`` if too many are waiting."""
        if self._publisher is None:
            self._publisher = Publisher(self.settings)
        if not self._publisher.publish(message):
            raise Unavailable(
                "Too many outcomes are waiting for Kafka; this one was not accepted.",
                hint="run `crl status` to see whether the broker is running",
            )
        return True

    def order(self, command: m.AnyTaskCommand) -> m.CommandResult:
        """Send the command and wait for the monitor's result."""
        return _run(give(self._topics.kafka, command))

    def put_in_force(self, policies: PolicySet) -> None:
        """Raise an error, because a script cannot change the policy of a running installation."""
        raise CommandRefused(
            f"A script cannot apply policy {policies.digest()} to a running installation.",
            hint="change the workers' crl.toml; `crl config show` shows what is in force",
        )

    def roll_back(self, key: TaskKey, policy: Policy) -> dict[str, Any] | None:
        """Send a command for a rollback that ``policy`` requires but the workers' policy does not.

        The command names the epoch that was judged. The monitor applies or refuses it, and reports it like any command.
        The result has the guide's schema; its rollback_id is the id of the command's result.
        """
        row = self.row(key)
        if row is None or row.active is None or row.held is not None or policy.operations.mode != "enforce":
            return None
        rules = rules_of(policy)
        variant = looking_back(row.variants[row.active], policy.degradation.lookback_window)
        verdict = judge(variant, rules)
        target = next((c.variant_id for c in candidates(row, rules, verdict.worst) if c.chosen), None)
        if verdict.kind != DEGRADED or target is None:
            return None
        words = sentence(variant, verdict, rules)
        command = task_command(m.ActivateVariant, key, variant_id=target, expected_epoch=row.epoch, reason=words)
        try:
            result = self.order(command)
        except CommandRefused:
            # A new epoch means that the monitor was faster, and its rollback is on the topic.
            left = row.active
            if self.wait_until(lambda: bool(self.untold_rollbacks(key, left)), 1.0):
                return None
            raise
        return {
            "rollback_id": result.result_id,
            "timestamp": result.timestamp,
            "agent_name": key.agent_name,
            "task_type": key.task_type,
            "from_variant": row.active,
            "to_variant": target,
            "reason": words,
            "degradation_metrics": figures_of(verdict.baseline, variant.judged, verdict.worst),
            "epoch": result.epoch,
            "enforced": True,
            "command_id": result.command_id,
            "undo_command": f"crl undo {key} --epoch {result.epoch}",
        }

    def analyze(self, limits: Mapping[str, Any]) -> list[m.Proposal]:
        """Return the running proposer's pending proposals that have at least ``min_invocations`` outcomes."""
        least = limits.get("min_invocations", 0)
        with self._topics.reading():
            found = [p for p in self._topics.proposals.values() if p.status == "pending"]
        found = [p for p in found if p.supporting_data.get("n_invocations", 0) >= least]
        return sorted(found, key=lambda p: (p.agent_name, p.task_type, p.proposal_id))

    # -- what is known -----------------------------------------------------------------------------
    def policy_of(self, key: TaskKey) -> Policy:
        """Return the policy that judged the task; until it has been read, the result of ``policies``."""
        with self._topics.reading():
            snapshot = self._topics.tasks.get(key)
            judged_by = None if snapshot is None else self._topics.policies.get(snapshot.policy_hash)
        return (judged_by or self.policies).for_task(key)

    def row(self, key: TaskKey) -> TaskRow | None:
        """Return a row restored from the task's snapshot."""
        with self._topics.reading():
            snapshot = self._topics.tasks.get(key)
        return None if snapshot is None else restored_row(snapshot)

    def rows(self) -> Sequence[TaskRow]:
        """Return the rows restored from all snapshots."""
        with self._topics.reading():
            snapshots = [self._topics.tasks[key] for key in sorted(self._topics.tasks)]
        return [restored_row(snapshot) for snapshot in snapshots]

    def looking_back(self, key: TaskKey, variant_id: str, last: int) -> Variant | None:
        """Return the variant judged over its ``last`` outcomes, or as many as the snapshot's window holds."""
        row = self.row(key)
        variant = row.variants.get(variant_id) if row is not None else None
        return None if variant is None else looking_back(variant, last)

    def active_variants(self) -> list[tuple[str, str, str]]:
        """Return the variants that runtimes use."""
        with self._topics.reading():
            return [(*key, self._topics.active[key].variant_id) for key in sorted(self._topics.active)]

    def untold_rollbacks(self, key: TaskKey, variant_id: str) -> list[m.RollbackEvent]:
        """Return the variant's unreported rollbacks since a script first queried this installation.

        An older rollback is returned only if it is still in effect and the variant is the one it replaced. A caller
        that asks about the active variant wants only new rollbacks.
        """
        with self._topics.reading():
            found, told = [], self._topics.told
            assert told is not None
            active = self._topics.active.get(key)
            for event in self._topics.rollbacks.values():
                if (event.agent_name, event.task_type) != key or told.has(event.rollback_id):
                    continue
                names = {event.from_variant, event.to_variant}
                if event.rollback_id in self._topics.old:
                    names = {event.from_variant} if active and active.cause_id == event.rollback_id else set()
                if variant_id in names:
                    found.append(event)
            return sorted(found, key=lambda event: event.position.offset)

    def claim_rollback(self, rollback_id: str) -> bool:
        """Claim a rollback; only one of the scripts that share a cache folder on this machine succeeds."""
        with self._topics.reading():
            assert self._topics.told is not None
            return self._topics.told.claim(rollback_id)

    def rollbacks(self) -> list[dict[str, Any]]:
        """Return the rollbacks on the topic, newest first."""
        with self._topics.reading():
            events = sorted(self._topics.rollbacks.values(), key=lambda e: (e.timestamp, e.epoch), reverse=True)
        return [rollback_fields(event) for event in events]

    def proposals(self) -> list[dict[str, Any]]:
        """Return the proposals on the topic, newest first."""
        with self._topics.reading():
            found = sorted(self._topics.proposals.values(), key=lambda p: (p.timestamp, p.proposal_id), reverse=True)
        return [proposal_fields(proposal) for proposal in found]

    def open_proposal(self, proposal_id: str) -> m.Proposal | None:
        """Return a proposal that is waiting for a review; None if there is no such proposal."""
        with self._topics.reading():
            proposal = self._topics.proposals.get(proposal_id)
        return proposal if proposal is not None and proposal.status in OPEN_STATUSES else None

    def now(self) -> int:
        """Return the current time in milliseconds, which other readers of the topic use too."""
        return time.time_ns() // 1_000_000

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``condition`` holds, checking it after new records."""
        return self._topics.wait_until(condition, timeout)

    def close(self) -> None:
        """Send waiting messages, then close; raises ``Unavailable`` if Kafka does not accept them."""
        lost = 0 if self._publisher is None else self._publisher.close().dropped
        self._topics.stop()
        if lost:
            raise Unavailable(f"{lost} outcomes could not be sent.", hint="check whether the broker is running")


def _run(work: Coroutine[Any, Any, m.CommandResult]) -> m.CommandResult:
    """Run a coroutine to completion in a program that may already have a running event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
