"""The guarantees of both row stores, and one that RocksDB adds: rows on disk that may be wrong are never used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from source_tree import environment_of_this_checkout

from crl_stream.errors import ConfigError, Unsafe, UsageError
from crl_stream.settings.model import Worker
from crl_stream.worker.stores import Kept, Last, MemoryRows, RowStore, make_store

rocksdb = pytest.importorskip("crl_stream.worker.stores.rocksdb", reason="needs the extra crl-stream[rocksdb]")

CHANGELOG = "an-app-tasks-changelog"
ROWS = {b"agent/b": b"second" * 500, b"agent/a": b"first" * 500, b"!partition/0": b"how far"}
LAST = Last(7, b"!partition/0", b"how far")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], RowStore]]:
    """Return a function that reopens the store of a folder, as the next process would."""
    stores: list[RowStore] = []

    def open_store() -> RowStore:
        for store in stores:
            store.release()
        stores.append(rocksdb.RocksRows(tmp_path / "rows", CHANGELOG))
        return stores[-1]

    yield open_store
    for store in stores:
        store.release()


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest, opened: Callable[[], RowStore]) -> RowStore:
    return MemoryRows() if request.param == "memory" else opened()


def fill(store: RowStore, partition: int = 0) -> None:
    assert store.open(partition) is None
    store.write(partition, ROWS, LAST, {b"agent/b"})


def test_rows_are_read_as_they_were_written_and_in_the_order_of_their_keys(store: RowStore) -> None:
    fill(store)
    rows = store.rows(0)
    assert rows.get(b"agent/a") == ROWS[b"agent/a"]
    assert rows.get(b"agent/c") is None
    assert dict(rows) == ROWS
    assert len(rows) == store.count(0) == 3
    assert sorted(store.items(0)) == sorted(ROWS.items())
    store.write(0, {b"agent/a": b"newer"}, Last(9, b"agent/a", b"newer"), set())
    assert rows[b"agent/a"] == b"newer"


def test_a_partition_has_its_own_rows_only_and_none_once_it_is_closed(store: RowStore) -> None:
    fill(store, 0)
    store.open(1)
    rows = store.rows(0)
    assert not store.rows(1)
    assert store.partitions() == [0, 1]
    store.close(0)
    assert store.partitions() == [1]
    assert not store.is_open(0)
    assert not dict(store.rows(0))
    assert store.rows(0).get(b"agent/a") is None
    assert not list(store.items(0))
    if not isinstance(store, MemoryRows):
        assert rows.get(b"agent/a") is None, "a reference to the rows from before the reopening shows no rows"


def test_discarded_rows_are_gone_and_the_partition_goes_on(store: RowStore) -> None:
    fill(store)
    store.discard(0, "a test asked for it")
    assert not dict(store.rows(0))
    store.write(0, {b"agent/a": b"new"}, LAST, set())
    assert dict(store.rows(0)) == {b"agent/a": b"new"}


def test_memory_begins_with_nothing(tmp_path: Path) -> None:
    store = make_store(Worker(data_dir=tmp_path), CHANGELOG)
    fill(store)
    store.close(0)
    assert store.open(0) is None
    assert not store.rows(0)
    assert not list(tmp_path.iterdir())


def test_rows_on_disk_outlive_the_process_with_the_place_they_are_true_up_to(opened: Callable[[], RowStore]) -> None:
    fill(opened())
    again = opened()
    again.check()
    assert again.open(0) == Kept(7, LAST.digest, {b"agent/b"})
    assert dict(again.rows(0)) == ROWS


KILLED = """
import os, signal, sys
from pathlib import Path
from crl_stream.worker.stores import Last
from crl_stream.worker.stores.rocksdb import RocksRows
store = RocksRows(Path(sys.argv[1]), "an-app-tasks-changelog")
store.open(0)
for offset in range(200):
    text = b"%d" % offset
    store.write(0, {b"agent/%d" % key: text for key in range(20)}, Last(offset, b"!partition/0", text), set())
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], env=environment_of_this_checkout(), check=False
    )
    assert result.returncode == -9


def test_what_a_killed_process_had_written_is_there_whole(tmp_path: Path, opened: Callable[[], RowStore]) -> None:
    kill_a_writer(tmp_path / "rows")
    store = opened()
    kept = store.open(0)
    assert kept is not None
    assert kept.offset == 199
    assert dict(store.rows(0)) == {b"agent/%d" % key: b"199" for key in range(20)}


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_torn_log_of_writes_gives_an_older_whole_and_never_a_half(
    tmp_path: Path, opened: Callable[[], RowStore], place: float
) -> None:
    kill_a_writer(tmp_path / "rows")
    [log] = [path for path in (tmp_path / "rows" / "0").glob("*.log") if path.stat().st_size]
    flip(log, place)
    store = opened()
    store.check()
    kept = store.open(0)
    found = dict(store.rows(0))
    if kept is None:
        assert found == {}
    else:
        assert kept.offset < 199
        text = b"%d" % kept.offset
        assert kept.digest == Last(kept.offset, b"!partition/0", text).digest
        assert found == {b"agent/%d" % key: text for key in range(20)}


