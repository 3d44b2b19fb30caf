"""Reads the records of an export and writes them, partition after partition, in the order of their offsets."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from aiokafka import TopicPartition

from crl_stream.cli.export.lines import KINDS, What, header, line
from crl_stream.cli.export.span import Stretch, stretches
from crl_stream.cli.export.unfinished import Asked, Note, Unfinished
from crl_stream.cli.talk import progress_bar, say
from crl_stream.errors import UsageError
from crl_stream.kafka.positions import some_between
from crl_stream.kafka.reader import Received, TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import Rejected, decode_record
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS, Topics

_ENOUGH: Final = 1 << 20
"""How many bytes are written at once, so that little has to be repeated after an interruption."""


async def to_file(kafka: Kafka, asked: Asked, times: tuple[int | None, int | None], file: Unfinished) -> Note:
    """Write an export to a file, or go on with an unfinished one; returns the figures of the whole export."""
    async with KafkaSession(kafka) as session:
        note = await _begun(session, asked, times, file)
        progress, done = progress_bar(), note.size - _left(note)
        progress(f"exporting {asked.what}", done, note.size)
        buffer = bytearray(header(KINDS[asked.what], asked.format) if not note.bytes else b"")
        async with session.reading() as consumer:
            async for stretch, data in _parts(consumer, kafka, asked, note):
                buffer += data
                # A note counts only whole parts, so the position and the lines always agree.
                if len(buffer) >= _ENOUGH or stretch.next >= stretch.end:
                    note.left = [one for one in note.left if one.next < one.end]
                    file.append(bytes(buffer), note)
                    buffer.clear()
                    progress(f"exporting {asked.what}", min(note.size - _left(note), note.size), note.size)
        file.append(bytes(buffer), note)
        progress(f"exporting {asked.what}", note.size, note.size)
    file.finish()
    return note


async def to_stdout(kafka: Kafka, asked: Asked, times: tuple[int | None, int | None]) -> Note:
    """Write an export to stdout; an interrupted one begins again."""
    async with KafkaSession(kafka) as session:
        note = await _new(session, asked, times)
        _put(header(KINDS[asked.what], asked.format))
        async with session.reading() as consumer:
            async for _, data in _parts(consumer, kafka, asked, note):
                _put(data)
    return note


async def cluster_of(kafka: Kafka) -> str:
    """Return the id of the cluster that is exported from."""
    return await TopicReader(kafka).cluster_id()


async def _begun(session: KafkaSession, asked: Asked, times: tuple[int | None, int | None], file: Unfinished) -> Note:
    note = file.note()
    if note is not None and note.asked != asked:
        raise UsageError(
            f"{file.part} is the unfinished part of another export.",
            hint=f"finish that one ({_command(note.asked)}), or begin again with --restart",
        )
    if note is not None and file.cut(note):
        if note.topics != await TopicReader(session).ids(KINDS[asked.what].topics):
            raise UsageError(
                f"The topics were made again since {file.part} was begun.", hint="begin again with --restart"
            )
        say(f"going on with {file.part}: {note.lines} lines are written, {_left(note)} of {note.size} records are left")
        return note
    note = await _new(session, asked, times)
    file.cut(note)
    return note


async def _new(session: KafkaSession, asked: Asked, times: tuple[int | None, int | None]) -> Note:
    names = [(topic, Topics(session.kafka.topic_prefix)(topic)) for topic in KINDS[asked.what].topics]
    async with session.reading() as consumer:
        left = await stretches(consumer, names, *times)
    return Note(
        asked,
        await TopicReader(session).ids(KINDS[asked.what].topics),
        left,
        size=sum(one.end - one.next for one in left),
    )


async def _parts(consumer: Any, kafka: Kafka, asked: Asked, note: Note) -> AsyncIterator[tuple[Stretch, bytes]]:
    """Yield the lines of some records at a time, with the stretch they are from; updates the note's figures."""
    what, names = KINDS[asked.what], Topics(kafka.topic_prefix)
    wanted = _filter(asked, kafka, what)
    for stretch in list(note.left):
        place = TopicPartition(names(stretch.topic), stretch.partition)
        while stretch.next < stretch.end:
            first = (await consumer.beginning_offsets([place]))[place]
            if first > stretch.next:
                note.deleted += min(first, stretch.end) - stretch.next
            records, position = await some_between(consumer, place, stretch.next, stretch.end)
            lines = []
            for record in records:
                decoded = decode_record(stretch.topic, record)
                if isinstance(decoded, Rejected):
                    note.unreadable += 1
                elif wanted(received := Received(stretch.topic, record, decoded.message)):
                    lines.append(line(what, asked.format, received))
            note.lines += len(lines)
            stretch.next = min(position, stretch.end)
            yield stretch, b"".join(lines)


def _filter(asked: Asked, kafka: Kafka, what: What) -> Callable[[Received], bool]:
    """Return whether a record is to be exported."""
    agent, _, task = (asked.task or f"{asked.agent or ''}/").partition("/")

    def wanted(received: Received) -> bool:
        message, record = received.message, received.record
        if what.kinds and not isinstance(message, what.kinds):
            return False
        if agent and getattr(message, "agent_name", None) != agent:
            return False
        if task and getattr(message, "task_type", None) != task:
            return False
        # A record that was written to another partition than its task's is forwarded, and exported from there.
        return received.topic != INVOCATIONS or partition_of(record.key, kafka.partitions) == record.partition

    return wanted


def _left(note: Note) -> int:
    return sum(one.end - one.next for one in note.left)


def _command(asked: Asked) -> str:
    words = ["crl export", asked.what, "--format", asked.format]
    for name in ("since", "until", "agent", "task"):
        if (value := getattr(asked, name)) is not None:
            words += [f"--{name}", value]
    return " ".join(words)


def _put(data: bytes) -> None:
    """Write to stdout; end quietly if its reader has gone, as ``head`` does."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError as gone:
        # Left as it is, it would be taken for a connection to Kafka that broke.
        raise SystemExit(0) from gone
