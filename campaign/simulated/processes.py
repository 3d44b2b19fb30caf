"""A stage of the worker as a process of the simulation: the worker's own code, advanced one await at a time.

A stage writes everything through ``Outlet``, which stops before and after each write.  At each stop, the schedule lets
the process continue, die, or stall until another process has taken over its partition.
"""

from __future__ import annotations

import enum
import random
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final, cast

from campaign.simulated.broker import Broker
from campaign.simulated.outlet import Batch, Outlet, Point, Reader
from crl_stream.core.messages import Tick
from crl_stream.core.proposer.remedies import Remedies
from crl_stream.errors import Unsafe
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages.partition import decode_partition
from crl_stream.stages.topology import INLET, MONITOR, OVERVIEW_PAGE, PROPOSER, TALLY, RowPosition
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import TICK_KEY
from crl_stream.worker.counters import Counters
from crl_stream.worker.monitor_stages import OUTPUTS_AT_ONCE, InletStage, MonitorStage
from crl_stream.worker.service_stages import OverviewStage, ProposerStage, TallyStage
from crl_stream.worker.stages import TableStage
from crl_stream.worker.stores import MemoryRows
from crl_stream.worker.table import TaskTable


class Kind(enum.Enum):
    """A stage, with its consumer group and source topic."""

    INLET = "inlet"
    MONITOR = "monitor"
    PROPOSER = "proposer"
    TALLY_ROLLBACKS = "tally of crl.rollbacks"
    TALLY_ALERTS = "tally of crl.alerts"
    TALLY_PROPOSALS = "tally of crl.proposals"
    TALLY_TASKS = "tally of crl.tasks"
    OVERVIEW = "overview"


_TALLIES: Final = (Kind.TALLY_ROLLBACKS, Kind.TALLY_ALERTS, Kind.TALLY_PROPOSALS, Kind.TALLY_TASKS)
_PLACES: Final = {
    Kind.INLET: INLET,
    Kind.MONITOR: MONITOR,
    Kind.PROPOSER: PROPOSER,
    Kind.OVERVIEW: OVERVIEW_PAGE,
}
SOURCE_OF: Final[dict[Kind, str]] = {
    **{kind: place.source for kind, place in _PLACES.items()},
    **dict(zip(_TALLIES, TALLY.sources, strict=True)),
}
POSITION_OF: Final[dict[Kind, RowPosition]] = {
    kind: place.table.position for kind, place in _PLACES.items() if place.table is not None
}
"""The row position of each stage that has a table."""
_numbers = count(1)


@lru_cache(maxsize=1)
def remedies() -> Remedies:
    """Return the shipped catalogue of remedies."""
    return load_remedies()


class Table(TaskTable):
    """The worker's table without Faust: the code for rows, recovery and writes is the worker's own."""

    def __init__(self, app: Any, kind: Kind, partition: int, broker: Broker) -> None:
        self.app, self.kind, self.width = app, kind, broker.partitions
        self._row_position = POSITION_OF[kind]
        self.store = MemoryRows()
        self.store.open(partition)
        self._written, self._last_record, self._outdated = {}, {}, defaultdict(set)
        self.apply_changes(broker.changelogs[kind.value, partition].records)

    def apply_changes(self, records: Iterable[Any]) -> None:
        """Recover rows from changelog records, as a table does under Faust."""
        for record in records:
            self._recover(record.partition, [record])

    @property
    def changelog_topic_name(self) -> str:
        """Return the name of the changelog."""
        return self.kind.value


class Died(Exception):
    """Raised when a stage has ended its process, as it does when it finds another writer."""


