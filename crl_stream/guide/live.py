"""The figures of a running installation: its compacted topics, followed in the background.

Nothing is decided here.  Verdicts are the engine's over rows restored from ``crl.tasks``, orders go out as commands,
outcomes through the Publisher.
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
from crl_stream.core.monitor.window import looking_back
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import CommandRefused, Unavailable
from crl_stream.guide.following import Following
from crl_stream.guide.restoration import restored_row
from crl_stream.guide.shapes import proposal_fields, rollback_fields
from crl_stream.kafka.commands import give, task_command
from crl_stream.settings import Settings


class Live:
    """What the topics say, as of a moment ago."""

    decides = False

    def __init__(self, settings: Settings, timeout: float) -> None:
        self.settings = settings
        self._topics = Following(settings.kafka, timeout, settings.client.cache_dir)
        self._publisher: Publisher | None = None

    @property
    def policies(self) -> PolicySet:
        """What the workers announced last; the settings' own while they have announced nothing."""
        with self._topics.reading():
            return self._topics.announced or self.settings.policies

    # -- what changes anything ---------------------------------------------------------------------
    def record(self, message: m.Invocation | m.Feedback) -> bool:
        """Queue it for Kafka; ``Unavailable`` when too many wait already."""
        if self._publisher is None:
            self._publisher = Publisher(self.settings)
        if not self._publisher.publish(message):
            raise Unavailable(
                "Too many outcomes wait for Kafka; this one was not taken.",
                hint="is the broker running? `crl status` asks it",
            )
        return True

    def order(self, command: m.AnyTaskCommand) -> m.CommandResult:
        """Send it and wait for the monitor's word."""
        return _run(give(self._topics.kafka, command))

    def put_in_force(self, policies: PolicySet) -> None:
        """The policy of an installation is in its workers' settings, so there is nothing to put."""
        raise CommandRefused(
            f"Policy {policies.digest()} is not put into force from here.",
            hint="change the workers' crl.toml; `crl config show` says what is in force",
        )

    def roll_back(self, key: TaskKey, policy: Policy) -> dict[str, Any] | None:
        """Order the rollback that ``policy`` asks for where the workers' own does not.

        It is a command that names the epoch it was decided for: the monitor applies or refuses it, and states it as it
        states any order.  The result has the guide's schema; its rollback_id is the id of the command's result.
        """
        row = self.row(key)
        if row is None or row.active is None or row.held is not None or policy.operations.mode != "enforce":
            return None
        rules = rules_of(policy)
        variant = looking_back(row.variants[row.active], policy.degradation.lookback_window)
        verdict = judge(variant, rules)
        target = next((c.variant_id for c in candidates(row, rules) if c.chosen), None)
        if verdict.kind != DEGRADED or target is None:
            return None
        words = sentence(variant, verdict, rules)
        command = task_command(m.ActivateVariant, key, variant_id=target, expected_epoch=row.epoch, reason=words)
        try:
            result = self.order(command)
        except CommandRefused:
            # The epoch has moved on: then the monitor was quicker, and its rollback is on the topic.
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
        """What the proposer, which looks at every snapshot as it comes, has pending on that many outcomes."""
        least = limits.get("min_invocations", 0)
        with self._topics.reading():
            found = [p for p in self._topics.proposals.values() if p.status == "pending"]
        found = [p for p in found if p.supporting_data.get("n_invocations", 0) >= least]
        return sorted(found, key=lambda p: (p.agent_name, p.task_type, p.proposal_id))

    # -- what is known -----------------------------------------------------------------------------
    def policy_of(self, key: TaskKey) -> Policy:
        """What the task was judged by; the settings' own while its policy has not come by."""
        with self._topics.reading():
            snapshot = self._topics.tasks.get(key)
            judged_by = None if snapshot is None else self._topics.policies.get(snapshot.policy_hash)
        return (judged_by or self.policies).for_task(key)

    def row(self, key: TaskKey) -> TaskRow | None:
        """Restored from the task's snapshot."""
        with self._topics.reading():
            snapshot = self._topics.tasks.get(key)
        return None if snapshot is None else restored_row(snapshot)

    def rows(self) -> Sequence[TaskRow]:
        """Restored from all snapshots."""
        with self._topics.reading():
            snapshots = [self._topics.tasks[key] for key in sorted(self._topics.tasks)]
        return [restored_row(snapshot) for snapshot in snapshots]

    def looking_back(self, key: TaskKey, variant_id: str, last: int) -> Variant | None:
        """As far as the window of the snapshot goes."""
        row = self.row(key)
        variant = row.variants.get(variant_id) if row is not None else None
        return None if variant is None else looking_back(variant, last)

    def active_variants(self) -> list[tuple[str, str, str]]:
        """What runtimes use."""
        with self._topics.reading():
            return [(*key, self._topics.active[key].variant_id) for key in sorted(self._topics.active)]

    def untold_rollbacks(self, key: TaskKey, variant_id: str) -> list[m.RollbackEvent]:
        """Those that came since scripts asked this installation first, and of the time before the one it stands on.

        That one only for the variant that was left: whoever asks for the active one wants to hear what is new.
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
        """Once among all scripts of this machine that share a cache folder."""
        with self._topics.reading():
            assert self._topics.told is not None
            return self._topics.told.claim(rollback_id)

    def rollbacks(self) -> list[dict[str, Any]]:
        """Those of the topic."""
        with self._topics.reading():
            events = sorted(self._topics.rollbacks.values(), key=lambda e: (e.timestamp, e.epoch), reverse=True)
        return [rollback_fields(event) for event in events]

    def proposals(self) -> list[dict[str, Any]]:
        """Those of the topic."""
        with self._topics.reading():
            found = sorted(self._topics.proposals.values(), key=lambda p: (p.timestamp, p.proposal_id), reverse=True)
        return [proposal_fields(proposal) for proposal in found]

    def open_proposal(self, proposal_id: str) -> m.Proposal | None:
        """One that waits for a review."""
        with self._topics.reading():
            proposal = self._topics.proposals.get(proposal_id)
        return proposal if proposal is not None and proposal.status in OPEN_STATUSES else None

    def now(self) -> int:
        """The clock's, as for everybody who reads the topic."""
        return time.time_ns() // 1_000_000

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Ask again whenever a record has come."""
        return self._topics.wait_until(condition, timeout)

    def close(self) -> None:
        """Send what waits, then leave; ``Unavailable`` when Kafka does not take it."""
        lost = 0 if self._publisher is None else self._publisher.close().dropped
        self._topics.stop()
        if lost:
            raise Unavailable(f"{lost} outcomes could not be sent.", hint="is the broker running?")


def _run(work: Coroutine[Any, Any, m.CommandResult]) -> m.CommandResult:
    """Run it to its end from a program that may have an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
