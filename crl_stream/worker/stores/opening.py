"""Opens the store that a worker's settings name."""

from __future__ import annotations

from typing import Final

from crl_stream.errors import ConfigError
from crl_stream.settings.model import Worker
from crl_stream.worker.stores.memory import MemoryRows
from crl_stream.worker.stores.rows import RowStore

FOLDER: Final = "rows"
"""The subfolder of the worker's data folder that holds the rows, with a folder for each changelog."""


def make_store(worker: Worker, changelog: str) -> RowStore:
    """Make the store for the rows of ``changelog``.

    Raises ``ConfigError`` if RocksDB's library is not installed, ``UsageError`` if another process uses the folder, and
    ``Unsafe`` if the folder cannot be used.
    """
    if worker.store == "memory":
        return MemoryRows()
    try:
        import rocksdict  # noqa: F401 - an optional extra, checked here to fail with a helpful hint
    except ImportError:
        raise ConfigError(
            'worker.store = "rocksdb" needs a library that is not installed.',
            hint="pip install 'crl-stream[rocksdb]', or set worker.store to memory",
        ) from None
    from crl_stream.worker.stores.rocksdb import RocksRows

    return RocksRows(worker.data_dir / FOLDER / changelog, changelog)