class Process:
    """A stage with one partition, from its assignment to its end."""

    def __init__(self, kind: Kind, partition: int, broker: Broker, rng: random.Random) -> None:
        self.kind, self.partition, self.broker, self.rng = kind, partition, broker, rng
        self.number = next(_numbers)
        self.source = SOURCE_OF[kind]
        self.group = (kind.value, partition)
        self.is_zombie = False
        self.went_back = False
        """Whether a partition row that the process wrote has an earlier position than the one before it."""
        outlet: Any = Outlet(self.number, broker, rng)
        self.counters: Counters = outlet.counters
        self.table: Table | None = None
        if kind in POSITION_OF:
            self.recovered_to = broker.changelogs[self.group].end
            self.table = Table(outlet, kind, partition, broker)
        self.stage = self._make_stage(outlet)
        log = broker.topics[self.source][partition]
        committed = broker.committed.get(self.group)
        self.next_offset: int = _finish(self.stage.position(partition, committed, 0, len(log)))
        if committed is not None and rng.random() < 0.3:
            # Any start at or before the rows is safe: a commit may lag behind the rows, but is never ahead of them.
            self.next_offset = min(committed, self.next_offset)
        self._work: Coroutine[Any, Any, None] | None = None
        self._batch: Sequence[Any] = ()
        self._end = 0

    def _make_stage(self, outlet: Any) -> Any:
        reader = cast("Any", Reader(self.broker))
        if self.kind is Kind.INLET:
            return InletStage(self.broker.partitions, outlet)
        if self.table is None:
            return TallyStage(self.source, outlet)
        if self.kind is Kind.MONITOR:
            stage = MonitorStage(self.table, outlet, reader)
            stage.at_once = self.rng.choice((1, 3, 20, OUTPUTS_AT_ONCE))
            return stage
        if self.kind is Kind.PROPOSER:
            return ProposerStage(self.table, outlet, reader, remedies())
        return OverviewStage(self.table, outlet, reader)

    @property
    def waiting(self) -> int:
        """Return the number of records that the process has not read."""
        return len(self.broker.topics[self.source][self.partition]) - self.next_offset

    @property
    def is_busy(self) -> bool:
        """Return whether the process is working on a batch."""
        return self._work is not None

    @property
    def holds_order(self) -> bool:
        """Return whether the process's batch contains a command, or a reference to one."""
        return self.is_busy and any(
            self.kind is Kind.INLET or (self.kind is Kind.MONITOR and b'"command_ref"' in (record.value or b""))
            for record in self._batch
        )

    def take(self, records: int) -> tuple[int, int]:
        """Begin the next batch; return its first and end offsets."""
        log = self.broker.topics[self.source][self.partition]
        batch = self._batch = log[self.next_offset : self.next_offset + records]
        first, self._end = self.next_offset, self.next_offset + len(batch)
        self._work = self.stage.work(cast("Any", Batch(self.partition, batch, self._end)))
        return first, self._end

    @property
    def wakes_at(self) -> int | None:
        """Return the time when the next waiting row of the partition is due, according to the state in memory."""
        if not isinstance(self.stage, MonitorStage):
            return None
        return self.stage.ticking.waiting[self.partition].next

    def tick(self) -> None:
        """Append a tick to the log, even if the process has lost the partition without noticing."""
        self.broker.append(MONITOR.source, TICK_KEY, encode(Tick(schema_version=1)), partition=self.partition)

    def look(self) -> None:
        """Begin to check whether another process has written to the compacted topics of this partition."""
        self._batch, self._end = (), self.next_offset
        self._work = self.stage.look([self.partition])

    def advance(self) -> Point:
        """Advance to the next stopping point; return ``IDLE`` once the batch is done.  Raises ``Died``."""
        assert self._work is not None
        before = self._folded()
        try:
            point: Point = self._work.send(None)
        except StopIteration:
            self._work = None
            self.next_offset = self._end
            self.went_back = self.went_back or self._folded() < before
            return Point.IDLE
        except Unsafe as error:
            self._work = None
            raise Died(error.message) from error
        return point

    def commit(self) -> None:
        """Commit the process's offset; do nothing if it has lost the partition."""
        if not self.is_zombie:
            self.broker.committed[self.group] = self.next_offset

    def kill(self) -> None:
        """Kill the process in the middle of its work."""
        if self._work is not None:
            self._work.close()
            self._work = None

    def settle(self) -> None:
        """Allow compaction up to the process's last record, if it has written and found no other writer."""
        changelog = self.broker.changelogs[self.group]
        since = [r for r in changelog.records if r.offset >= self.recovered_to]
        own = [r.offset for r in since if r.writer == self.number]
        # A process that has recovered nothing does not know which offset to expect, so it cannot detect another writer.
        if isinstance(self.stage, TableStage) and own and (self.recovered_to or len(own) == len(since)):
            changelog.settled = own[-1] + 1

    def _folded(self) -> int:
        if self.table is None:
            return 0
        return decode_partition(self.table.partition_row(self.partition)).next_offset


def _finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")
