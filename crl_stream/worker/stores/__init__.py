"""Where the rows of a worker's partitions are kept: in memory, or in RocksDB on its disk.

    rows     the interface of both stores
    memory   rows in memory
    rocksdb  rows on disk
    opening  opens the store that the settings name

The changelog is the source of truth, so the rows in a store can be deleted at any time.
"""

from crl_stream.worker.stores.memory import MemoryRows
from crl_stream.worker.stores.opening import make_store
from crl_stream.worker.stores.rows import Kept, Last, RowStore

__all__ = ["Kept", "Last", "MemoryRows", "RowStore", "make_store"]
