"""The table on both stores: which rows a recovery trusts, what a late writer cannot do, and what a rebalance keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import invocations
from faust.types.tuples import TP

from crl_stream.errors import Unsafe
from crl_stream.kafka.log_consumer import Stretch
from crl_stream.settings import load_settings
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import PartitionRow, encode_partition, partition_key
from crl_stream.wire.topics import INVOCATIONS, Topics
from crl_stream.worker.counters import Counters
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.monitor_stages import MonitorStage
from crl_stream.worker.stores import MemoryRows
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport.lanes import Batch

KEY = b"backend-architect/api-design"
PARTITION_KEY = partition_key(0)


class Changelog:
    """One partition of a changelog, with the methods through which a table writes and reads it."""

    def __init__(self) -> None:
        self.records: dict[int, Any] = {}
        self.end = 0
        self.read_places: list[Any] = []

    def append(self, key: bytes, value: bytes) -> None:
        self.records[self.end] = SimpleNamespace(partition=0, offset=self.end, key=key, value=value)
        self.end += 1

    async def write(self, _topic: str, _partition: int, items: Iterable[Any], *, limit: int) -> tuple[int, int]:
        first = self.end
        for key, value, _ in items:
            self.append(key, value)
        return first, self.end - 1

    async def read(self, _topic: str, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        self.read_places += places
        return {place: self.records.get(place[1]) for place in places}

    def batches(self, after: int) -> list[Any]:
        """Return the batches that Faust delivers for the records after an offset."""
        records = [record for offset, record in sorted(self.records.items()) if offset > after]
        value = Batch(TP("changelog", 0), Stretch(after + 1, records, self.end))
        return [SimpleNamespace(value=value)] if after + 1 < self.end else []

    def end_transaction(self) -> None:
        """Append a control record, which takes an offset but is not shown to readers."""
        self.end += 1


Opener = Callable[[], TaskTable]


@pytest.fixture
def changelog() -> Changelog:
    return Changelog()


@pytest.fixture(params=["memory", "rocksdb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, changelog: Changelog) -> Iterator[Opener]:
    """Yield a function that makes the next process's table, without any partition yet."""
    if request.param == "rocksdb":
        pytest.importorskip("rocksdict", reason="needs the extra crl-stream[rocksdb]")
    tables: list[TaskTable] = []

    def open_table() -> TaskTable:
        for table in tables:
            table.store.release()
        flags = {
            "kafka.bootstrap_servers": "127.0.0.1:1",
            "kafka.partitions": "4",
            "worker.data_dir": str(tmp_path),
            "worker.store": request.param,
        }
        monitor = Monitor(load_settings(environment={}, flags=flags))
        monitor.app._producer = changelog
        monitor.app._consumer = SimpleNamespace(leave=leave)
        monitor.table._reader = changelog
        tables.append(monitor.table)
        return monitor.table

    yield open_table
    for table in tables:
        table.store.release()


def leave(exc: BaseException) -> None:
    raise SystemExit(repr(exc)) from exc


def place(table: TaskTable, partition: int = 0) -> TP:
    return TP(table.changelog_topic_name, partition)


async def assign(table: TaskTable, *partitions: int, revoked: Iterable[int] = ()) -> None:
    await table.on_rebalance({place(table, p) for p in partitions}, {place(table, p) for p in revoked}, set())


async def recover(table: TaskTable, changelog: Changelog) -> None:
    """Recover as Faust does, starting after the offset that the table returns."""
    await assign(table, 0)
    known = table.persisted_offset(place(table))
    table.apply_changelog_batch(changelog.batches(-1 if known is None else known))


def rows_of(count: int) -> list[bytes]:
    """Return the row of a task after each of ``count`` outcomes."""
    driver, found = TopologyDriver(), []
    for message in invocations("default", "S" * count):
        driver.pipe(message)
        found.append(driver.rows()[KEY])
    return found


