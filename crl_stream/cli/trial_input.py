"""What a trial folds: the messages of a file, or the part of the log that is still on the topics."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from crl_stream.cli.outcome_file import OutcomeFile
from crl_stream.cli.replay_order import Survey, in_order
from crl_stream.cli.talk import progress_bar, say
from crl_stream.core.instant import to_text
from crl_stream.kafka.retained_log import RetainedLog
from crl_stream.stages.entries import Entry, command_positions, decode_batch
from crl_stream.stages.streaming import DecodedRecord
from crl_stream.trial.comparison import Input, Source
from crl_stream.trial.record import Extent
from crl_stream.trial.run import READ, Piece
from crl_stream.wire.partitioner import partition_of

_AT_ONCE: Final = 4_000
_LABEL: Final = "replaying under both policies"


class FileInput:
    """A file of outcomes, distributed over the partitions as on the topics."""

    def __init__(self, path: Path, partitions: int, *, by_time: bool) -> None:
        self.partitions, self._by_time = partitions, by_time
        self._source = OutcomeFile(path, "crl replay -")
        self._survey = Survey()
        self._hash = hashlib.sha256()
        self._first, self._last = 0, 0

    def pieces(self) -> Iterator[Piece]:
        """Yield all messages; raises ``InvalidMessage`` for the first line that a worker would reject."""
        ends = [0] * self.partitions
        homes: dict[bytes, int] = {}
        progress = progress_bar()
        progress(_LABEL, 0, 1)
        with self._source as source:
            timed = iter(in_order(self._survey, source, by_time=self._by_time))
            while batch := list(islice(timed, _AT_ONCE)):
                entries: dict[int, list[Entry]] = {}
                for time, outcome in batch:
                    if (partition := homes.get(outcome.key, -1)) < 0:
                        partition = homes[outcome.key] = partition_of(outcome.key, self.partitions)
                    self._first, self._last = self._first or time, max(self._last, time)
                    self._hash.update(outcome.value + b"\n")
                    record = DecodedRecord(ends[partition], max(time, 0), outcome.key, outcome.value, outcome.message)
                    ends[partition] += 1
                    entries.setdefault(partition, []).append(Entry(record, outcome.message, outcome.key))
                for partition, some in sorted(entries.items()):
                    yield Piece(partition, some, {})
                done, size = source.progress()
                if size > done:
                    progress(_LABEL, done, size)
        progress(_LABEL, 1, 1)
        if self._survey.backwards and not self._by_time:
            say(
                f"timestamps in the file go back {self._survey.backwards} times, first at line "
                f"{self._survey.first_backwards}; --order-by-time folds by timestamp"
            )

    def described(self) -> Input:
        """Return a description of the input; call it after everything has been read."""
        first, last = (to_text(time) if self._survey.messages else "" for time in (self._first, self._last))
        return Input("file", self._source.name, self._hash.hexdigest(), self._survey.messages, first, last, [])


class TopicInput:
    """The part of the log that is still on the topics."""

    def __init__(self, log: RetainedLog) -> None:
        self.log = log
        self.partitions = len(log.spans)
        self._hashes = {partition: hashlib.sha256() for partition in log.spans}
        self._times: dict[int, tuple[int, int]] = {}
        self._records = 0

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield all records, partition by partition."""
        progress = progress_bar()
        progress(_LABEL, 0, 1)

        def read(done: int, size: int) -> None:
            if 0 < done < size:  # the last call ends the bar, once everything is folded
                progress(_LABEL, done, size)

        async for partition, records in self.log.parts(read):
            update = self._hashes[partition].update
            for record in records:
                key, value = record.key or b"", record.value or b""
                update(b"%d %d %d %d " % (record.offset, record.timestamp, len(key), len(value)) + key + value)
            first = self._times.get(partition, (records[0].timestamp, 0))[0]
            self._times[partition] = first, records[-1].timestamp
            self._records += len(records)
            entries = decode_batch(records)
            yield Piece(
                partition, entries, {place: self.log.commands.get(place) for place in command_positions(entries)}
            )
        progress(_LABEL, 1, 1)

    def described(self) -> Input:
        """Return a description of the input; call it after everything has been read."""
        sources = [
            Source(partition, span.first, span.end, self._hashes[partition].hexdigest())
            for partition, span in sorted(self.log.spans.items())
        ]
        whole = hashlib.sha256("".join(f"{s.partition} {s.first} {s.end} {s.sha256}\n" for s in sources).encode())
        first = to_text(min(one for one, _ in self._times.values())) if self._times else ""
        last = to_text(max(one for _, one in self._times.values())) if self._times else ""
        return Input("topics", self.log.name, whole.hexdigest(), self._records, first, last, sources)

    def extents(self) -> dict[int, Extent]:
        """Return where published decisions can be compared: records still in the log that a monitor has folded."""
        return {
            partition: Extent(
                span.first, min(span.end, self.log.rows[partition].next_offset), to_text(self._times[partition][0])
            )
            for partition, span in self.log.spans.items()
            if partition in self.log.rows and partition in self._times
        }

    async def published(self) -> list[tuple[str, Any]]:
        """Return (topic, fact) for every published decision about a record that is still in the log."""
        return [
            (topic, fact)
            for topic in sorted(READ)
            async for fact in self.log.published(topic)
            if (at := getattr(fact, "position", None)) is not None
            and at.partition in self.log.spans
            and at.offset >= self.log.spans[at.partition].first
        ]
