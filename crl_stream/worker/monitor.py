"""The monitor's member: the table of task rows, the agent that folds the log and the one that lets commands in."""

from __future__ import annotations

from crl_stream.core.monitor.row import row_position
from crl_stream.kafka.fleet_policy import Ordered
from crl_stream.settings import Settings
from crl_stream.wire.topics import COMMANDS, INVOCATIONS
from crl_stream.worker.member import Member
from crl_stream.worker.monitor_stages import InletStage, MonitorStage
from crl_stream.worker.summaries import LOOK_SECONDS as READ_SECONDS
from crl_stream.worker.summaries import SLICE_SECONDS
from crl_stream.worker.ticking import LOOK_SECONDS


class Monitor(Member):
    """What folds the log, and what its views show."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, web=True)
        self.ordered: Ordered | None = None
        """The policy that the log had been given when this process started."""
        partitions = settings.kafka.partitions
        self.table = self.add_table("tasks", row_position, partitions=partitions)
        monitor = MonitorStage(self.table, self.outlet, self.reader)
        self.add_agent("monitor", INVOCATIONS, monitor, partitions=partitions)
        self.add_agent("inlet", COMMANDS, InletStage(partitions, self.outlet), partitions=partitions)
        self.ticking, self.summaries = monitor.ticking, monitor.summaries
        self.look_every(LOOK_SECONDS, INVOCATIONS, self.ticking.look, name="monitor.tick")
        self._summarise()

    def partitions(self) -> list[int]:
        """Those of the log that are folded here now."""
        return self.partitions_of(INVOCATIONS)

    def _summarise(self) -> None:
        async def read_new_rows() -> None:
            self.summaries.read(SLICE_SECONDS, only_new=True)

        self.app.timer(READ_SECONDS, name="crl.monitor.summarise")(read_new_rows)
