"""The monitor's member: the table of task rows, the agent that folds the log, and the agent that processes commands."""

from __future__ import annotations

from crl_stream.kafka.fleet_policy import Ordered
from crl_stream.settings import Settings
from crl_stream.stages.topology import INLET, MONITOR
from crl_stream.worker.member import Member
from crl_stream.worker.monitor_stages import InletStage, MonitorStage
from crl_stream.worker.summaries import LOOK_SECONDS as READ_SECONDS
from crl_stream.worker.summaries import SLICE_SECONDS
from crl_stream.worker.ticking import LOOK_SECONDS


class Monitor(Member):
    """The member that folds the log, with the data that its views show."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, web=True)
        self.ordered: Ordered | None = None
        """The policy that was in force in the log when this process started."""
        self.table = self.add_table(MONITOR)
        monitor = MonitorStage(self.table, self.outlet, self.reader)
        self.add_stage(MONITOR, lambda _: monitor)
        self.add_stage(INLET, lambda _: InletStage(settings.kafka.partitions, self.outlet))
        self.ticking, self.summaries = monitor.ticking, monitor.summaries
        self.look_every(LOOK_SECONDS, MONITOR.source, self.ticking.look, name="monitor.tick")
        self._summarise()

    def partitions(self) -> list[int]:
        """Return the partitions of the log that this worker is folding."""
        return self.partitions_of(MONITOR.source)

    def _summarise(self) -> None:
        async def read_new_rows() -> None:
            self.summaries.read(SLICE_SECONDS, only_new=True)

        self.app.timer(READ_SECONDS, name="crl.monitor.summarise")(read_new_rows)
