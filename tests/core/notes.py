"""Notes for tests: builders, random notes, and a recount that remembers everything and keeps no sums."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.instant import from_text, to_text

NOON = from_text("2025-11-19T12:00:00Z")
HOUR = 3_600_000
DAY = 24 * HOUR
AGENT, TASK = "backend-architect", "api-design"


def at(days: float) -> str:
    """Return the instant that is ``days`` after noon on the day of the guide's examples."""
    return to_text(NOON + round(days * DAY))


def a_rollback(rollback_id: str = "rb-1", days: float = 0, **fields: Any) -> m.RollbackNote:
    given = {
        "rollback_id": rollback_id,
        "timestamp": at(days),
        "agent_name": AGENT,
        "task_type": TASK,
        "from_variant": "api-optimized",
        "to_variant": "default",
        "reason": "Success rate dropped from 90% to 75% (16.7% drop)",
        "epoch": 3,
        "enforced": True,
        "undo_command": f"crl undo {AGENT}/{TASK} --epoch 3",
    }
    return m.RollbackNote(**(given | fields))


def an_alert(kind: str = "no_target", days: float = 0, about: str = "default", **fields: Any) -> m.AlertNote:
    subject = f"{AGENT}/{TASK} {about}"
    given: dict[str, Any] = {
        "alert_id": f"alert-{kind}-{about}-{days}",
        "timestamp": at(days),
        "kind": kind,
        "severity": "critical",
        "subject": subject,
        "text": f"{subject}: {kind}",
        "cause_id": "deg-1",
        "agent_name": AGENT,
        "task_type": TASK,
    }
    return m.AlertNote(**(given | fields))


def a_proposal(proposal_id: str = "prop-1", days: float = 0, **fields: Any) -> m.ProposalNote:
    given: dict[str, Any] = {
        "proposal_id": proposal_id,
        "timestamp": at(days),
        "agent_name": AGENT,
        "task_type": TASK,
        "proposal_type": "create_specialized_variant",
        "target_variant": "default-v2",
        "status": "pending",
        "confidence": 0.75,
        "revision": 1,
        "expires_at": at(days + 30),
    }
    return m.ProposalNote(**(given | fields))


def a_standing(variant_id: str = "default", q: float = 0.95, n: int = 40, **fields: Any) -> m.Standing:
    return m.Standing(**({"variant_id": variant_id, "q_value": q, "n_visits": n, "active": False} | fields))


def a_task(offset: int = 0, days: float = 0, **fields: Any) -> m.TaskNote:
    given: dict[str, Any] = {
        "agent_name": AGENT,
        "task_type": TASK,
        "timestamp": at(days),
        "incarnation": 0,
        "as_of": m.Position(0, offset),
        "active_variant": "default",
        "epoch": 1,
        "variants": 2,
        "high_confidence": [],
        "degraded": [],
        "no_target": False,
    }
    return m.TaskNote(**(given | fields))


# -- random notes ------------------------------------------------------------------------------------
_tasks = st.sampled_from([("ada", "t1"), ("ada", "t2"), ("bob", "t1"), ("cyd", "t9")])
_variants = st.sampled_from(["v1", "v2", "v3"])
_levels = st.sampled_from([0.9, 0.91, 0.95, 1.0])
_standings = st.lists(
    st.builds(a_standing, _variants, _levels, st.integers(10, 30)), max_size=3, unique_by=lambda s: s.variant_id
)
_task_notes = st.builds(
    lambda task, offset, **fields: a_task(offset, offset / 8, agent_name=task[0], task_type=task[1], **fields),
    _tasks,
    st.integers(0, 60),
    incarnation=st.sampled_from([0, 0, 0, 1]),
    active_variant=st.none() | _variants,
    epoch=st.integers(0, 6),
    variants=st.integers(0, 4),
    high_confidence=_standings,
    degraded=_standings,
    no_target=st.booleans(),
)
_rollbacks = st.integers(0, 30).map(
    lambda n: a_rollback(f"rb-{n:02d}", n * 7 % 31 / 2, enforced=n % 5 > 0, epoch=n % 7, agent_name="ada")
)
_proposals = st.builds(
    lambda task, number, revision, status, confidence: a_proposal(
        f"prop-{task[0]}-{task[1]}-{number}",
        revision,
        agent_name=task[0],
        task_type=task[1],
        revision=revision,
        status=status,
        confidence=confidence,
        expires_at=at(revision + number * 4),
    ),
    _tasks,
    st.integers(0, 4),
    st.integers(1, 6),
    st.sampled_from(["pending", "pending", "deferred", "approved", "rejected", "superseded"]),
    st.sampled_from([0.5, 0.7, 0.75, 0.85]),
)
_alerts = st.builds(
    lambda task, kind, about, offset, severity, resolved: an_alert(
        kind,
        offset / 8,
        alert_id=f"alert-{offset}",
        subject=f"{task[0]}/{task[1]} {about}",
        agent_name=task[0],
        task_type=task[1],
        severity=severity,
        resolved=resolved,
        position=m.Position(0, offset),
    ),
    _tasks,
    st.sampled_from(["degradation", "no_target", "held_degradation", "rollback_stuck", "fold_failure", "rollback"]),
    _variants,
    st.integers(0, 60),
    st.sampled_from(["critical", "critical", "warning"]),
    st.booleans(),
)
_gaps = st.builds(
    lambda days, partition: an_alert(
        "data_gap", days, subject=f"crl.invocations partition {partition}", agent_name=None, task_type=None
    ),
    st.integers(0, 10),
    st.integers(0, 2),
)
notes = _task_notes | _task_notes | _rollbacks | _proposals | _alerts | _gaps
steps = st.sampled_from([0, 0, 1, HOUR, HOUR, DAY, 3 * DAY, 8 * DAY])


