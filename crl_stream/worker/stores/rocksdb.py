"""Rows in RocksDB on the worker's disk, for state that outgrows its memory: a cache of the changelog.

A database for each partition, so that one that goes elsewhere is closed and one that is damaged is dropped alone.  What
a write sets, and the place in the changelog up to which it is true, are one ``WriteBatch``: after a crash both are
there or neither is.  Nothing is synced: what a power failure takes is the tail, and the tail is read again.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, NoReturn

import msgspec
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from crl_stream.errors import Unsafe, UsageError
from crl_stream.telemetry.locks import HeldLock
from crl_stream.worker.stores.rows import Kept, Last

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Of ``_Mark`` and of how rows are kept; another one is discarded."""
MARK_KEY: Final = b"\0mark"
"""Sorts before every row, and no key of a row can equal it: those are printable."""
CACHE_BYTES: Final = 32 * 1024 * 1024
"""For blocks of all partitions of a table: what is beyond it is in the page cache of the operating system, which gives
it back under pressure.  Faust's own store takes 2 GiB for each partition."""
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Of each partition, twice at most."""
LOG_FILES: Final = 2
_LOCKED: Final = re.compile(r"^IO error: .*\block (hold|file)\b")
LOCK: Final = ".lock"
DAMAGED: Final = ".damaged"
"""A file of this name in a partition's folder: a block did not have its checksum when it was read."""


class _Mark(msgspec.Struct, array_like=True):
    """Of what the rows of a database are, and up to where."""

    format: int
    changelog: str
    partition: int
    offset: int
    digest: bytes
    outdated: list[bytes]


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(_Mark).decode


