"""The fold of notes: each note counts once, however often it is repeated, and the totals equal the sums of all rows.

A note changes a task's row, and changes the totals by the difference in what the row adds.  The totals are written
before the rows (``changed`` keeps that order).  After a crash between the two writes, the totals have counted notes
that the rows have not.  When those notes are read again, they change only the rows, so that both agree in the end.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import Any, Final

from crl_stream.core.ids import fact_id
from crl_stream.core.instant import to_text
from crl_stream.core.messages import Alert, AlertNote, ProposalNote, RollbackNote, TaskNote
from crl_stream.core.overview.rows import (
    AGENT_PREFIX,
    ALERTS_KEY,
    DAY,
    RANKED,
    TOTALS_KEY,
    AgentEntry,
    Place,
    Share,
    TaskEntry,
    Totals,
    decode_agent,
    decode_task,
    decode_totals,
    encode_row,
    rollback_time,
    share_of,
)
from crl_stream.core.overview.taking import take_alert, take_proposal, take_task
from crl_stream.core.version import ENGINE_VERSION

MONTH: Final = 30 * DAY
WEEK: Final = 7 * DAY
RATE_LIMIT: Final = 3
"""The largest number of enforced rollbacks a week that causes no alert (guide: "Alert if >3 rollbacks per week")."""
RECENT: Final = 10
MAX_TIMES: Final = 1_000


class Ledger:
    """The overview during one batch: each row is decoded when it is first needed, and encoded once."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = rows
        data = rows.get(TOTALS_KEY)
        self.totals = Totals() if data is None else decode_totals(data)
        self._tasks: dict[bytes, TaskEntry] = {}
        self._agents: dict[bytes, AgentEntry] = {}
        self._touched: set[bytes] = set()
        self.page_changed = False
        """Whether the page has changed since the batch began."""

    # -- notes -------------------------------------------------------------------------------------
    def apply(self, note: Any, at: Place) -> tuple[bool, list[Alert]]:
        """Process one note; return whether it contained anything new, and the alerts that follow."""
        totals = self.totals
        fresh = (at.incarnation, at.offset) > (totals.incarnation, totals.offset)
        ended = self._advance(at) if fresh else False
        if isinstance(note, RollbackNote):
            news = self._take_rollback(note) if fresh else False
        else:
            news = self._take_row(note, at, fresh=fresh)
        if not fresh:
            return news, []
        alerts = self._watch_rate(at)
        if news or ended or alerts:
            totals.page_incarnation, totals.page_offset, totals.page_time = at.incarnation, at.offset, totals.time
            self.page_changed = True
        return news, alerts

    def _advance(self, at: Place) -> bool:
        """Advance the time to when the note was appended; return True if anything ended as a result."""
        totals = self.totals
        totals.incarnation, totals.offset = at.incarnation, at.offset
        totals.time = max(totals.time, at.time)
        gone = bisect_left(totals.enforced, (totals.time - MONTH + 1, ""))
        del totals.enforced[:gone]
        if not 0 < totals.next_end <= totals.time:
            return gone > 0
        waiting = totals.proposals.total + totals.alerts.total
        shares = list(self._shares())
        for name in ("proposals", "alerts"):
            getattr(totals, name).refill(rank for share in shares for rank in getattr(share, name))
        totals.next_end = min((share.next_end for share in shares if share.next_end), default=0)
        return gone > 0 or waiting != totals.proposals.total + totals.alerts.total

    def _take_rollback(self, note: RollbackNote) -> bool:
        totals, when = self.totals, rollback_time(note)
        news = False
        if note.enforced and when[0] > totals.time - MONTH and when not in totals.enforced:
            insort(totals.enforced, when)
            if len(totals.enforced) > MAX_TIMES:
                news = totals.enforced[0] != when
                del totals.enforced[0]
            else:
                news = True
        known = [rollback_time(other) for other in totals.recent]
        if when not in known:
            place = sum(other > when for other in known)
            totals.recent.insert(place, note)
            del totals.recent[RECENT:]
            news = news or place < RECENT
        return news

    def _take_row(self, note: TaskNote | ProposalNote | AlertNote, at: Place, *, fresh: bool) -> bool:
        about_task = note.agent_name is not None and note.task_type is not None
        key = f"{note.agent_name}/{note.task_type}".encode() if about_task else ALERTS_KEY
        row = self.task(key)
        if (at.incarnation, at.offset) <= (row.incarnation, row.offset):
            return False
        name = key.decode()
        before = share_of(name, row, self.totals.time)
        if isinstance(note, TaskNote):
            news = take_task(row, note)
        elif isinstance(note, ProposalNote):
            news = take_proposal(row, note, at.time)
        else:
            news = take_alert(row, note, at.time)
        if not news:
            return False
        row.incarnation, row.offset = at.incarnation, at.offset
        self._touched.add(key)
        after = share_of(name, row, self.totals.time)
        agents = 0
        if after.has_variants != before.has_variants:
            agents = self._count_task(str(note.agent_name), 1 if after.has_variants else -1, at)
        if fresh:
            self._settle(before, after, agents)
        return True

    def _count_task(self, agent_name: str, change: int, at: Place) -> int:
        """Add or remove a task with variants; return the change in the number of agents that have such a task."""
        key = AGENT_PREFIX + agent_name.encode()
        agent = self._agents.get(key)
        if agent is None:
            data = self._rows.get(key)
            agent = self._agents[key] = AgentEntry() if data is None else decode_agent(data)
        if (at.incarnation, at.offset) <= (agent.incarnation, agent.offset):
            return 0
        had = agent.tasks > 0
        agent.incarnation, agent.offset, agent.tasks = at.incarnation, at.offset, agent.tasks + change
        self._touched.add(key)
        return int(agent.tasks > 0) - int(had)

    def _settle(self, before: Share, after: Share, agents: int) -> None:
        """Add the difference between ``before`` and ``after`` to the totals."""
        totals = self.totals
        totals.tasks += after.tasks - before.tasks
        totals.entries += after.entries - before.entries
        totals.agents += agents
        for name in RANKED:
            old, new = getattr(before, name), getattr(after, name)
            if old == new:
                continue
            ranking = getattr(totals, name)
            for rank in old:
                if rank not in new:
                    ranking.remove(rank)
            for rank in new:
                if rank not in old:
                    ranking.add(rank)
            if ranking.is_short:
                ranking.refill(rank for share in self._shares() for rank in getattr(share, name))
        if after.next_end and not 0 < totals.next_end <= after.next_end:
            totals.next_end = after.next_end

    # -- rollback rate -----------------------------------------------------------------------------
    def _watch_rate(self, at: Place) -> list[Alert]:
        """Return an alert if the rollback rate has risen above its limit, or the end of that alert if the rate fell."""
        totals = self.totals
        enforced = totals.enforced
        number = len(enforced) - bisect_left(enforced, (totals.time - WEEK + 1, ""))
        if (number > RATE_LIMIT) == bool(totals.rate_alert):
            return []
        over = bool(totals.rate_alert)
        kind = "rollback_rate over" if over else "rollback_rate"
        alert_id = fact_id("alert", totals.time, kind, at.incarnation, at.offset)
        cause_id = totals.rate_alert if over else enforced[-1][1]
        totals.rate_alert = "" if over else alert_id
        return [
            Alert(
                alert_id=alert_id,
                timestamp=to_text(totals.time),
                kind="rollback_rate",
                severity="info" if over else "warning",
                subject="all tasks",
                action="no action needed: the rate is back to normal" if over else "look at the latest rollbacks",
                text=f"{'Rollback rate is normal again' if over else 'High rollback rate'}: {number} in last 7 days",
                cause_id=cause_id,
                number=float(number),
                limit=float(RATE_LIMIT),
                resolved=over,
                engine_version=ENGINE_VERSION,
            )
        ]

    # -- rows --------------------------------------------------------------------------------------
    def task(self, key: bytes) -> TaskEntry:
        """Return the current row of a task, or a new one if nothing is known about the task."""
        row = self._tasks.get(key)
        if row is None:
            data = self._rows.get(key)
            row = self._tasks[key] = TaskEntry() if data is None else decode_task(data)
        return row

    def _shares(self) -> Iterator[Share]:
        """Return what every row adds to the totals."""
        for key in self._rows.keys() | self._touched:
            if key == ALERTS_KEY or not key.startswith(b"!"):
                row = self._tasks.get(key) or decode_task(self._rows[key])
                yield share_of(key.decode(), row, self.totals.time)

    def changed(self) -> dict[bytes, bytes]:
        """Return the rows to write, in the order in which they must be written: totals, agents, tasks."""
        found = {TOTALS_KEY: encode_row(self.totals)} if self.totals.offset >= 0 else {}
        for rows in (self._agents, self._tasks):
            for key in sorted(self._touched & rows.keys()):
                found[key] = encode_row(rows[key])
        return found
