"""The tasks reserved for drills: for every partition of the log, one silent task and one that notifies people."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count

from crl_stream.core.drills import DRILL_AGENT, NOTIFYING, SILENT
from crl_stream.core.identity import TaskKey
from crl_stream.wire.partitioner import partition_of


@lru_cache(maxsize=8)
def drill_tasks(partitions: int, *, notify: bool = False) -> tuple[TaskKey, ...]:
    """Return a drill task for each of ``partitions`` partitions: the first name whose key belongs to that partition.

    >>> [str(key) for key in drill_tasks(4)]
    ['crl-drill/silent-2', 'crl-drill/silent-0', 'crl-drill/silent-1', 'crl-drill/silent-6']
    """
    found: dict[int, TaskKey] = {}
    for key in _names(NOTIFYING if notify else SILENT):
        found.setdefault(partition_of(key.encode(), partitions), key)
        if len(found) == partitions:
            break
    return tuple(found[partition] for partition in range(partitions))


def _names(kind: str) -> Iterator[TaskKey]:
    return (TaskKey(DRILL_AGENT, f"{kind}{number}") for number in count())
