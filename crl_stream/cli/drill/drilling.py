"""A whole drill: what it reads first, which partitions it tests, and one exercise on each partition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from crl_stream.cli.clock import now_ms
from crl_stream.cli.drill.exercise import Exercise, Setting
from crl_stream.cli.drill.plan import plan_of
from crl_stream.cli.drill.report import Report, Step
from crl_stream.cli.drill.witness import Witness
from crl_stream.client import Client
from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT, drill_of, is_drill
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.policy import PolicySet
from crl_stream.errors import ConfigError, CrlError, Unavailable, UsageError
from crl_stream.kafka.commands import default_actor
from crl_stream.kafka.fleet_health import inspect_kafka
from crl_stream.kafka.fleet_policy import read_fleet_policy
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.proposals.page import stands
from crl_stream.settings import Settings
from crl_stream.wire.drill_tasks import drill_tasks
from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS

AT_ONCE: Final = 16
"""Maximum number of partitions that are tested at the same time."""
READY_SECONDS: Final = 20.0
"""Longest wait for the client to read the active variants."""

Known = Mapping[TaskKey, m.ActiveVariant]
"""The newest active variant of each drill task."""


class Options(NamedTuple):
    """The user's choices for a drill."""

    partition: int | None
    """The partition to test; None for the one that was tested least recently."""
    everywhere: bool
    """Whether to test every partition of the log."""
    notify: bool
    seconds: float
    actor: str | None


class Drilled(NamedTuple):
    """What a drill has found, and under which policy."""

    reports: list[Report]
    policies: PolicySet
    actor: str


async def drill(settings: Settings, options: Options, tell: Callable[[Report, Step], None]) -> Drilled:
    """Run a drill; ``tell`` is called with each step as it is seen.

    Raises ``UsageError`` for a partition that does not exist, and ``Unavailable`` if Kafka does not answer. The reports
    name any step that is missing later.
    """
    actor = options.actor or default_actor()
    async with KafkaSession(settings.kafka) as kafka:
        known = await _known(kafka)
        await _check_partitions(kafka)
        chosen = _chosen(settings.kafka.partitions, options, known)
        tasks = drill_tasks(settings.kafka.partitions, notify=options.notify)
        findings, fleet = await asyncio.gather(
            _findings(settings, kafka), read_fleet_policy(settings, kafka, with_rows=False)
        )
        policy = fleet.policies.for_task(tasks[chosen[0]])
        async with _watching(settings, kafka, chosen) as (client, witness):
            setting = Setting(kafka, client, witness, plan_of(policy), actor, options.seconds, tell)
            exercises = [Exercise(setting, p, tasks[p], known.get(tasks[p])) for p in chosen]
            if (down := _not_running(findings)) is not None:
                reports = [await _given_up(exercise, down) for exercise in exercises]
            else:
                reports = await _run_all(exercises)
    return Drilled(reports, fleet.policies, actor)


async def _run_all(exercises: list[Exercise]) -> list[Report]:
    places = asyncio.Semaphore(AT_ONCE)

    async def run(exercise: Exercise) -> Report:
        async with places:
            return await exercise.run()

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(run(exercise)) for exercise in exercises]
    return [one.result() for one in running]


async def _given_up(exercise: Exercise, finding: Mapping[str, Any]) -> Report:
    """Report at once a failure that would otherwise show only after the whole timeout; the next worker records it."""
    report = exercise.report
    report.missing, report.detail, report.hint = "command", finding["text"].rstrip("."), finding["action"]
    await exercise.record(0.0)
    return report


# -- before ------------------------------------------------------------------------------------------
async def _known(kafka: KafkaSession) -> dict[TaskKey, m.ActiveVariant]:
    newest: dict[TaskKey, m.ActiveVariant] = {}
    async for received in TopicReader(kafka).each(ACTIVE_VARIANTS):
        active = received.message
        if isinstance(active, m.ActiveVariant) and is_drill(active.agent_name):
            key = TaskKey(active.agent_name, active.task_type)
            before = newest.get(key)
            if before is None or _place(before) <= _place(active):
                newest[key] = active
    return newest


def _place(active: m.ActiveVariant) -> tuple[int, int, int]:
    return active.incarnation, active.epoch, active.position.offset


async def _check_partitions(kafka: KafkaSession) -> None:
    there = await TopicReader(kafka).partitions(INVOCATIONS)
    if there != kafka.kafka.partitions:
        raise ConfigError(
            f"crl.invocations has {there} partitions, but kafka.partitions is {kafka.kafka.partitions}.",
            hint=f"set kafka.partitions = {there}, as on the workers (CRL_KAFKA_PARTITIONS)",
        )


def _chosen(partitions: int, options: Options, known: Known) -> list[int]:
    if options.everywhere:
        return list(range(partitions))
    if options.partition is None:
        return [min(range(partitions), key=lambda p: (_last(p, partitions, known), p))]
    if options.partition >= partitions:
        raise UsageError(
            f"There is no partition {options.partition}.",
            hint=f"partitions are numbered from 0 to {partitions - 1}; --all-partitions tests each",
        )
    return [options.partition]


def _last(partition: int, partitions: int, known: Known) -> int:
    """Return when a partition was last tested, in milliseconds since the epoch; 0 for never."""
    times, now = [0], now_ms()
    for notify in (False, True):
        active = known.get(drill_tasks(partitions, notify=notify)[partition])
        if active is not None:
            pin = active.pinned if active.pinned is not None and stands(active.pinned, now) else None
            actor, reason = ("", None) if pin is None else (pin.actor, pin.reason)
            last = drill_of(active.variant_id, from_text(active.since), actor, reason)
            times += [] if last is None else [last.time]
    return max(times)


async def _findings(settings: Settings, kafka: KafkaSession) -> list[dict[str, Any]]:
    """Return the findings about Kafka, or none if they cannot be read: then the drill itself reveals the problems."""
    try:
        return await inspect_kafka(settings, kafka)
    except CrlError:
        return []


def _not_running(findings: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((f for f in findings if (f["name"], f["subject"]) == ("not_running", "monitor")), None)


@asynccontextmanager
async def _watching(
    settings: Settings, kafka: KafkaSession, chosen: list[int]
) -> AsyncIterator[tuple[Client, Witness]]:
    """Provide a client that follows the active variants, and a witness that sees what is published from now on."""
    witness = Witness()
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    partition = chosen[0] if len(chosen) == 1 else None
    listening = asyncio.create_task(witness.listen(TopicReader(kafka), partition, ready))
    client = Client(settings, runtime_id=DRILL_AGENT, exploration=0.0)
    client.resolver.on_change(witness.follow)
    try:
        await ready
        until = time.monotonic() + READY_SECONDS
        while not await asyncio.to_thread(client.resolver.wait_until_ready, 0.5):
            if time.monotonic() < until:
                continue
            raise Unavailable(
                f"The client has not read crl.active-variants within {READY_SECONDS:g} s: {client.health().trouble}.",
                hint="runtimes with these settings would not learn of a rollback: see the ACLs, and crl topics diff",
            )
        yield client, witness
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await asyncio.to_thread(client.close)