def partition_row(next_offset: int) -> bytes:
    return encode_partition(PartitionRow(next_offset=next_offset))


ROWS = rows_of(4)


async def test_what_was_written_is_there_and_the_next_process_has_the_same(
    opened: Opener, changelog: Changelog
) -> None:
    table = opened()
    await recover(table, changelog)
    for number, row in enumerate(ROWS):
        await table.write(0, {KEY: row}, partition_row(number + 1))
    assert list(table.tasks()) == [(0, KEY, ROWS[-1])]
    again = opened()
    await recover(again, changelog)
    assert list(again.tasks()) == [(0, KEY, ROWS[-1])]
    assert again.partition_row(0) == partition_row(4)
    await again.write(0, {KEY: ROWS[-1]}, partition_row(5))


async def test_what_the_broker_does_not_take_is_not_taken_into_the_rows(opened: Opener, changelog: Changelog) -> None:
    table = opened()
    await recover(table, changelog)
    await table.write(0, {KEY: ROWS[0]}, partition_row(1))

    async def refuse(*_: Any, **__: Any) -> Any:
        raise ConnectionError("the broker is gone")

    changelog.write = refuse  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await table.write(0, {KEY: ROWS[1]}, partition_row(2))
    assert table.rows(0).get(KEY) == ROWS[0]
    assert table.partition_row(0) == partition_row(1)


async def test_a_changelog_that_ends_with_a_control_record_is_recovered_to_its_end_and_written_on(
    opened: Opener, changelog: Changelog
) -> None:
    """Another program has copied or repaired the changelog in a transaction; readers never see the end marker."""
    table = opened()
    await recover(table, changelog)
    await table.write(0, {KEY: ROWS[0]}, partition_row(1))
    changelog.end_transaction()
    again = opened()
    await recover(again, changelog)
    assert again.persisted_offset(place(again)) == changelog.end - 1, "Faust waits for this offset"
    assert again.last_record(0) == 1
    assert list(again.tasks()) == [(0, KEY, ROWS[0])]
    await again.write(0, {KEY: ROWS[1]}, partition_row(2))
    assert again.rows(0)[KEY] == ROWS[1]


async def test_a_control_record_that_comes_while_a_worker_writes_is_another_writer(
    opened: Opener, changelog: Changelog
) -> None:
    table = opened()
    await recover(table, changelog)
    await table.write(0, {KEY: ROWS[0]}, partition_row(1))
    changelog.end_transaction()
    with pytest.raises(Unsafe, match="has another writer"):
        await table.write(0, {KEY: ROWS[1]}, partition_row(2))


async def test_a_restart_on_disk_reads_only_what_came_after(opened: Opener, changelog: Changelog) -> None:
    table = opened()
    await recover(table, changelog)
    await table.write(0, {KEY: ROWS[0]}, partition_row(1))
    again = opened()
    await assign(again, 0)
    on_disk = not isinstance(again.store, MemoryRows)
    assert again.persisted_offset(place(again)) == (1 if on_disk else None)


async def test_a_late_writers_older_row_does_not_win_in_any_process_that_follows(
    opened: Opener, changelog: Changelog
) -> None:
    table = opened()
    await recover(table, changelog)
    await table.write(0, {KEY: ROWS[2]}, partition_row(3))
    changelog.append(KEY, ROWS[1])
    changelog.append(PARTITION_KEY, partition_row(2))
    again = opened()
    await recover(again, changelog)
    assert again.rows(0).get(KEY) == ROWS[2]
    assert again.partition_row(0) == partition_row(3)
    # A second recovery, without writes, must not forget which rows have to be rewritten.
    third = opened()
    await recover(third, changelog)
    await third.write(0, {b"backend-architect/other": ROWS[0]}, partition_row(4))
    newest = {record.key: record.value for _, record in sorted(changelog.records.items())}
    assert newest[KEY] == ROWS[2], "otherwise, compaction would keep only the older row"
    fourth = opened()
    await recover(fourth, changelog)
    assert fourth.rows(0).get(KEY) == ROWS[2]


