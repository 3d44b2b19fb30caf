"""Rows in RocksDB on the worker's disk, for state that outgrows its memory: a cache of the changelog.

Each partition has its own database, so a partition that moves or is damaged can be closed or dropped without affecting
the others. A write and its position in the changelog form one ``WriteBatch``: after a crash, either both or neither
exist. Nothing is synced to disk: a power failure loses only the tail, which is reread from the changelog.
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
"""The version of ``_Mark`` and of the format of the rows; rows of another version are discarded."""
MARK_KEY: Final = b"\0mark"
"""The key of the mark. It sorts before every row and cannot equal a row's key, because row keys are printable."""
CACHE_BYTES: Final = 32 * 1024 * 1024
"""Size in bytes of the block cache, which all partitions of a table share. Other blocks are in the page cache of the
operating system, which frees them under memory pressure. Faust's own store takes 2 GiB for each partition."""
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Size of a write buffer in bytes; each partition has at most two."""
LOG_FILES: Final = 2
_LOCKED: Final = re.compile(r"^IO error: .*\block (hold|file)\b")
LOCK: Final = ".lock"
DAMAGED: Final = ".damaged"
"""A file with this name in a partition's folder means that a block with a wrong checksum was read."""


class _Mark(msgspec.Struct, array_like=True):
    """The changelog partition that the rows of a database belong to, and the offset up to which they are valid."""

    format: int
    changelog: str
    partition: int
    offset: int
    digest: bytes
    outdated: list[bytes]


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(_Mark).decode


class RocksRows:
    """Stores the rows of one changelog in ``folder``; only one process can use it at a time."""

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
            hint="give each worker on a machine its own folder: worker.data_dir or CRL_WORKER_DATA_DIR",
        )

    # -- opening -----------------------------------------------------------------------------------
    def check(self) -> None:
        """Read every row of every partition on disk, and drop the partitions with a damaged block."""
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
            log.info("%s: read %d partitions from disk in %.1f s", self.changelog, len(there), monotonic() - began)

    def partitions(self) -> list[int]:
        """Return the open partitions, in order."""
        return sorted(self._databases)

    def open(self, partition: int) -> Kept | None:
        """Open the database of a partition; replace it if it is damaged or belongs to another partition."""
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
            self.discard(partition, f"it belongs to {mark.changelog} partition {mark.partition}, format {mark.format}")
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
        """Return whether a partition is open."""
        return partition in self._databases

    # -- reading -----------------------------------------------------------------------------------
    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the current rows of a partition; empty while it is not open."""
        return _Rows(self, partition)

    def count(self, partition: int) -> int:
        """Return roughly how many rows a partition has: the library's estimate, which reads nothing."""
        database = self._databases.get(partition)
        return 0 if database is None else max(0, (database.property_int_value("rocksdb.estimate-num-keys") or 0) - 1)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a partition, in the order of their keys."""
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
        """Return one row, or None if it does not exist."""
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
        """Set rows, and the changelog position up to which they are valid, atomically."""
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
        """Drop the rows of an open partition and start with an empty database."""
        self.close(partition)
        self._drop(partition, reason)
        self._databases[partition] = self._make(partition)

    def close(self, partition: int) -> None:
        """Close the database of a partition, which stays on disk."""
        if (database := self._databases.pop(partition, None)) is not None:
            database.close()

    def release(self) -> None:
        """Close everything and release the folder for the next process."""
        for partition in self.partitions():
            self.close(partition)
        self._lock.release()

    # -- trouble -----------------------------------------------------------------------------------
    def _path(self, partition: int) -> Path:
        return self.folder / str(partition)

    def _drop(self, partition: int, reason: str) -> None:
        if _LOCKED.search(reason):  # this process already holds the lock, so its file must have been deleted
            raise self._unusable(UsageError(f"another process uses partition {partition}"))
        log.warning(
            "%s partition %d: the rows on disk are discarded; the changelog has them all: %s",
            *(self.changelog, partition, reason),
        )
        try:
            shutil.rmtree(self._path(partition))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error

    def _fail(self, partition: int, error: Exception) -> NoReturn:
        """Raise ``Unsafe`` to end the worker; the next start continues from the changelog."""
        if _reason(error).startswith("Corruption"):
            with suppress(OSError):  # if the folder is gone, its rows cannot be used again anyway
                (self._path(partition) / DAMAGED).touch()
            raise Unsafe(
                f"rows of {self.changelog} partition {partition} on disk are damaged: {_reason(error)}",
                hint="restart the worker: it discards them and reads the changelog; then check the disk",
            ) from error
        raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> Unsafe:
        return Unsafe(
            f"rows cannot be kept in {self.folder}: {_reason(error)}",
            hint="free some space or make the folder writable, then restart; deleting the folder loses no rows",
        )


class _Rows(Mapping[bytes, bytes]):
    """The rows of a partition that was open when they were requested, and may be closed before they are read."""

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
    """Yield every entry; raise at a block with a wrong checksum, where the library's ``items`` would just end."""
    entries = database.iter()
    entries.seek_to_first()
    while entries.valid():
        yield entries.key(), entries.value()
        entries.next()
    entries.status()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else repr(error)
