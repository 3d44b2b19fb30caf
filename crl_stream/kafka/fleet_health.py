"""The health of an installation as Kafka sees it, even if no worker answers: which services are down or behind.

Each problem is a finding, in the same form as in the workers' own view ``/api/health``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from time import time
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from crl_stream.core.instant import to_text
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.kafka.connection import group_state
from crl_stream.kafka.fleet_policy import difference_line, differences_of, read_fleet_policy
from crl_stream.kafka.log_consumer import READ_UNCOMMITTED
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.settings import Settings
from crl_stream.settings.model import DEMO_APP_ID
from crl_stream.wire.topics import Topics

_TIMEOUT_MS: Final = 5_000
BEHIND_SECONDS: Final = 60.0
"""A record that has waited this long to be read counts as a problem."""
_FIRST_SECONDS: Final = 2.0
"""How long to search for the oldest records that wait to be read."""
_MOST_PLACES: Final = 64
_RUNNING: Final = frozenset(("Stable", "PreparingRebalance", "CompletingRebalance"))
SERVICES: Final = ("proposer", "overview", "tags", "files", "notifier")
_NAMES: Final = {
    "monitor": "The monitor",
    "proposer": "The proposer",
    "overview": "The overview",
    "tags": "The tags service",
    "files": "The files service",
    "notifier": "The notifier",
    "mirror": "The mirror of prompt stores",
}
_TABLES: Final = {"monitor": "tasks", "proposer": "proposals", "overview": "overview", "tags": "tags"}
_START: Final = {
    "monitor": "start it with `crl worker`, or everything with `crl up`",
    "notifier": "no alerts are sent: start it with `crl worker --role notifier`, or everything with `crl up`",
}


class Behind(NamedTuple):
    """Records that a consumer group has not read yet."""

    records: int
    since: int | None
    """When the first unread record was written, in milliseconds since the epoch; None when it cannot be read."""
    in_transaction: bool


def finding(
    name: str, subject: str, text: str, action: str, since: int | None = None, *, trouble: bool = True
) -> dict[str, Any]:
    """Build a finding in the form of the workers' views; ``since`` in milliseconds since the epoch, None if unknown."""
    told = to_text(since) if since else None
    return {"name": name, "subject": subject, "since": told, "text": text, "action": action, "trouble": trouble}


async def inspect_kafka(settings: Settings, access: Access | None = None) -> list[dict[str, Any]]:
    """Return the problems of the installation that Kafka can show; raise ``CrlError`` if Kafka does not answer.

    ``access`` defaults to the connection of ``settings``.
    """
    async with KafkaSession.of(access or settings.kafka) as session:
        admin = TopicAdmin(session, settings.worker.app_id)
        wrong = [d for d in await admin.differences() if d.unsafe]
        if wrong:
            return [finding("topics", d.topic, f"{d}.", "run `crl topics apply`") for d in wrong]
        return await _group_findings(settings, session) + await _policy_findings(settings, session)


async def _group_findings(settings: Settings, session: KafkaSession) -> list[dict[str, Any]]:
    """Return a finding for each service that is not running or is behind."""
    async with session.administering(request_timeout_ms=_TIMEOUT_MS) as admin:
        groups = groups_of(settings, [group[0] for group in await admin.list_consumer_groups()])
        states = {group: await group_state(admin, group) for members in groups.values() for group in members}
        behind = {group: await _behind(session, admin, group) for group in states}
    found = list[dict[str, Any]]()
    for role, wanted in groups.items():
        if any(states.get(group) in _RUNNING for group in wanted):
            found += _lag_findings(wanted, behind)
        else:
            late = [b for group in wanted if (b := behind.get(group))]
            found.append(await _not_running(settings, session, role, late))
    return found


def groups_of(settings: Settings, there: Iterable[str]) -> dict[str, list[str]]:
    """Return the consumer groups of each service that should run; ``there`` are all groups that Kafka knows."""
    names, app_id = Topics(settings.kafka.topic_prefix), settings.worker.app_id
    groups = {"monitor": [names.group(app_id)]}
    groups |= {role: [names.group(app_id, role)] for role in SERVICES if role != "notifier"}
    if app_id != DEMO_APP_ID:  # the demo starts no notifier, because it must not alert anyone
        notifiers = names.group(app_id, "notifier")
        groups["notifier"] = [group for group in there if group.startswith(f"{notifiers}-")]
    groups |= {f"bridge-{name}": [names.group(app_id, f"bridge-{name}")] for name in settings.bridges}
    if settings.mirrors.configured:
        groups["mirror"] = [names.group(app_id, "mirror")]
    return groups


