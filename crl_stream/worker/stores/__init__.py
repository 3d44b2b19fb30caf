"""Where the rows of a worker's partitions are: in memory, or in RocksDB on its disk.

    rows     what both must do
    memory   rows in memory
    rocksdb  rows on disk
    opening  which of them the settings ask for

Neither is the truth: the changelog is, and what is here can be deleted at any time.
"""

from crl_stream.worker.stores.memory import MemoryRows
from crl_stream.worker.stores.opening import make_store
from crl_stream.worker.stores.rows import Kept, Last, RowStore

__all__ = ["Kept", "Last", "MemoryRows", "RowStore", "make_store"]
