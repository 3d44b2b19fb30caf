"""``RollbackManager``: rolls back a degraded variant and reports rollbacks (guide: Components, 2)."""

from __future__ import annotations

from typing import Any

from crl_stream.core.identity import TaskKey
from crl_stream.errors import UsageError
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.shapes import rollback_fields
from crl_stream.guide.source import asked
from crl_stream.guide.store import Store
from crl_stream.guide.thresholds import with_thresholds, with_thresholds_everywhere


class RollbackManager:
    """Ensures that a degraded active variant is rolled back, and reports each rollback once.

    The engine rolls back on the outcome that reveals the degradation, so the rollback has usually happened before a
    script checks. The thresholds are those of ``safety_monitor``. In a store of this process, the engine uses them too.
    On live topics the workers' policy applies, so the manager sends a command for a rollback that only the given
    thresholds require.
    """

    def __init__(
        self,
        safety_monitor: SafetyMonitor | None = None,
        *,
        rollback_min_samples: int | None = None,
        store: Store | None = None,
    ) -> None:
        if safety_monitor is not None and store is not None and store is not safety_monitor.store:
            raise UsageError(
                "The safety monitor uses another store.", hint="pass the store to the monitor, or pass only the monitor"
            )
        self.safety_monitor = safety_monitor or SafetyMonitor(store=store)
        self.store = self.safety_monitor.store
        self._own = dict(self.safety_monitor.own_thresholds)
        if rollback_min_samples is not None:
            self._own["rollback_min_samples"] = rollback_min_samples
        source = self.store.source
        if self._own and source.decides:
            source.put_in_force(with_thresholds_everywhere(source.policies, self._own))

    def monitor_and_rollback(self, agent_name: str, task_type: str, current_variant: str) -> dict[str, Any] | None:
        """Return the rollback of this variant in the guide's event schema, or None while it is healthy.

        Each rollback is returned only once, to the first process that asks, even if cron starts a new process for every
        call. ``current_variant`` may name the old variant or its replacement; after the rollback, a list of active
        variants contains only the replacement. As in the worker, no rollback happens if the task is held, if no target
        exists, or in the modes ``shadow`` and ``observe``.
        """
        which = asked(agent_name, task_type, current_variant)
        source = self.store.source
        if (told := self._tell(which.key, current_variant)) is not None:
            return told
        row = source.row(which.key)
        if row is None or row.active != current_variant:
            return None
        policy = with_thresholds(source.policy_of(which.key), self._own)
        if source.decides or (self._own and policy != source.policy_of(which.key)):
            done = source.roll_back(which.key, policy)
            return self._tell(which.key, current_variant) or done
        return None

    def get_rollback_history(self, limit: int | None = None, agent_name: str | None = None) -> list[dict[str, Any]]:
        """Return rollbacks in the guide's event schema, newest first: the newest ``limit``, or all."""
        if limit is not None and limit < 0:
            raise UsageError(f"limit {limit} is negative.", hint="omit the limit to get all rollbacks")
        found = [dict(e) for e in self.store.source.rollbacks() if agent_name in {None, e["agent_name"]}]
        return found[:limit]

    def _tell(self, key: TaskKey, current_variant: str) -> dict[str, Any] | None:
        source = self.store.source
        row = source.row(key)
        for event in reversed(source.untold_rollbacks(key, current_variant)):
            if event.enforced and row is not None and row.active == event.from_variant:
                continue  # the rollback was undone before it was reported
            if source.claim_rollback(event.rollback_id):
                return rollback_fields(event)
        return None
