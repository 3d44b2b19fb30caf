"""Adopts a log that was deleted and created again: a new incarnation starts at its beginning, with the old state.

This is the way out when a worker refuses to start because its state belongs to another log (law 3 of CONTRIBUTING.md).
Readers keep the highest (incarnation, epoch, offset), so everything written from now on counts as newer.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownMemberIdError

from crl_stream.errors import ContractError, Unavailable
from crl_stream.kafka.connection import group_state
from crl_stream.kafka.partition_rows import read_partition_rows
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import Settings
from crl_stream.stages.partition import (
    PartitionRow,
    encode_partition,
    partition_key,
    record_hash,
)
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, INVOCATIONS, Topics

_LEAVING_SECONDS: Final = 5.0
"""How long Kafka may take to drop a dead member after its session has ended."""


async def adopt_log(settings: Settings, *, dry_run: bool) -> list[dict[str, Any]]:
    """Adopt every partition whose state does not fit its log; return one entry for each partition of the log.

    Unless ``dry_run``, first wait until workers that have just stopped have left their consumer group.  A worker that
    died, or that has an instance id, remains a member until its session ends.  Raises ``Unavailable`` if workers are
    still running after that.
    """
    async with KafkaSession(settings.kafka) as session:
        if not dry_run:
            await _until_workers_have_left(settings, session)
        return await _adopt(settings, session, dry_run=dry_run)


async def _adopt(settings: Settings, session: KafkaSession, *, dry_run: bool) -> list[dict[str, Any]]:
    kafka, app_id = settings.kafka, settings.worker.app_id
    names, reader = Topics(kafka.topic_prefix), TopicReader(session)
    states = await read_partition_rows(settings, session)
    actives = [r.message for r in await reader.read(ACTIVE_VARIANTS) if r.message is not None]
    done: list[dict[str, Any]] = []
    consumer = session.consumer(group_id=names.group(app_id))
    async with session.producing() as producer:
        try:
            await consumer.start()
            places = [TopicPartition(names(INVOCATIONS), p) for p in range(kafka.partitions)]
            orders = [TopicPartition(names(COMMANDS), p) for p in range(kafka.partitions)]
            consumer.assign(places + orders)
            first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places + orders)
            for place in places:
                state = states.get(place.partition)
                why = await _contradiction(reader, state, place.partition, first[place], end[place])
                detail = why or "fits its log; unchanged"
                if why is not None:
                    before = max(
                        [a.incarnation for a in actives if a.position.partition == place.partition]
                        + [state.incarnation if state is not None else 0]
                    )
                    new = state or PartitionRow()
                    new.next_offset, new.last_hash, new.incarnation = first[place], b"", before + 1
                    new.origins, new.forwards = {}, b""
                    new.commanded = {
                        p: o for p, o in new.commanded.items() if o < end[TopicPartition(names(COMMANDS), p)]
                    }
                    detail = f"{why}: incarnation {new.incarnation} starts at offset {first[place]}"
                    if not dry_run:
                        key = partition_key(place.partition)
                        topic = names.changelog(app_id)
                        await producer.send_and_wait(topic, encode_partition(new), key=key, partition=place.partition)
                done.append({"partition": place.partition, "adopted": why is not None, "detail": detail})
            if not dry_run:
                await _reset_commits(consumer, places + orders, end, names.group(app_id))
        finally:
            await consumer.stop()
    return done


async def _until_workers_have_left(settings: Settings, session: KafkaSession) -> None:
    group = Topics(settings.kafka.topic_prefix).group(settings.worker.app_id)
    now = asyncio.get_running_loop().time
    until = now() + settings.worker.session_timeout_seconds + _LEAVING_SECONDS
    async with session.administering() as admin:
        while await group_state(admin, group) != "Dead":
            if now() > until:
                raise _workers_run(group)
            await asyncio.sleep(0.25)


def _workers_run(group: str) -> Unavailable:
    return Unavailable(f"Workers of {group} are running.", hint="stop every worker, then run this command again")


async def _contradiction(
    reader: TopicReader, state: PartitionRow | None, partition: int, first: int, end: int
) -> str | None:
    """Return why a worker would refuse this partition; None if it would accept it."""
    if state is None:
        return f"it has no state, and its log starts at {first}" if first else None
    if state.next_offset > end:
        return f"its state ends at {state.next_offset}, its log at {end}"
    if state.next_offset > first and state.last_hash:
        found = await reader.read_at(INVOCATIONS, partition, state.next_offset - 1)
        if found is None or record_hash(found.record) != state.last_hash:
            return f"the record at {state.next_offset - 1} is not the one that its state ends with"
    return None


async def _reset_commits(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], end: dict[TopicPartition, int], group: str
) -> None:
    """Reset committed offsets that lie beyond the end of a topic, because they belong to the old topic."""
    offsets = {}
    for place in places:
        committed = await consumer.committed(place)
        if committed is not None and committed > end[place]:
            offsets[place] = 0
    if not offsets:
        return
    try:
        await consumer.commit(offsets)
    except UnknownMemberIdError as error:
        raise _workers_run(group) from error
    except KafkaError as error:
        raise ContractError(
            f"The old committed offsets cannot be reset: {error}.",
            hint="stop every worker, then run this command again",
        ) from error
