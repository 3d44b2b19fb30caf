"""The stages in memory for any number of records: only rows are kept, and folded records are forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

import msgspec

from crl_stream.stages.driver import Crash, Stored, TopologyDriver
from crl_stream.stages.entries import Entry, decode_batch
from crl_stream.stages.fold import Counts, Folded
from crl_stream.stages.partition import partition_key
from crl_stream.stages.topology import INLET, MONITOR, PROPOSER
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output

_LOG: Final = MONITOR.source
_COMMANDS: Final = INLET.source
_SNAPSHOTS: Final = PROPOSER.source


class KeptLog(Sequence[Stored]):
    """The last records of a log, indexed by offset; earlier records are forgotten but still counted."""

    def __init__(self) -> None:
        self._first = 0
        self._kept: list[Stored] = []

    def __len__(self) -> int:
        return self._first + len(self._kept)

    def __iter__(self) -> Iterator[Stored]:
        """Iterate over the records that are kept."""
        return iter(self._kept)

    @overload
    def __getitem__(self, index: int) -> Stored: ...
    @overload
    def __getitem__(self, index: slice) -> list[Stored]: ...
    def __getitem__(self, index: int | slice) -> Stored | list[Stored]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self._kept[max(0, start - self._first) : max(0, stop - self._first) : step]
        offset = index if index >= 0 else len(self) + index
        # Only the offset of a forgotten record is known, but that is enough for a search by offset.
        return self._kept[offset - self._first] if offset >= self._first else Stored(offset, 0, None, None)

    def append(self, record: Stored) -> None:
        """Append a record to the log."""
        self._kept.append(record)

    def forget(self) -> None:
        """Forget all records but the last, whose time is still needed."""
        self._first += max(0, len(self._kept) - 1)
        del self._kept[:-1]


def _as_it_is(fact: Any) -> Any:
    return fact


class DecodedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record of the log and its message, with the interface of ``wire.records.Record``."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    message: Any
    headers: tuple[()] = ()


class StreamingDriver(TopologyDriver):
    """A driver whose memory does not grow with the number of records it folds.

    Outputs that are facts of a task have the messages themselves as values.  So the proposer gets snapshots directly,
    reduced to what it reads, and facts need not be decoded to be shown.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(start=0, **options)
        self._render = _as_it_is
        self._snapshots: list[list[Entry]] = [[] for _ in range(self.partitions)]
        """Snapshots that the proposer has not read yet, for each partition."""
        self._offsets = [0] * self.partitions
        """The offset that the next snapshot would have on its topic, for each partition."""
        self.topics = defaultdict(lambda: [KeptLog() for _ in range(self.partitions)])  # type: ignore[misc]
        self._logs: dict[bytes, list[Stored]] = {}
        """The log partition of each task, by the task's key."""
        self.total = Counts()
        """Counts of what has happened to the records of the log so far."""

    def put(self, key: bytes, value: bytes, message: Any, timestamp: int) -> None:
        """Append an already decoded message (as ``wire.codec.decode_logged`` returns it) to the log."""
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = self.topics[_LOG][partition_of(key, self.partitions)]
        log.append(DecodedRecord(len(log), timestamp, key, value, message))  # type: ignore[arg-type]
        # Folded records are forgotten, so keep the time here: silence begins at the newest record.
        self.clock = max(self.clock, timestamp)

    def pipe(self, *elements: Any) -> list[Output]:
        """Do the same as the base class, then forget the folded records."""
        outputs = super().pipe(*elements)
        self.forget()
        return outputs

    def _fold(self, partition: int, records: Sequence[Any]) -> Folded:
        entries: list[Entry] = []
        for record in records:
            if type(record) is DecodedRecord:
                entries.append(Entry(record, record.message, record.key))
            else:
                entries += decode_batch([record])
        return self._fold_entries(partition, entries)

    def _write(
        self, changelog: dict[bytes, bytes], partition: int, folded: Folded, crash: Crash | None, counts: list[Counts]
    ) -> list[Output]:
        """Keep the rows, and only those outputs that a stage reads."""
        if crash is not None:
            raise ValueError("forgotten records cannot be folded again after a crash")
        for output in folded.outputs:
            if output.topic == _SNAPSHOTS:
                snapshot: Any = output.value
                record = DecodedRecord(self._offsets[partition], self.clock, output.key or b"", b"", snapshot)
                self._snapshots[partition].append(Entry(record, snapshot, record.key))
                self._offsets[partition] += 1
            elif output.topic == _LOG:
                self._publish(output)
        changelog.update(folded.rows)
        changelog[partition_key(partition)] = folded.partition_row
        counts.append(folded.counts)
        return folded.outputs

    def _propose(self, crash: Crash | None) -> list[Output]:
        outputs: list[Output] = []
        for partition, entries in enumerate(self._snapshots):
            if entries and self.remedies is not None:
                outputs += self._propose_from(partition, entries, self.remedies, crash)
            entries.clear()
        return outputs

    def forget(self) -> None:
        """Forget all folded records."""
        for counts in self.counts:
            self.total = Counts(*(one + other for one, other in zip(self.total, counts, strict=True)))
        self.counts.clear()
        self.proposer_counts.clear()
        for topic, logs in self.topics.items():
            if topic != _COMMANDS:
                for log in logs:
                    log.forget()  # type: ignore[attr-defined]
