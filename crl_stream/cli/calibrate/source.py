"""Where a calibration's input comes from: the history from the topic or a file, the policy from the log or settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from crl_stream.calibration.history import History, HistoryReader
from crl_stream.cli.outcome_file import OutcomeFile
from crl_stream.cli.session import Session
from crl_stream.cli.talk import progress_bar, say
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Policy
from crl_stream.errors import CrlError, NotFound, Unavailable, UsageError
from crl_stream.kafka.fleet_policy import FleetPolicy, read_fleet_policy, set_by
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import Settings, load_settings
from crl_stream.settings.settings_file import FILE
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS, Topics

_SHOWN_EVERY: Final = 2_000


class Present(NamedTuple):
    """The present policy of the task to calibrate."""

    policy: Policy
    words: str
    """Where the policy comes from."""


class Source(NamedTuple):
    """The input of a calibration: a task's history and its present policy."""

    history: History
    place: str
    """The topic or file that the history was read from."""
    present: Present


def read_topic(session: Session, key: TaskKey, most: int) -> Source:
    """Read the task's history and policy from Kafka; raises ``NotFound`` if the task has no outcomes."""
    return asyncio.run(_read_topic(session.connected, key, most))


def read_file(session: Session, key: TaskKey, file: Path, most: int) -> Source:
    """Read the history from a file, and the policy from Kafka if it answers, else from the settings."""
    reader, progress = HistoryReader(key, most), progress_bar()
    progress("reading", 0, 1)
    with OutcomeFile(file, f"crl calibrate {key} -f -") as source:
        for outcome in source.outcomes():
            reader.take(outcome.message)
            if outcome.number % _SHOWN_EVERY == 0:
                done, size = source.progress()
                progress("reading", max(1, min(done, size - 1)), size)
        place = source.name
    progress("reading", 1, 1)
    return Source(_found(reader, place), place, _present_or_settings(session, key))


async def _read_topic(settings: Settings, key: TaskKey, most: int) -> Source:
    kafka, reader, progress = settings.kafka, HistoryReader(key, most), progress_bar()
    partition = partition_of(key.encode(), kafka.partitions)
    async with KafkaSession(kafka) as session:
        topic = TopicReader(session)
        last = await topic.read_last(INVOCATIONS, partition)
        end = last[0].record.offset + 1 if last else 1
        progress("reading", 0, end)
        async for received in topic.each(INVOCATIONS, partition):
            reader.take(received.message)
            if received.record.offset % _SHOWN_EVERY == 0:
                progress("reading", max(1, min(received.record.offset, end - 1)), end)
        progress("reading", end, end)
        place = Topics(kafka.topic_prefix)(INVOCATIONS)
        fleet = await read_fleet_policy(settings, session)
    return Source(_found(reader, place), place, _in_force(fleet, key) or _of_settings(settings, key))


def _found(reader: HistoryReader, place: str) -> History:
    history = reader.history()
    if not history.variants:
        others = sorted(reader.others)
        near = get_close_matches(str(history.key), others, n=3) or others[:3]
        hint = f"it has outcomes of {', '.join(near)}" if near else "crl status lists the tasks"
        raise NotFound(f"{place} has no outcomes of {history.key}.", hint=hint)
    return history


def _present_or_settings(session: Session, key: TaskKey) -> Present:
    settings = session.settings
    try:
        connected = session.connected
    except Unavailable:  # no Kafka is configured, and a file needs none
        return _of_settings(settings, key)
    try:
        fleet = asyncio.run(read_fleet_policy(connected))
    except CrlError as error:
        say(f"the policy in force is unknown, so your settings are used: {error.message}")
        return _of_settings(settings, key)
    return _in_force(fleet, key) or _of_settings(settings, key)


def _in_force(fleet: FleetPolicy, key: TaskKey) -> Present | None:
    if not fleet.exists:
        return None
    words = f"policy {fleet.policies.digest()}, in force{set_by(fleet.actor, fleet.time)}"
    return Present(fleet.policies.for_task(key), words)


def _of_settings(settings: Settings, key: TaskKey) -> Present:
    where = f"{settings.file}" if settings.file is not None else "the defaults"
    return Present(settings.policies.for_task(key), f"profile {settings.profile} with the settings of {where}")


def named_policies(files: Sequence[Path], key: TaskKey) -> list[tuple[str, Policy]]:
    """Return the task's policy under each settings file, by name."""
    found: dict[str, Policy] = {}
    for file in files:
        if not file.is_file():
            raise UsageError(f"There is no file {file}.", hint=f"--policy takes settings files such as {FILE}")
        name = file.stem if file.stem not in found else str(file)
        found[name] = load_settings(file=file, environment={}).policies.for_task(key)
    return list(found.items())
