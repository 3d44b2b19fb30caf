"""Which store a worker's settings ask for."""

from __future__ import annotations

from typing import Final

from crl_stream.errors import ConfigError
from crl_stream.settings.model import Worker
from crl_stream.worker.stores.memory import MemoryRows
from crl_stream.worker.stores.rows import RowStore

FOLDER: Final = "rows"
"""Of the worker's data folder; in it a folder for each changelog."""


def make_store(worker: Worker, changelog: str) -> RowStore:
    """The store of the rows of ``changelog``.

    ``ConfigError`` without RocksDB's library, ``UsageError`` for a folder that another process uses, ``Unsafe`` for one
    that cannot be used.
    """
    if worker.store == "memory":
        return MemoryRows()
    try:
        import rocksdict  # noqa: F401 - an optional extra; asked for here, where a person can still do something
    except ImportError:
        raise ConfigError(
            'worker.store = "rocksdb" needs a library that is not installed.',
            hint="pip install 'crl-stream[rocksdb]', or set worker.store to memory",
        ) from None
    from crl_stream.worker.stores.rocksdb import RocksRows

    return RocksRows(worker.data_dir / FOLDER / changelog, changelog)
