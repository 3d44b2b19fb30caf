"""The table of task rows: changelog bytes by task key, and one partition row for each partition.

A row in the store consists of the bytes of its changelog record.  So recovery only copies bytes, and the state after a
crash is the same as after a replay.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import faust
from faust.types.tuples import TP

from crl_stream.errors import Unsafe
from crl_stream.kafka.point_reader import PointReader
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.topology import RowPosition
from crl_stream.wire.records import Headers
from crl_stream.wire.topics import PARTITION_ROW
from crl_stream.worker.recovery_progress import RecoveryProgress
from crl_stream.worker.stores import Kept, Last, RowStore
from crl_stream.worker.transport.producer import Item
from crl_stream.worker.transport.scheme import BatchSchema

WRITE_BYTES: Final = 3_900_000
"""Up to this size in bytes, the rows and partition row of a batch are sent as one record batch, and so appear
together."""

RECOVERY_BATCHES: Final = 2
"""How many polled batches may wait to be added to the rows. Faust counts events, and here one event is a whole batch.
With a limit of 1, Faust would keep reading the changelog after the recovery."""


class TaskTable(faust.Table):
    """A table of rows as bytes. ``rows`` and ``partition_row`` read them; only ``write`` writes them.

    ``reader`` reads one record of the changelog, which shows whether the rows kept in the store belong to that
    changelog.
    """

    def __init__(
        self,
        app: faust.App,
        *,
        name: str,
        changelog: str,
        partitions: int,
        position: RowPosition,
        store: RowStore,
        reader: PointReader,
        **options: Any,
    ) -> None:
        topic = app.topic(
            changelog, schema=BatchSchema(), partitions=partitions, compacting=True, acks=False, internal=True
        )
        self.width, self._row_position = partitions, position
        self.store, self._reader = store, reader
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            changelog_topic=topic,
            recovery_buffer_size=RECOVERY_BATCHES,
            **options,
        )
        self._written: dict[int, int] = {}
        """By partition: the last changelog offset written or read, which may be that of a control record."""
        self._last_record: dict[int, int] = {}
        """By partition: the offset of the last changelog record written or recovered."""
        self._outdated: dict[int, set[bytes]] = defaultdict(set)
        """By partition: the keys whose last changelog record is older than the row, because of a stale write."""
        self._progress = RecoveryProgress(changelog)

    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the rows of a partition, including its partition row; empty while it is not this worker's."""
        return self.store.rows(partition)

    def partition_row(self, partition: int) -> bytes | None:
        """Return the partition row, which says how far the partition is folded; None if it was never folded."""
        return self.rows(partition).get(partition_key(partition))

    def last_record(self, partition: int) -> int | None:
        """Return the offset of the last changelog record of a partition; None if there is none."""
        return self._last_record.get(partition)

    def check_open(self, partition: int) -> None:
        """Raise ``Unsafe`` when a partition is not this worker's, because its rows would have been read as missing."""
        if not self.store.is_open(partition):
            raise Unsafe(
                f"this worker does not hold the rows of {self.changelog_topic_name} partition {partition}",
                hint="restart the worker: it continues from its partition row",
            )

    def tasks_about(self) -> int:
        """Return the number of tasks of this worker; an estimate when rows are on disk."""
        return sum(max(0, self.store.count(partition) - 1) for partition in self.store.partitions())

    def tasks(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield the partition, key and row of every task of this worker."""
        for partition in self.store.partitions():
            for key, row in self.store.items(partition):
                if not key.startswith(PARTITION_ROW):
                    yield partition, key, row

    async def write(
        self, partition: int, rows: Mapping[bytes, bytes], partition_row: bytes, headers: Headers = ()
    ) -> None:
        """Write rows, then the partition row with ``headers``; add them to the store once the broker has them."""
        self.check_open(partition)
        records, present = dict(rows), self.rows(partition)
        for key in sorted(self._outdated.pop(partition, ())):
            records.setdefault(key, present[key])
        last = partition_key(partition)
        records.pop(last, None)  # an outdated partition row must not precede the rows
        items: list[Item] = [(key, value, ()) for key, value in records.items()]
        items.append((last, partition_row, headers))
        records[last] = partition_row
        topic = self.changelog_topic_name
        producer: Any = self.app.producer
        first, end = await producer.write(topic, partition, items, limit=WRITE_BYTES)
        expected = self._written.get(partition, -1) + 1
        # Only this process may write here, so any gap in the offsets is a record of another process.
        if first < expected or end - first != len(items) - 1 or (partition in self._written and first != expected):
            raise Unsafe(
                f"{topic} partition {partition} has another writer: offset {expected} expected, {first} written",
                hint="is a second installation running with the same worker.app_id? stop it, then restart this one",
            )
        self._written[partition] = self._last_record[partition] = end
        self.store.write(partition, records, Last(end, last, partition_row), frozenset())

    # -- recovery and rebalance, called by Faust -----------------------------------------------------
    def persisted_offset(self, tp: TP) -> int | None:
        """Return where recovery continues for a partition that stays with this worker or was kept in the store."""
        return self._written.get(tp.partition)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Add recovered rows; of two rows with the same key, keep the newer one."""
        try:
            for event in batch:
                found, partition = event.value, event.value.tp.partition
                # Faust may still hold records of a partition that has since moved away.
                if self.store.is_open(partition):
                    if found.records:
                        self._recover(partition, found.records)
                    self._written[partition] = found.end - 1
                    self._progress.add(len(found.records), self._remaining)
        except Exception as exc:
            # Faust would only log the error, and wait forever for the recovery to end.
            consumer: Any = self.app.consumer
            consumer.leave(exc)

    def _recover(self, partition: int, records: Sequence[Any]) -> None:
        """Add consecutive records of a partition."""
        present, outdated = self.rows(partition), self._outdated[partition]
        newer: dict[bytes, bytes] = {}
        for record in records:
            key, value = record.key, record.value
            if key is None or value is None:
                continue
            known = newer.get(key)
            if known is None:
                known = present.get(key)
            if known is None or self._position(key, known) <= self._position(key, value):
                newer[key] = value
                outdated.discard(key)
            else:
                outdated.add(key)
        last = records[-1]
        self._written[partition] = self._last_record[partition] = last.offset
        self.store.write(partition, newer, Last(last.offset, last.key, last.value), outdated)

    @property
    def _remaining(self) -> int:
        tables: Any = self.app.tables
        return int(tables.recovery.active_remaining_total())

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """Close the partitions that moved away and open those that were assigned."""
        topic = self.changelog_topic_name
        for tp in revoked:
            if tp.topic == topic:
                self._written.pop(tp.partition, None)
                self._last_record.pop(tp.partition, None)
                self._outdated.pop(tp.partition, None)
                self.store.close(tp.partition)
                await asyncio.sleep(0)  # closing and opening may take a while on disk, and heartbeats must continue
        here = sorted(tp.partition for tp in assigned if tp.topic == topic)
        try:
            await self._open([partition for partition in here if not self.store.is_open(partition)])
        except Exception as exc:
            consumer: Any = self.app.consumer
            consumer.leave(exc)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def _open(self, partitions: Iterable[int]) -> None:
        """Open partitions, with the rows that the store has kept if they belong to this changelog."""
        self._progress.begin()
        kept: dict[int, Kept] = {}
        for partition in partitions:
            if (known := self.store.open(partition)) is not None:
                kept[partition] = known
            await asyncio.sleep(0)
        topic = self.changelog_topic_name
        there = await self._reader.read(topic, [(partition, known.offset) for partition, known in kept.items()])
        for partition, known in kept.items():
            record = there[partition, known.offset]
            if record is None:
                self.store.discard(partition, f"the changelog has no record at offset {known.offset}")
            elif Last(record.offset, record.key, record.value).digest != known.digest:
                self.store.discard(partition, f"the changelog has a different record at offset {known.offset}")
            else:
                self._written[partition] = self._last_record[partition] = known.offset
                self._outdated[partition] = set(known.outdated)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """Log how long the recovery took."""
        await super().on_recovery_completed(active_tps, standby_tps)
        self._progress.end()

    def _position(self, key: bytes, value: bytes) -> tuple[int, int]:
        if key.startswith(PARTITION_ROW):
            state = decode_partition(value)
            return state.incarnation, state.next_offset
        return self._row_position(value)
