"""Consumers that read everything a Kafka client may legally write, and report how far they have read.

aiokafka reads most of it.  ``read_everything`` adds the rest to a single consumer, without changing the others in the
process:

* a batch that cannot be read, or would unpack to more than ``wire.record_batch.MAX_UNPACKED``, becomes one record that
  says why (``wire.records.UnreadBatch``);
* header names that are not UTF-8 are read and keep their bytes;
* a poll reports the positions between which it has read (``Stretch``).  Offsets have gaps where a transaction ended or
  was aborted, or where a topic was compacted, so only the positions prove that nothing was skipped.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as stock
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import _LegacyRecordBatchPy

from crl_stream.wire.compression import Damaged, TooLarge
from crl_stream.wire.record_batch import (
    MAGIC,
    NO_TIMESTAMP,
    check_legacy,
    is_whole,
    magic_of,
    records_of,
    split,
    unpacked,
    unread,
)
from crl_stream.wire.records import UnreadBatch

READ_COMMITTED: Final = "read_committed"
READ_UNCOMMITTED: Final = "read_uncommitted"


class Stretch(list[Any]):
    """All records of one partition from one position to another, possibly none.

    A stretch is true (``bool``) whenever the position has moved.
    """

    def __init__(self, start: int, records: Iterable[Any] = (), end: int | None = None) -> None:
        super().__init__(records)
        self.start = start
        """The position at which the stretch begins."""
        self.end = start if end is None else end
        """The position after the last record and any control records that follow it."""

    def __bool__(self) -> bool:
        """Return whether the position has moved."""
        return self.end != self.start


class LogConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """An aiokafka consumer that reads everything that is committed; ``options`` are aiokafka's."""

    def __init__(self, **options: Any) -> None:
        own: dict[str, Any] = {"group_id": None, "enable_auto_commit": False, "isolation_level": READ_COMMITTED}
        super().__init__(**own | options)

    async def start(self) -> None:
        """Connect."""
        await super().start()
        read_everything(self)


def read_everything(consumer: Any) -> None:
    """Make a started aiokafka consumer read everything that a client may write; it must not have an assignment yet."""
    fetcher = consumer._fetcher  # noqa: SLF001
    for name in ("_proc_fetch_request", "fetched_records", "next_record"):
        setattr(fetcher, name, MethodType(_reading_everything(getattr(stock.Fetcher, name)), fetcher))


def answered_at(consumer: Any, places: Iterable[Any]) -> int:
    """Return when Kafka last answered for every partition, or 0 if never; a poll alone does not show this."""
    return min((consumer.last_poll_timestamp(place) or 0 for place in places), default=0)


async def whole_ends(consumer: Any, places: Iterable[Any]) -> dict[Any, int]:
    """Return the offset after the last record of each partition, open transactions included.

    For a consumer that reads only committed records, ``end_offsets`` stops where the first open transaction begins.
    """
    fetcher = copy.copy(consumer._fetcher)  # noqa: SLF001
    fetcher._isolation_level = stock.READ_UNCOMMITTED  # noqa: SLF001
    wanted = [TopicPartition(*place) for place in places]
    found: dict[Any, int] = await fetcher.end_offsets(wanted, consumer._request_timeout_ms) if wanted else {}  # noqa: SLF001
    return found


def _reading_everything(method: Any) -> FunctionType:
    """Copy ``method`` of aiokafka's fetcher, with our classes instead of the stock ones."""
    ours = {"MemoryRecords": _Batches, "PartitionRecords": _PartitionRecords, "FetchResult": _FetchResult}
    changed = FunctionType(
        method.__code__, {**method.__globals__, **ours}, method.__name__, method.__defaults__, method.__closure__
    )
    changed.__kwdefaults__ = method.__kwdefaults__
    return changed


class _FetchResult(stock.FetchResult):  # type: ignore[misc]
    """The records fetched from one partition, which it returns as stretches."""

    _fault: Exception | None = None
    _partition_records: Any

    def getall(self, max_records: int | None = None) -> Any:
        """Return up to ``max_records`` records; those read before an error come first, and the next call raises it."""
        place = self._topic_partition
        if not self.check_assignment(place) or not self.has_more():
            return []
        records = self._partition_records
        if self._fault is not None:
            self._partition_records = None  # the faulty batch is fetched again
            raise self._fault
        found = Stretch(records.next_fetch_offset)
        try:
            for record in records:
                found.append(record)
                if max_records is not None and len(found) >= max_records:
                    break
            else:
                self._partition_records = None
        except CorruptRecordException as fault:
            if not found and records.next_fetch_offset == found.start:
                self._partition_records = None
                raise
            self._fault = fault
        found.end = records.next_fetch_offset
        self._assignment.state_value(place).consumed_to(found.end)
        return found


