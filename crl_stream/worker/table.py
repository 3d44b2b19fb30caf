"""The table of task rows: changelog bytes by task key, and one partition row for each partition.

A row in memory is the bytes of its changelog record, so recovery copies bytes, and what a crash leaves is what a
replay would make.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import faust
from faust.types.tuples import TP

from crl_stream.errors import Unsafe
from crl_stream.topology.partition import decode_partition, partition_key
from crl_stream.wire.records import Headers
from crl_stream.wire.topics import PARTITION_ROW
from crl_stream.worker.producer import Item
from crl_stream.worker.transport import BatchSchema

WRITE_BYTES: Final = 3_900_000
"""Rows and partition row of a batch go out as one record batch up to this size, and so appear at once."""

RowPosition = Callable[[bytes], tuple[int, int]]
"""Place in the log of the last record that touched a row; of two rows of a key the higher one is newer."""


class TaskTable(faust.Table):
    """Rows as bytes.  Read by ``rows`` and ``partition_row``, written by ``write`` only."""

    def __init__(
        self, app: faust.App, *, name: str, changelog: str, partitions: int, position: RowPosition, **options: Any
    ) -> None:
        topic = app.topic(
            changelog, schema=BatchSchema(), partitions=partitions, compacting=True, acks=False, internal=True
        )
        self.width, self._row_position = partitions, position
        super().__init__(app, name=name, partitions=partitions, changelog_topic=topic, **options)
        self._keys: dict[int, set[bytes]] = defaultdict(set)
        """Partition to the keys of its rows."""
        self._written: dict[int, int] = {}
        """Partition to the last changelog offset written or recovered."""
        self._outdated: dict[int, set[bytes]] = defaultdict(set)
        """Keys whose last changelog record is older than the row: a process that had lost the partition wrote late."""

    @property
    def rows(self) -> dict[bytes, bytes]:
        """Every row of this worker's partitions."""
        data: Any = self.data
        store: dict[bytes, bytes] = data.data
        return store

    def partition_row(self, partition: int) -> bytes | None:
        """How far a partition is folded; None when it never was."""
        return self.rows.get(partition_key(partition))

    def tasks(self) -> Iterator[tuple[int, bytes, bytes]]:
        """(partition, key, row) of every task of this worker."""
        rows = self.rows
        for partition, keys in sorted(self._keys.items()):
            for key in sorted(keys):
                if not key.startswith(PARTITION_ROW) and (row := rows.get(key)) is not None:
                    yield partition, key, row

    async def write(
        self, partition: int, rows: Mapping[bytes, bytes], partition_row: bytes, headers: Headers = ()
    ) -> None:
        """Write rows, then the partition row with ``headers``; when the broker has them, take them into memory."""
        records = dict(rows)
        for key in sorted(self._outdated.pop(partition, ())):
            records.setdefault(key, self.rows[key])
        last = partition_key(partition)
        records.pop(last, None)  # an outdated one must not stand before the rows
        items: list[Item] = [(key, value, ()) for key, value in records.items()]
        items.append((last, partition_row, headers))
        records[last] = partition_row
        topic = self.changelog_topic_name
        producer: Any = self.app.producer
        first, end = await producer.write(topic, partition, items, limit=WRITE_BYTES)
        expected = self._written.get(partition, -1) + 1
        # Nothing but this process writes here; a hole is somebody else's record, whatever it says.
        if first < expected or end - first != len(items) - 1 or (partition in self._written and first != expected):
            raise Unsafe(
                f"{topic} partition {partition} has another writer: {expected} was expected, {first} written",
                hint="is a second installation running with the same worker.app_id? stop it, then restart this one",
            )
        self._written[partition] = end
        self.rows.update(records)
        self._keys[partition].update(records)

    # -- recovery and rebalance, called by Faust -----------------------------------------------------
    def persisted_offset(self, tp: TP) -> int | None:
        """A partition that stays goes on from here, and does not read its changelog again."""
        return self._written.get(tp.partition)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take recovered rows; of two rows with one key the newer one stays."""
        for event in batch:
            for record in event.value.records:
                self._recover(record)

    def _recover(self, record: Any) -> None:
        key, value, partition = record.key, record.value, record.partition
        self._written[partition] = record.offset
        if key is None or value is None:
            return
        known = self.rows.get(key)
        if known is None or self._position(key, known) <= self._position(key, value):
            self.rows[key] = value
            self._keys[partition].add(key)
            self._outdated[partition].discard(key)
        else:
            self._outdated[partition].add(key)

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """Forget the rows of partitions that went elsewhere."""
        for tp in revoked:
            if tp.topic == self.changelog_topic_name:
                for key in self._keys.pop(tp.partition, ()):
                    self.rows.pop(key, None)
                self._written.pop(tp.partition, None)
                self._outdated.pop(tp.partition, None)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def _position(self, key: bytes, value: bytes) -> tuple[int, int]:
        if key.startswith(PARTITION_ROW):
            state = decode_partition(value)
            return state.incarnation, state.next_offset
        return self._row_position(value)