@pytest.mark.parametrize("change", ["another record", "no record", "shorter"])
async def test_rows_of_another_changelog_are_not_believed(opened: Opener, changelog: Changelog, change: str) -> None:
    table = opened()
    await recover(table, changelog)
    await table.write(0, {KEY: ROWS[3], b"a/ghost": ROWS[0]}, partition_row(4))
    last = changelog.end - 1
    changelog.records.clear()
    changelog.end = 0
    if change != "shorter":
        changelog.append(KEY, ROWS[0])
        changelog.append(KEY, ROWS[1])
        changelog.append(PARTITION_KEY, partition_row(2))
        assert changelog.end - 1 == last
    if change == "no record":
        del changelog.records[last]
    again = opened()
    await recover(again, changelog)
    assert again.rows(0).get(b"a/ghost") is None
    assert again.rows(0).get(KEY) == (None if change == "shorter" else ROWS[1])


async def test_a_partition_that_stays_keeps_its_rows_and_one_that_goes_leaves_none(
    opened: Opener, changelog: Changelog
) -> None:
    table = opened()
    await assign(table, 0, 1)
    await table.write(0, {KEY: ROWS[0]}, partition_row(1))
    await assign(table, 0, revoked=[1])
    assert table.persisted_offset(place(table)) == 1
    assert [key for _, key, _ in table.tasks()] == [KEY]
    table._outdated[0].add(KEY)
    await assign(table, 1, revoked=[0])
    assert list(table.tasks()) == []
    assert table.rows(0).get(KEY) is None
    assert table.partition_row(0) is None
    assert table.persisted_offset(place(table)) is None


async def test_records_that_arrive_for_a_partition_that_has_gone_leave_no_ghost(
    opened: Opener, changelog: Changelog
) -> None:
    table = opened()
    await assign(table, 1)
    changelog.append(KEY, ROWS[0])
    table.apply_changelog_batch(changelog.batches(-1))
    assert list(table.tasks()) == []
    assert table.rows(0).get(KEY) is None


async def test_nothing_is_written_or_published_for_a_partition_whose_rows_are_gone(
    opened: Opener, changelog: Changelog
) -> None:
    table = opened()
    await recover(table, changelog)
    await table.write(0, {KEY: ROWS[0]}, partition_row(1))
    end, published = changelog.end, []

    async def publish(outputs: Any) -> None:
        published.append(outputs)

    outlet: Any = SimpleNamespace(topics=Topics(""), counters=Counters(), publish=publish)
    stage = MonitorStage(table, outlet, Any)  # type: ignore[arg-type]
    driver = TopologyDriver()
    driver.pipe(*invocations("default", "S"))
    records = list(driver.records(INVOCATIONS))
    batch = Batch(TP(INVOCATIONS, 0), Stretch(0, records, len(records)))
    await assign(table, revoked=[0])
    with pytest.raises(Unsafe):
        await stage.work(batch)
    with pytest.raises(Unsafe):
        await table.write(0, {KEY: ROWS[0]}, partition_row(1))
    assert not published
    assert changelog.end == end


async def test_a_row_that_cannot_be_read_ends_the_process_instead_of_a_recovery_that_never_ends(
    opened: Opener, changelog: Changelog
) -> None:
    changelog.append(KEY, ROWS[0])
    changelog.append(KEY, b"\xc1 no row")
    table = opened()
    await assign(table, 0)
    with pytest.raises(SystemExit):
        table.apply_changelog_batch(changelog.batches(-1))


def test_a_recovered_batch_is_taken_soon_and_nothing_is_read_once_all_is_there(opened: Opener) -> None:
    # Faust counts events, and here each is a batch. With a limit of 1 it would keep reading the changelog.
    assert opened().recovery_buffer_size == 2