def flip(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["CURRENT", "MANIFEST", "OPTIONS", "rocksdict-config", ".sst"])
def test_with_a_flipped_byte_in_any_file_the_rows_are_right_or_discarded(
    tmp_path: Path, opened: Callable[[], RowStore], caplog: pytest.LogCaptureFixture, kind: str, place: float
) -> None:
    fill(opened())
    opened().release()  # the rows that were in memory are now in a file of the database
    for path in (tmp_path / "rows" / "0").iterdir():
        if kind in path.name:
            flip(path, place)
    store = opened()
    store.check()
    kept = store.open(0)
    found = dict(store.rows(0))
    if kept is None:
        assert found == {}
        assert "discarded" in caplog.text
    else:
        assert (kept.offset, found) == (7, ROWS)
    if kind == ".sst":
        assert kept is None, "the block with the rows was damaged"
    store.write(0, {b"agent/c": b"new"}, Last(8, b"agent/c", b"new"), set())


def _compare(store: RowStore, rows: dict[bytes, bytes]) -> None:
    for key, row in rows.items():
        assert store.rows(0).get(key) == row


def test_damage_that_is_met_while_it_runs_ends_the_process_and_is_known_at_the_next_start(
    tmp_path: Path, opened: Callable[[], RowStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = opened()
    store.open(0)
    # The rows fill several blocks and all differ, so that opening the database does not read them all.
    many = {b"agent/%06d" % number: b"%d" % number * 400 for number in range(3_000)}
    store.write(0, many, LAST, set())
    store = opened()
    store.check()
    [table] = (tmp_path / "rows" / "0").glob("*.sst")
    flip(table, 0.5)
    assert store.open(0) is not None, "opening alone does not read every block"
    with pytest.raises(Unsafe) as refused:
        _compare(store, many)
    assert "restart" in (refused.value.hint or "")
    with pytest.raises(Unsafe):
        dict(store.items(0))
    again = opened()
    assert again.open(0) is None
    assert "discarded" in caplog.text
    assert not dict(again.rows(0))


def test_a_folder_that_was_deleted_begins_anew(tmp_path: Path, opened: Callable[[], RowStore]) -> None:
    fill(opened())
    opened().release()
    shutil.rmtree(tmp_path / "rows")
    store = opened()
    store.check()
    assert store.open(0) is None
    assert not dict(store.rows(0))


def test_the_rows_of_another_partition_changelog_or_format_are_discarded(
    tmp_path: Path, opened: Callable[[], RowStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(opened())
    opened().release()
    folder = tmp_path / "rows"
    shutil.copytree(folder / "0", folder / "1")
    store = opened()
    assert store.open(1) is None
    assert not dict(store.rows(1))
    store.release()
    shutil.copytree(folder, tmp_path / "other")
    other = rocksdb.RocksRows(tmp_path / "other", "another-app-tasks-changelog")
    assert other.open(0) is None
    assert not dict(other.rows(0))
    other.release()
    monkeypatch.setattr(rocksdb, "FORMAT", rocksdb.FORMAT + 1)
    newer = opened()
    assert newer.open(0) is None
    assert not dict(newer.rows(0))


def test_one_process_uses_a_folder_and_the_second_is_told_what_to_do(opened: Callable[[], RowStore]) -> None:
    store = opened()
    with pytest.raises(UsageError) as refused:
        rocksdb.RocksRows(store.folder, CHANGELOG)  # type: ignore[attr-defined]
    assert "worker.data_dir" in (refused.value.hint or "")
    store.release()
    rocksdb.RocksRows(store.folder, CHANGELOG).release()  # type: ignore[attr-defined]


def test_a_folder_that_cannot_be_written_is_said_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Unsafe) as refused:
        rocksdb.RocksRows(tmp_path / "file" / "rows", CHANGELOG)
    assert "deleting the folder loses no rows" in (refused.value.hint or "")


def test_without_the_library_the_setting_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(ConfigError) as refused:
        make_store(Worker(store="rocksdb", data_dir=tmp_path), CHANGELOG)
    assert "pip install 'crl-stream[rocksdb]'" in (refused.value.hint or "")