class RocksRows:
    """The store of one changelog's rows in ``folder``, which one process uses at a time."""

    def __init__(self, folder: Path, changelog: str) -> None:
        self.folder, self.changelog = folder, changelog
        self._databases: dict[int, Any] = {}
        self._cache = Cache(CACHE_BYTES)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self._lock = HeldLock(
            folder / LOCK,
            taken=f"Another worker keeps its rows in {folder}",
            hint="give each worker on a machine a folder of its own: worker.data_dir or CRL_WORKER_DATA_DIR",
        )

    # -- opening -----------------------------------------------------------------------------------
    def check(self) -> None:
        """Read every row of every partition that is there, and drop the partitions in which a block is damaged."""
        began = monotonic()
        there = sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        for partition in there:
            try:
                database = Rdict(str(self._path(partition)), self._options())
                for _ in _scan(database):
                    pass
                database.close()
            except Exception as error:
                self._drop(partition, _reason(error))
        if there:
            log.info("%s: %d partitions on disk read in %.1f s", self.changelog, len(there), monotonic() - began)

    def partitions(self) -> list[int]:
        """The open ones, in order."""
        return sorted(self._databases)

    def open(self, partition: int) -> Kept | None:
        """Open the database of a partition; one that is damaged, or not this partition's, is made anew."""
        path = self._path(partition)
        if (path / DAMAGED).exists():
            self._drop(partition, "it is damaged")
        try:
            database = Rdict(str(path), self._options())
            found = database.get(MARK_KEY)
            mark = None if found is None else _DECODE(found)
        except Exception as error:
            self._drop(partition, _reason(error))
            self._databases[partition] = self._make(partition)
            return None
        self._databases[partition] = database
        if mark is None:
            return None
        if (mark.format, mark.changelog, mark.partition) != (FORMAT, self.changelog, partition):
            self.discard(partition, f"it is of {mark.changelog} partition {mark.partition}, format {mark.format}")
            return None
        return Kept(mark.offset, mark.digest, frozenset(mark.outdated))

    def _make(self, partition: int) -> Any:
        try:
            return Rdict(str(self._path(partition)), self._options())
        except Exception as error:
            raise self._unusable(error) from error

    def _options(self) -> Options:
        options, blocks = Options(raw_mode=True), BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_bloom_filter(10, block_based=False)
        options.create_if_missing(create_if_missing=True)
        options.set_block_based_table_factory(blocks)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(2)
        options.set_keep_log_file_num(LOG_FILES)
        return options

    def is_open(self, partition: int) -> bool:
        """Whether it has a partition."""
        return partition in self._databases

    # -- reading -----------------------------------------------------------------------------------
    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        """The rows of a partition as they stand; none while it is not open."""
        return _Rows(self, partition)

    def count(self, partition: int) -> int:
        """About how many rows a partition has: as many as the library's estimate, which reads nothing."""
        database = self._databases.get(partition)
        return 0 if database is None else max(0, (database.property_int_value("rocksdb.estimate-num-keys") or 0) - 1)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a partition, in the order of their keys."""
        database = self._databases.get(partition)
        if database is None:
            return
        try:
            for key, value in _scan(database):
                if key != MARK_KEY:
                    yield key, value
        except Exception as error:
            self._fail(partition, error)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """One row, None where there is none."""
        database = self._databases.get(partition)
        if database is None:
            return None
        try:
            row: bytes | None = database.get(key)
        except Exception as error:
            self._fail(partition, error)
        return row

    # -- writing -----------------------------------------------------------------------------------
    def write(self, partition: int, rows: Mapping[bytes, bytes], last: Last, outdated: AbstractSet[bytes]) -> None:
        """Set rows and the place in the changelog up to which they are true, both or neither."""
        batch = WriteBatch(raw_mode=True)
        for key, row in rows.items():
            batch.put(key, row)
        mark = _Mark(FORMAT, self.changelog, partition, last.offset, last.digest, sorted(outdated))
        batch.put(MARK_KEY, _ENCODE(mark))
        database = self._databases.get(partition)
        if database is None:
            raise Unsafe(f"partition {partition} of {self.changelog} is not open", hint="restart the worker")
        try:
            database.write(batch)
        except Exception as error:
            self._fail(partition, error)

    def discard(self, partition: int, reason: str) -> None:
        """Drop what is there of an open partition and begin anew."""
        self.close(partition)
        self._drop(partition, reason)
        self._databases[partition] = self._make(partition)

    def close(self, partition: int) -> None:
        """Close the database of a partition, which stays on disk."""
        if (database := self._databases.pop(partition, None)) is not None:
            database.close()

    def release(self) -> None:
        """Close everything and let the next process in."""
        for partition in self.partitions():
            self.close(partition)
        self._lock.release()

    # -- trouble -----------------------------------------------------------------------------------
    def _path(self, partition: int) -> Path:
        return self.folder / str(partition)

    def _drop(self, partition: int, reason: str) -> None:
        if _LOCKED.search(reason):  # ours is held: somebody has deleted its file
            raise self._unusable(UsageError(f"another process uses partition {partition}"))
        log.warning(
            "%s partition %d: the rows on disk are discarded, the changelog has them all: %s",
            *(self.changelog, partition, reason),
        )
        try:
            shutil.rmtree(self._path(partition))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error

    def _fail(self, partition: int, error: Exception) -> NoReturn:
        """Leave, so that the next start goes on from the changelog."""
        if _reason(error).startswith("Corruption"):
            with suppress(OSError):  # of a folder that is gone nothing is used again
                (self._path(partition) / DAMAGED).touch()
            raise Unsafe(
                f"rows of {self.changelog} partition {partition} on disk are damaged: {_reason(error)}",
                hint="restart the worker: it discards them and reads the changelog; then have the disk looked at",
            ) from error
        raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> Unsafe:
        return Unsafe(
            f"rows cannot be kept in {self.folder}: {_reason(error)}",
            hint="free some space or make the folder writable, then restart; it may be deleted, the changelog has all",
        )


class _Rows(Mapping[bytes, bytes]):
    """The rows of a partition that is open now, and may be closed the next time they are read."""

    def __init__(self, store: RocksRows, partition: int) -> None:
        self._store, self._partition = store, partition

    def __getitem__(self, key: bytes) -> bytes:
        row = self._store.get(self._partition, key)
        if row is None:
            raise KeyError(key)
        return row

    def __iter__(self) -> Iterator[bytes]:
        for key, _ in self._store.items(self._partition):
            yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _scan(database: Any) -> Iterator[tuple[bytes, bytes]]:
    """Every entry; raises at a block without its checksum, where the library's own ``items`` ends as if it were all."""
    entries = database.iter()
    entries.seek_to_first()
    while entries.valid():
        yield entries.key(), entries.value()
        entries.next()
    entries.status()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else repr(error)