class Noted(NamedTuple):
    """A note, and the time at which it was appended."""

    note: Any
    time: int


_noted = st.tuples(notes, steps)
histories = (st.lists(_noted, max_size=20) | st.lists(_noted, min_size=20, max_size=80)).map(
    lambda pairs: [Noted(note, NOON + sum(step for _, step in pairs[: i + 1])) for i, (note, _) in enumerate(pairs)]
)


# -- the recount -------------------------------------------------------------------------------------
class Recount:
    """Computes from all notes what the page must show."""

    def __init__(self, history: list[Noted]) -> None:
        self.now = max((noted.time for noted in history), default=0)
        self.tasks: dict[tuple[str, str], m.TaskNote] = {}
        self.since: dict[tuple[str, str, str], str] = {}
        self.proposals: dict[str, m.ProposalNote] = {}
        self.alerts: dict[tuple[str, str], m.AlertNote] = {}
        self.over: set[str] = set()
        self.rollbacks: dict[str, m.RollbackNote] = {}
        for noted in history:
            getattr(self, f"_{type(noted.note).__name__}")(noted.note)

    def _TaskNote(self, note: m.TaskNote) -> None:  # noqa: N802 - named like the type
        key = note.agent_name, note.task_type
        known = self.tasks.get(key)
        if known and (known.incarnation, known.as_of.offset) >= (note.incarnation, note.as_of.offset):
            return
        self.tasks[key] = note
        degraded = {(*key, standing.variant_id) for standing in note.degraded}
        self.since = {k: t for k, t in self.since.items() if k[:2] != key or k in degraded}
        self.since |= dict.fromkeys(degraded - self.since.keys(), note.timestamp)
        self._settle()

    def _ProposalNote(self, note: m.ProposalNote) -> None:  # noqa: N802
        known = self.proposals.get(note.proposal_id)
        if known is None or known.revision < note.revision:
            self.proposals[note.proposal_id] = note

    def _RollbackNote(self, note: m.RollbackNote) -> None:  # noqa: N802
        self.rollbacks.setdefault(note.rollback_id, note)

    def _AlertNote(self, note: m.AlertNote) -> None:  # noqa: N802
        def order(alert: m.AlertNote) -> tuple[str, int]:
            return alert.timestamp, alert.position.offset if alert.position else -1

        known = self.alerts.get((note.kind, note.subject))
        if known is None or order(known) < order(note):
            self.alerts[note.kind, note.subject] = note
            self.over.discard(f"{note.kind} {note.subject}")
            self._settle()

    def _settle(self) -> None:
        """End, for good, each alert about a degraded variant that the task's note contradicts."""
        for (kind, subject), alert in self.alerts.items():
            task = self.tasks.get((alert.agent_name or "", alert.task_type or ""))
            if kind not in {"degradation", "held_degradation", "no_target"} or task is None:
                continue
            if (task.timestamp, task.as_of.offset) < (alert.timestamp, alert.position.offset if alert.position else -1):
                continue
            about = subject.split(" ")[1]
            stands = task.active_variant == about and about in {v.variant_id for v in task.degraded}
            if not stands or (kind == "no_target" and not task.no_target):
                self.over.add(f"{kind} {subject}")

    def facts(self) -> dict[str, Any]:
        """Return everything that can be counted, under the names used on the page."""
        ever = sorted(self.rollbacks.values(), key=lambda r: (r.timestamp, r.rollback_id), reverse=True)
        week, month = self.now - 7 * DAY, self.now - 30 * DAY
        times = [from_text(r.timestamp) for r in ever if r.enforced]
        pending = [
            p
            for p in self.proposals.values()
            if p.status in {"pending", "deferred"} and from_text(p.expires_at) > self.now
        ]
        alerts = [
            a
            for (kind, subject), a in self.alerts.items()
            if a.severity == "critical"
            and not a.resolved
            and kind != "rollback"
            and f"{kind} {subject}" not in self.over
            and not (kind in {"fold_failure", "data_gap"} and from_text(a.timestamp) + 7 * DAY <= self.now)
        ]
        return {
            "tasks": len(self.tasks),
            "agents": len({agent for (agent, _), note in self.tasks.items() if note.variants}),
            "q_table_entries": sum(note.variants for note in self.tasks.values()),
            "in_month": sorted(time for time in times if time > month),
            "in_week": sum(time > week for time in times),
            "recent": [r.rollback_id for r in ever[:10]],
            "pending": sorted((-p.confidence, p.timestamp, p.proposal_id) for p in pending),
            "high": sorted(
                (-v.q_value, -v.n_visits, *key, v.variant_id)
                for key, note in self.tasks.items()
                for v in note.high_confidence
            ),
            "degraded": sorted(
                (self.since[(*key, v.variant_id)], *key, v.variant_id)
                for key, note in self.tasks.items()
                for v in note.degraded
            ),
            "alerts": sorted((a.kind, a.subject, a.alert_id) for a in alerts),
        }
