"""The problems of this process: each with a name, when it began, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import time
from typing import Any, Final, NamedTuple

from crl_stream.core.instant import to_text
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.stages.inspection import standing_fleet
from crl_stream.stages.partition import decode_partition
from crl_stream.worker.member import Member
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.policy_announcement import pending_partitions, policy_of
from crl_stream.worker.topic_watch import FRESH_SECONDS, TopicWatch

END_TRANSACTION: Final = "end it: kafka-transactions.sh --bootstrap-server ... find-hanging, then abort"
UNOWNED_SECONDS: Final = 15.0
"""How many seconds partitions may be without an owner while they move to another worker."""


LATE_SECONDS: Final = 15.0
"""How many seconds a snapshot may be overdue before it is reported; two seconds are normal."""


class Finding(NamedTuple):
    """One problem of the process, or a note that needs no action."""

    name: str
    subject: str
    since: int
    """When the problem began, in milliseconds since the epoch."""
    text: str
    action: str
    trouble: bool = True
    """Whether the finding needs action; False for a note."""

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON, for programs."""
        return self._asdict() | {"since": to_text(self.since)}


class _Seen(NamedTuple):
    name: str
    subject: str
    text: str
    action: str
    since: float | None = None
    """When the problem began, in seconds since the epoch; None stands for the time when it was first seen."""
    patience: float = 0.0
    """How many seconds the problem may last before it is reported."""
    trouble: bool = True


class Health:
    """Finds problems with a process's members."""

    def __init__(self, members: Sequence[Member], watch: TopicWatch) -> None:
        self.members, self.watch = members, watch
        self._since: dict[tuple[str, str], float] = {}

    async def fresh_findings(self) -> list[Finding]:
        """Query Kafka, then return the current problems, so that topics recreated a moment ago are found too."""
        if await self.watch.is_fresh():
            return self.findings()
        where = self.members[0].settings.kafka.bootstrap_servers
        text = f"Kafka takes longer than {FRESH_SECONDS:g} s to answer at {where}: other findings may be out of date."
        slow = Finding("kafka", where, round(time() * 1_000), text, "check the broker, then run the check again")
        return [slow, *self.findings()] if self.watch.silent_since is None else self.findings()

    def findings(self) -> list[Finding]:
        """Return the current problems first, then notes."""
        now, found = time(), list(self._look())
        known = {(seen.name, seen.subject) for seen in found}
        self._since = {key: since for key, since in self._since.items() if key in known}
        findings = []
        for seen in found:
            since = self._since.setdefault((seen.name, seen.subject), seen.since or now)
            if now - since >= seen.patience:
                since_ms = round(since * 1_000)
                findings.append(Finding(seen.name, seen.subject, since_ms, seen.text, seen.action, seen.trouble))
        return sorted(findings, key=lambda finding: not finding.trouble)

    def _look(self) -> Iterator[_Seen]:
        watch = self.watch
        if watch.change is not None:
            yield _Seen("topics", "topics", watch.change.message, watch.change.hint or "")
        elif watch.missing:
            names = ", ".join(sorted(watch.missing))
            yield _Seen("topics", "topics", f"Kafka does not currently list {names}.", "`crl topics apply` creates it")
        if watch.silent_since is not None:
            where = self.members[0].settings.kafka.bootstrap_servers
            text = f"Kafka does not answer at {where}."
            action = "check that the broker is running; the worker continues when Kafka responds"
            yield _Seen("kafka", where, text, action, watch.silent_since)
        for member in self.members:
            yield from self._look_at(member)
            if isinstance(member, Monitor) and member.recovered:
                yield from _look_at_monitor(member)
        said = set()
        for (group, place), lag in watch.still().items():
            subject = f"{group} {place.topic} partition {place.partition}"
            if lag.in_transaction:
                said.add(place)
                text = f"A transaction that was left open holds back {lag.records} records of {subject}."
                action = END_TRANSACTION
            else:
                text = f"{subject} is stuck at offset {lag.done}, with {lag.records} records to read."
                action = "the worker's log says what it is waiting for; a restart continues from there"
            yield _Seen("lag", subject, text, action, lag.since)
        for place, held in watch.left_open().items():
            if place not in said:
                subject = f"{place.topic} partition {place.partition}"
                text = f"A transaction that was left open hides {held.records} records of {subject} from its readers."
                yield _Seen("transaction", subject, text, END_TRANSACTION, held.since)

    @staticmethod
    def _look_at(member: Member) -> Iterator[_Seen]:
        if dead := member.dead:
            text = f"{member.group}: {', '.join(dead)} ended."
            yield _Seen("agents", member.group, text, "restart the worker: it continues from its partition row")
        elif not member.recovered:
            text = f"{member.group} is joining its group or reading back its state."
            yield _Seen("recovering", member.group, text, "wait; the worker's log shows its progress")
        for name, stalled in member.stalled.items():
            yield _Seen("source", name, stalled.text, stalled.action, stalled.since, trouble=False)


def _look_at_monitor(monitor: Monitor) -> Iterator[_Seen]:
    if pending := pending_partitions(monitor):
        listed = ", ".join(map(str, pending))
        text = f"Partitions {listed} have not applied the fleet's policy yet."
        yield _Seen("policy_pending", "policy", text, "wait until they have read it; `crl policy show` says who set it")
    yield from _late_snapshots(monitor)
    yield from _fleet_hold(monitor)
    policy = policy_of(monitor)
    if policy["says"]:
        yield _Seen("policy_differs", "policy", policy["says"], "`crl policy apply` changes it", trouble=False)
    owned: set[int] = set()
    for topics in monitor.app.assignor.tables_metadata().values():
        owned |= set(topics.get(monitor.table.changelog_topic_name, ()))
    if unowned := sorted(set(range(monitor.settings.kafka.partitions)) - owned):
        listed = ", ".join(map(str, unowned))
        text = f"No worker reads partitions {listed}."
        yield _Seen("unowned", "partitions", text, "start another worker", patience=UNOWNED_SECONDS)


def _late_snapshots(monitor: Monitor) -> Iterator[_Seen]:
    for partition in monitor.partitions():
        late = monitor.ticking.overdue(partition)
        if late > LATE_SECONDS:
            subject = f"partition {partition}"
            text = (
                f"crl.tasks is behind: snapshots of {subject} have been due for {late:.0f} s; pins and holds end late."
            )
            action = "the worker's log says why no tick is written; a restart continues from there"
            yield _Seen("snapshots", subject, text, action, time() - late)


def _fleet_hold(monitor: Monitor) -> Iterator[_Seen]:
    """Yield a reminder of the fleet hold; it is only a note, because a worker under a hold is still ready."""
    table, now = monitor.table, round(time() * 1_000)
    rows = [table.partition_row(partition) for partition in monitor.partitions()]
    holds = [hold for row in rows if (hold := standing_fleet(decode_partition(row).fleet, now)) is not None]
    if holds:
        hold = min(holds, key=lambda one: (not stops_all(one), one.since))
        until = "" if hold.until is None else f" until {to_text(hold.until)}"
        why = f"{hold.actor}{until}: {hold.reason or 'no reason given'}"
        if any(stops_all(one) for one in holds):
            text = f"The fleet is held by {why}. No rollbacks happen."
        else:
            text = f"Promotions are stopped in the whole fleet by {why}. Rollbacks still happen."
        yield _Seen("fleet_held", "fleet", text, "`crl resume --all` releases it", hold.since / 1_000, trouble=False)