async def _not_running(settings: Settings, session: KafkaSession, role: str, behind: list[Behind]) -> dict[str, Any]:
    """Build a finding dated by the first record that waits for the service, or else by the last record it wrote."""
    waiting, since = sum(b.records for b in behind), min((b.since for b in behind if b.since), default=None)
    if since is None and role in _TABLES:
        names = Topics(settings.kafka.topic_prefix)
        changelog = names.changelog(settings.worker.app_id, _TABLES[role])
        reader = TopicReader(session, full_names=True)  # changelogs have no name in the catalog
        for partition in range(await reader.partitions(changelog)):
            for last in await reader.read_last(changelog, partition):
                since = max(since or 0, last.record.timestamp)
    name = _NAMES.get(role) or f"The bridge {role.removeprefix('bridge-')}"
    kind, _, _ = role.partition("-")
    text = f"{name} is not running" + (f"; {waiting} records are waiting for it." if waiting else ".")
    return finding("not_running", role, text, _START.get(role, f"start it with `crl worker --role {kind}`"), since)


def _lag_findings(groups: list[str], behind: Mapping[str, Behind | None]) -> Iterable[dict[str, Any]]:
    for group in groups:
        late = behind.get(group)
        if late is None:
            continue
        if late.in_transaction:
            text = f"An abandoned open transaction keeps {group} from reading {late.records} records."
            action = "find and abort it: kafka-transactions.sh --bootstrap-server ... find-hanging, then abort"
            yield finding("lag", group, text, action, late.since)
        elif late.since is not None and time() - late.since / 1_000 > BEHIND_SECONDS:
            text = f"{group} is {late.records} records behind."
            yield finding("lag", group, text, "see its log for the cause; more workers share the load", late.since)


async def _behind(session: KafkaSession, admin: AIOKafkaAdminClient, group: str) -> Behind | None:
    """Return what a group has not read on the topics where it has committed offsets; None if it has read everything."""
    committed = {place: at.offset for place, at in (await admin.list_consumer_group_offsets(group)).items()}
    if not committed:
        return None
    async with (
        session.reading(request_timeout_ms=_TIMEOUT_MS) as consumer,
        session.reading(request_timeout_ms=_TIMEOUT_MS, isolation_level=READ_UNCOMMITTED) as other,
    ):
        ends, stable = await other.end_offsets(committed), await consumer.end_offsets(committed)
        late = {place: at for place, at in committed.items() if ends[place] > at}
        if not late:
            return None
        first, read = await _first_records(consumer, late, stable)
        held = [place for place in late if place not in first and ends[place] > max(stable[place], read[place])]
        if held:
            begun, _ = await _first_records(other, {place: max(late[place], stable[place]) for place in held}, ends)
            records = sum(ends[place] - late[place] for place in held)
            return Behind(records, min(begun.values(), default=None), in_transaction=True)
        if not first:
            return None  # only transaction markers are left: they take offsets but are not records
        return Behind(sum(ends[place] - late[place] for place in first), min(first.values()), in_transaction=False)


async def _first_records(
    consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return the time of the first record at or after each of ``starts``, if any, and the positions reached."""
    chosen = sorted(starts)[:_MOST_PLACES]
    consumer.assign(chosen)
    for place in chosen:
        consumer.seek(place, starts[place])
    found: dict[TopicPartition, int] = {}
    until = asyncio.get_running_loop().time() + _FIRST_SECONDS
    while asyncio.get_running_loop().time() < until:
        for place, records in (await consumer.getmany(timeout_ms=200, max_records=len(chosen))).items():
            if records:
                found.setdefault(place, records[0].timestamp)
        left = [p for p in chosen if p not in found and await consumer.position(p) < ends[p]]
        if not left:
            break
    return found, {place: await consumer.position(place) for place in chosen} | {
        place: starts[place] for place in starts if place not in chosen
    }


async def _policy_findings(settings: Settings, session: KafkaSession) -> list[dict[str, Any]]:
    fleet = await read_fleet_policy(settings, session)
    found = []
    if fleet.pending:
        listed = ", ".join(map(str, fleet.pending))
        text = f"Policy {fleet.policies.digest()} is set, but partitions {listed} have not applied it yet."
        found.append(
            finding(
                "policy_pending", "policy", text, "check that the workers of these partitions are running", fleet.time
            )
        )
    if fleet.exists and (differences := differences_of(settings, fleet.policies)):
        text = difference_line(fleet.policies, fleet.actor, fleet.time, len(differences))
        action = "run `crl policy apply` to apply your settings"
        found.append(finding("policy_differs", "policy", text, action, fleet.time, trouble=False))
    return found
