"""What the topics say about the fleet, in a bounded amount of memory: the state behind the pages of the dashboard.

A ``Fleet`` takes the records of ``TOPICS`` in any order that keeps each partition's own order, and repeated records
change nothing.  So it can be filled again from the beginning after an outage.  Pure: no clock, no I/O.

Drills are left out, as everywhere in what describes the fleet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, get_args

from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.overview.rows import MOMENTS
from crl_stream.dashboard.newest import Newest
from crl_stream.explaining.ids import id_of
from crl_stream.wire.topics import (
    ACTIVE_VARIANTS,
    ALERTS,
    DECISIONS,
    DEGRADATIONS,
    OVERVIEW,
    PROPOSALS,
    RECEIPTS,
    ROLLBACKS,
    TASKS,
)

STATES: Final = (OVERVIEW, TASKS, ACTIVE_VARIANTS, PROPOSALS)
"""Topics that say what is true now; they are read from their beginning."""
EVENTS: Final = (ROLLBACKS, DECISIONS, DEGRADATIONS, ALERTS, RECEIPTS)
"""Topics that say what happened; only their newest records are kept, so it is enough to read those."""
TOPICS: Final = STATES + EVENTS

ROLLBACKS_KEPT: Final = 500
FACTS_KEPT: Final = 500
ALERTS_KEPT: Final = 200
OPEN_ALERTS_KEPT: Final = 2_000
DEGRADATIONS_KEPT: Final = 500
CLOSED_PROPOSALS_KEPT: Final = 300
TASK_FACTS_KEPT: Final = 40
POINTS_KEPT: Final = 48
RUNTIMES_KEPT: Final = 200
ALL_TASKS_KEPT: Final = 60_000
"""How many facts, and how many points, all tasks together keep about; with many tasks, each keeps fewer."""
FEWEST_KEPT: Final = 6

DecisionFact = m.Decision | m.Activation | m.RolloutStep | m.Hindsight | m.Benefit | m.Adoption | m.CommandResult
"""What ``crl.decisions`` carries."""
ChangeKind = Literal["overview", "task", "active", "rollback", "fact", "degradation", "alert", "proposal", "receipt"]


class Change(NamedTuple):
    """Something in the fleet that a record has changed."""

    kind: ChangeKind
    key: TaskKey | None
    """The task that changed; None if the change is not about one task."""
    id: str
    """Id of the event, or the name of the task or page."""


class Point(NamedTuple):
    """The active variant of a task at one snapshot, for charts; rates are of its window."""

    time: int
    """Milliseconds since the epoch."""
    n_outcomes: int
    epoch: int
    variant_id: str
    success_rate: float
    avg_reward: float
    q_value: float
    e_value: float
    baseline: float
    """The success rate that the window is compared with."""


class Heard(Protocol):
    """A consumed record with its decoded message, as ``kafka.reader.Received``."""

    @property
    def record(self) -> Any:
        """The record, with ``timestamp`` (milliseconds), ``key`` and ``value``."""

    @property
    def message(self) -> Any:
        """The decoded message; None if the record cannot be read."""


Kept = TypeVar("Kept")


class Fleet:
    """The state of the whole fleet as the topics tell it."""

    def __init__(self) -> None:
        self.overview: m.Overview | None = None
        """The newest page of ``crl.overview``."""
        self.tasks: dict[TaskKey, m.TaskSnapshot] = {}
        """The newest snapshot of each task."""
        self.actives: dict[TaskKey, m.ActiveVariant] = {}
        """The newest record of each task on ``crl.active-variants``."""
        self.rollbacks: Newest[m.RollbackEvent] = Newest(ROLLBACKS_KEPT)
        self.degradations: Newest[m.DegradationAlert] = Newest(DEGRADATIONS_KEPT)
        self.facts: Newest[DecisionFact] = Newest(FACTS_KEPT)
        """The newest facts of ``crl.decisions`` about all tasks and about the fleet."""
        self.alerts: Newest[m.Alert] = Newest(ALERTS_KEPT)
        """The newest alerts, open or not."""
        self.heard_at = 0
        """Append time of the newest record, in milliseconds since the epoch; 0 before the first."""
        self.unreadable = 0
        """Number of records that could not be decoded."""
        self._open_alerts: dict[tuple[str, str], m.Alert] = {}
        self._alert_times: dict[tuple[str, str], tuple[int, int]] = {}
        self._open_proposals: dict[str, m.Proposal] = {}
        self._closed_proposals: Newest[m.Proposal] = Newest(CLOSED_PROPOSALS_KEPT)
        self._facts_of: dict[TaskKey, deque[DecisionFact]] = {}
        self._points_of: dict[TaskKey, deque[Point]] = {}
        self._receipts_of: dict[TaskKey, dict[str, m.Receipt]] = {}
        self._rollbacks_of: dict[TaskKey, list[m.RollbackEvent]] | None = None
        """The rollbacks of each task, newest first; None if it must be made again."""

    def take(self, topic: str, received: Heard) -> list[Change]:
        """Apply one record of a topic, named as in the catalog; return what it has changed."""
        record = received.record
        self.heard_at = max(self.heard_at, record.timestamp)
        if received.message is not None:
            if _has_a_time(received.message):
                return self.hear(received.message)
            self.unreadable += 1
            return []
        if topic == TASKS and record.value is None and record.key is not None:
            return self._drop(record.key)
        self.unreadable += 1
        return []

    def hear(self, message: Any) -> list[Change]:
        """Apply one message; return what it has changed."""
        if is_drill(getattr(message, "agent_name", None)):
            return []
        takes = _TAKES.get(type(message))
        change = None if takes is None else takes(self, message)
        return [] if change is None else [change]

    @property
    def open_alerts(self) -> Sequence[m.Alert]:
        """The critical alerts and warnings that are open, newest first."""
        return sorted(self._open_alerts.values(), key=lambda one: (one.timestamp, one.alert_id), reverse=True)

    @property
    def proposals(self) -> dict[str, m.Proposal]:
        """All open proposals, and the newest closed ones, by id."""
        return self._open_proposals | dict(self._closed_proposals)

    @property
    def open_proposals(self) -> Sequence[m.Proposal]:
        """Proposals that wait for a person, most confident first; readers check ``expires_at`` themselves."""
        found = self._open_proposals.values()
        return sorted(found, key=lambda proposal: (-proposal.confidence, proposal.timestamp, proposal.proposal_id))

    def facts_of(self, key: TaskKey) -> Sequence[DecisionFact]:
        """Return the newest facts of a task on ``crl.decisions``, newest first."""
        return list(reversed(self._facts_of.get(key, ())))

    def points_of(self, key: TaskKey) -> Sequence[Point]:
        """Return the course of a task's active variant as far as its snapshots were seen, oldest first."""
        return list(self._points_of.get(key, ()))

    def receipts_of(self, key: TaskKey) -> Mapping[str, m.Receipt]:
        """Return who has adopted the newest epoch that has a receipt, by runtime."""
        return self._receipts_of.get(key, {})

    def rollbacks_of(self, key: TaskKey) -> Iterator[m.RollbackEvent]:
        """Return the known rollbacks of a task, newest first."""
        # Every row of every page asks; to go through all rollbacks each time took most of a page's time.
        if self._rollbacks_of is None:
            self._rollbacks_of = {}
            for event in self.rollbacks.values():
                self._rollbacks_of.setdefault(_key(event), []).append(event)
        return iter(self._rollbacks_of.get(key, ()))

    def degradations_of(self, key: TaskKey) -> Iterator[m.DegradationAlert]:
        """Return the known degradations and recoveries of a task's variants, newest first."""
        return (event for event in self.degradations.values() if key == (event.agent_name, event.task_type))

    def _drop(self, key: bytes) -> list[Change]:
        """Forget a task whose record was deleted."""
        try:
            task = TaskKey.decode(key)
        except ValueError:
            return []
        for kept in (self.actives, self._facts_of, self._points_of, self._receipts_of):
            kept.pop(task, None)
        return [Change("task", task, str(task))] if self.tasks.pop(task, None) else []

    def _take_overview(self, page: m.Overview) -> Change | None:
        if self.overview is not None and _version(page) <= _version(self.overview):
            return None
        self.overview = page
        return Change("overview", None, "overview")

    def _take_task(self, snapshot: m.TaskSnapshot) -> Change | None:
        key = _key(snapshot)
        known = self.tasks.get(key)
        if known is not None and _version(snapshot) <= _version(known):
            return None
        self.tasks[key] = snapshot
        if (point := _point(snapshot)) is not None:
            _keep(self._points_of, key, point, self._share(POINTS_KEPT))
        return Change("task", key, str(key))

    def _take_active(self, active: m.ActiveVariant) -> Change | None:
        key = _key(active)
        known = self.actives.get(key)
        if known is not None and _epoch(active) <= _epoch(known):
            return None
        self.actives[key] = active
        return Change("active", key, str(key))

    def _take_rollback(self, event: m.RollbackEvent) -> Change | None:
        kept = self.rollbacks.put(event.rollback_id, from_text(event.timestamp), event)
        if kept:
            self._rollbacks_of = None
        return Change("rollback", _key(event), event.rollback_id) if kept else None

    def _take_degradation(self, event: m.DegradationAlert) -> Change | None:
        kept = self.degradations.put(event.alert_id, from_text(event.timestamp), event)
        return Change("degradation", _key(event), event.alert_id) if kept else None

    def _take_fact(self, fact: DecisionFact) -> Change | None:
        name = fact_id_of(fact)
        key = task_of(fact)
        if key is not None:
            if any(fact_id_of(known) == name for known in self._facts_of.get(key, ())):
                return None
            _keep(self._facts_of, key, fact, self._share(TASK_FACTS_KEPT))
        kept = self.facts.put(name, from_text(fact.timestamp), fact)
        return Change("fact", key, name) if kept or key is not None else None

    def _take_alert(self, alert: m.Alert) -> Change | None:
        is_new = self.alerts.put(alert.alert_id, from_text(alert.timestamp), alert)
        if alert.kind not in MOMENTS and self._is_latest(alert):
            self._open_alerts.pop((alert.kind, alert.subject), None)
            if not alert.resolved and alert.severity != "info":
                self._open_alerts[alert.kind, alert.subject] = alert
            while len(self._open_alerts) > OPEN_ALERTS_KEPT:
                del self._open_alerts[next(iter(self._open_alerts))]
            is_new = True
        return Change("alert", task_of(alert), alert.alert_id) if is_new else None

    def _is_latest(self, alert: m.Alert) -> bool:
        """Return whether no newer alert of this kind about this subject is known, and remember that there is one."""
        name = (alert.kind, alert.subject)
        time = from_text(alert.timestamp), -1 if alert.position is None else alert.position.offset
        if time <= self._alert_times.get(name, (-1, -1)):
            return False
        self._alert_times.pop(name, None)
        self._alert_times[name] = time
        while len(self._alert_times) > 2 * OPEN_ALERTS_KEPT:
            del self._alert_times[next(iter(self._alert_times))]
        return True

    def _take_proposal(self, proposal: m.Proposal) -> Change | None:
        name = proposal.proposal_id
        known = self._open_proposals.get(name) or self._closed_proposals.get(name)
        if known is not None and proposal.revision <= known.revision:
            return None
        if proposal.status in OPEN_STATUSES:
            self._open_proposals[name] = proposal
        elif not self._closed_proposals.put(name, _last_step(proposal), proposal) and known is None:
            return None
        else:
            self._closed_proposals.replace(name, proposal)
            self._open_proposals.pop(name, None)
        return Change("proposal", _key(proposal), name)

    def _take_receipt(self, receipt: m.Receipt) -> Change | None:
        key = _key(receipt)
        known = self._receipts_of.setdefault(key, {})
        newest = next(iter(known.values())).epoch if known else -1
        if receipt.epoch < newest or (receipt.epoch == newest and receipt.runtime_id in known):
            return None
        if receipt.epoch > newest:
            known.clear()
        if len(known) >= RUNTIMES_KEPT:
            return None
        known[receipt.runtime_id] = receipt
        return Change("receipt", key, receipt.receipt_id)

    def _share(self, most: int) -> int:
        """Return how many items one task may keep, so that all tasks together stay within ``ALL_TASKS_KEPT``."""
        return max(FEWEST_KEPT, min(most, ALL_TASKS_KEPT // max(1, len(self.tasks))))


def fact_id_of(fact: DecisionFact) -> str:
    """Return the id of a fact of ``crl.decisions``."""
    return id_of(fact)


def task_of(message: Any) -> TaskKey | None:
    """Return the task that a message is about; None if it is not about one task."""
    agent_name, task_type = getattr(message, "agent_name", None), getattr(message, "task_type", None)
    return None if agent_name is None or task_type is None else TaskKey(agent_name, task_type)


def active_of(snapshot: m.TaskSnapshot) -> m.VariantSnapshot | None:
    """Return the active variant of a task; None if it has none."""
    return next((variant for variant in snapshot.variants if variant.variant_id == snapshot.active_variant), None)


def _has_a_time(message: Any) -> bool:
    """Return whether the time of a message exists: one record of 30 February must not stop the reading of the rest."""
    text = getattr(message, "timestamp", None)  # an ``ActiveVariant`` has none
    try:
        return text is None or from_text(text) is not None
    except ValueError:
        return False


def _key(message: Any) -> TaskKey:
    return TaskKey(message.agent_name, message.task_type)


def _version(message: m.Overview | m.TaskSnapshot) -> tuple[int, int]:
    return message.incarnation, message.as_of.offset


def _epoch(active: m.ActiveVariant) -> tuple[int, int, int]:
    return active.incarnation, active.epoch, active.position.offset


def _last_step(proposal: m.Proposal) -> int:
    return from_text(proposal.history[-1].timestamp if proposal.history else proposal.timestamp)


def _point(snapshot: m.TaskSnapshot) -> Point | None:
    active = active_of(snapshot)
    if active is None:
        return None
    return Point(
        from_text(snapshot.timestamp),
        snapshot.n_outcomes,
        snapshot.epoch,
        active.variant_id,
        active.window.success_rate,
        active.window.avg_reward,
        active.q_value,
        active.e_value,
        active.success_rate if active.baseline is None else active.baseline.success_rate,
    )


def _keep(kept: dict[TaskKey, deque[Kept]], key: TaskKey, item: Kept, most: int) -> None:
    """Append an item about a task and drop its oldest ones beyond ``most``."""
    items = kept.setdefault(key, deque())
    items.append(item)
    while len(items) > most:
        items.popleft()


_TAKES: Final[dict[type, Any]] = {
    m.Overview: Fleet._take_overview,  # noqa: SLF001 - the class's own methods
    m.TaskSnapshot: Fleet._take_task,  # noqa: SLF001
    m.ActiveVariant: Fleet._take_active,  # noqa: SLF001
    m.RollbackEvent: Fleet._take_rollback,  # noqa: SLF001
    m.DegradationAlert: Fleet._take_degradation,  # noqa: SLF001
    m.Alert: Fleet._take_alert,  # noqa: SLF001
    m.Proposal: Fleet._take_proposal,  # noqa: SLF001
    m.Receipt: Fleet._take_receipt,  # noqa: SLF001
    **dict.fromkeys(get_args(DecisionFact), Fleet._take_fact),  # noqa: SLF001
}