class _PartitionRecords(stock.PartitionRecords):  # type: ignore[misc]
    """Records of a partition without aborted transactions and control records, as in the stock class."""

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        if type(record) is UnreadBatch:
            return record._replace(topic=tp.topic, partition=tp.partition)
        return super()._consumer_record(tp, record)


class _Batches:
    """The batches of one response, in the form that the stock code expects."""

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        self._left = deque(split(data))

    def size_in_bytes(self) -> int:
        """Return the size of the response in bytes."""
        return self._size

    def has_next(self) -> bool:
        """Return whether another complete batch is left."""
        return bool(self._left)

    def next_batch(self) -> _Batch | _LegacyBatch:
        """Return the next batch of the response."""
        data = self._left.popleft()
        return _Batch(data) if magic_of(data) >= MAGIC else _LegacyBatch(data)


class _Batch:
    """A batch of format 2."""

    def __init__(self, data: bytes) -> None:
        if not is_whole(data):
            raise CorruptRecordException("a batch is shorter than its header")
        self._data = data
        self._stock = stock_batch = DefaultRecordBatch(data)
        self.base_offset, self.next_offset = stock_batch.base_offset, stock_batch.next_offset
        self.producer_id = stock_batch.producer_id
        self.is_control_batch, self.is_transactional = stock_batch.is_control_batch, stock_batch.is_transactional

    def validate_crc(self) -> bool:
        """Return whether the checksum of the batch matches its bytes."""
        return bool(self._stock.validate_crc())

    def __next__(self) -> Any:
        """Return the single record of a control batch."""
        return next(records_of(self._data))

    def __iter__(self) -> Iterator[Any]:
        """Yield the records of the batch; one ``UnreadBatch`` replaces those that cannot be read."""
        done, last = 0, None
        try:
            plain = unpacked(self._data)
            batch = self._stock if plain is self._data else DefaultRecordBatch(plain)
            try:
                for last in batch:
                    yield last
                    done += 1
            except (CorruptRecordException, UnicodeDecodeError):
                for last in islice(records_of(plain), done, None):
                    yield last
        except (TooLarge, Damaged) as fault:
            yield unread(self._data, fault, self.base_offset if last is None else last.offset + 1)


class _LegacyBatch:
    """One record of format 0 or 1, or a compressed record that contains many; old topics still hold such records."""

    producer_id = None
    is_control_batch = is_transactional = False

    def __init__(self, data: bytes) -> None:
        self._data = data
        try:
            # aiokafka's C reader trusts the lengths in a record, and a wrong length can crash the process.
            self._stock = _LegacyRecordBatchPy(data, magic_of(data))
            self.next_offset = self._stock.next_offset
        except Exception as error:
            raise CorruptRecordException(f"a record of format {magic_of(data)} is cut off") from error

    def validate_crc(self) -> bool:
        """Return whether the checksum of the batch matches its bytes."""
        return bool(self._stock.validate_crc())

    def __iter__(self) -> Iterator[Any]:
        """Yield the records; one ``UnreadBatch`` replaces those that cannot be read."""
        first = self.next_offset - 1
        try:
            check_legacy(self._data)
            for record in self._stock:
                yield record if record.timestamp is not None else _Undated(record)
                first = record.offset + 1
        except (TooLarge, Damaged) as fault:
            yield unread(self._data, fault, first)
        except Exception as error:  # any error that the stock reader raises for malformed bytes
            yield unread(self._data, Damaged(repr(error)), first)


class _Undated:
    """A record of format 0, which has no timestamp."""

    timestamp, timestamp_type = NO_TIMESTAMP, 0
    headers: tuple[()] = ()

    def __init__(self, record: Any) -> None:
        self.offset, self.key, self.value, self.checksum = record.offset, record.key, record.value, record.checksum
