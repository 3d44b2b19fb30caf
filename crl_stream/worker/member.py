"""One member of one consumer group: a Faust app with its agents and the settings that keep records in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

import faust
from yarl import URL

from crl_stream.errors import Unsafe
from crl_stream.kafka.connection import connection_options, tls_context
from crl_stream.kafka.point_reader import PointReader
from crl_stream.settings import Settings
from crl_stream.settings.model import Kafka
from crl_stream.stages import topology
from crl_stream.wire.topics import Topics
from crl_stream.worker.counters import Counters
from crl_stream.worker.stages import Outlet, TableStage
from crl_stream.worker.stale_writes import LOOK_SECONDS
from crl_stream.worker.stores import make_store
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport import scheme as transport
from crl_stream.worker.transport.producer import LARGEST_RECORD
from crl_stream.worker.transport.scheme import BatchSchema
from crl_stream.worker.transport.stage import Stage
from crl_stream.worker_views import base_url

FETCH_BYTES: Final = 4 * 1024 * 1024
REQUEST_SECONDS: Final = 30.0
NEVER_SECONDS: Final = 10 * 365 * 86_400.0
"""How long a member may go without polling: forever, in effect. A member without a partition, or with full lanes, does
not poll. With a limit, aiokafka would remove it from its group for good. Instead, heartbeats and the pulse show that
it is alive."""


class Stalled(NamedTuple):
    """A system outside Kafka that does not answer."""

    text: str
    action: str
    since: float
    """When it first failed, in seconds since the epoch."""


class Member:
    """A Faust app of this process; it connects to nothing before it is started.

    Its consumer group is named after the installation and the ``role``; the monitor's group is named after the
    installation alone.
    """

    def __init__(self, settings: Settings, role: str = "", *, web: bool = False) -> None:
        transport.register()
        self.settings = settings
        self.topics, self.counters = Topics(settings.kafka.topic_prefix), Counters()
        self.group = group = self.topics.group(settings.worker.app_id, role)
        worker = settings.worker
        self.url = URL(base_url(worker))
        self.app: Any = _app(settings, group, self.url, web=web)
        """The ``faust.App``, typed ``Any`` because Faust's types do not include what our transport adds."""
        self._closing = AsyncExitStack()
        self.outlet = Outlet(self.app, self.topics, self.counters)
        self.reader = PointReader(connection_options(settings.kafka))
        self.at_close(self.reader.close)
        self.tables: list[TaskTable] = []
        self.stalled: dict[str, Stalled] = {}
        """The systems outside Kafka that do not answer at present, by name."""

    def add_table(self, place: topology.Stage) -> TaskTable:
        """Add the table of a stage, with its changelog."""
        assert place.table is not None
        name, changelog = place.table.name, self.topics.changelog(self.settings.worker.app_id, place.table.name)
        table = TaskTable(
            self.app,
            name=name,
            changelog=changelog,
            partitions=place.partitions(self.settings.kafka.partitions),
            position=place.table.position,
            store=make_store(self.settings.worker, changelog),
            reader=self.reader,
        )
        self.app.tables.add(table)
        self.tables.append(table)
        # Do not close the store when the table stops: a batch in flight would be folded without its rows.
        self.at_close(asyncio.to_thread, table.store.release)
        return table

    async def check_stores(self) -> None:
        """Check the rows on disk before joining the group; checking may take longer than the session timeout."""
        for table in self.tables:
            await asyncio.to_thread(table.store.check)

    def add_stage(self, place: topology.Stage, make: Callable[[str], Stage]) -> None:
        """Add the agents of a stage; ``make`` creates the worker's stage for each topic (the catalog's name)."""
        for name, topic in place.agents():
            self.add_agent(name, topic, make(topic), partitions=place.partitions(self.settings.kafka.partitions))

    def add_agent(self, name: str, topic: str, stage: Stage, *, partitions: int, full: str = "") -> None:
        """Add an agent for ``topic`` (the catalog's name) that hands each batch to the lane it was polled for.

        The lane does the work, one batch at a time for each partition, so that no partition waits for another.
        ``full`` is the broker's name of a topic that the catalog does not have.
        """
        app, full = self.app, full or self.topics(topic)
        app.transport.stages[full] = stage
        source = app.topic(full, schema=BatchSchema(), partitions=partitions, acks=False)

        async def take(stream: Any) -> None:
            async for batch in stream:
                try:
                    batch.lane.put(batch)
                except Unsafe as exc:
                    # Faust would restart the agent and continue after the gap.
                    app.consumer.leave(exc)

        take.__name__ = take.__qualname__ = name
        app.agent(source, name=f"crl.{name}")(take)
        if isinstance(stage, TableStage):
            self.look_every(LOOK_SECONDS, topic, stage.look, name=f"{name}.look")

    def partitions_of(self, topic: str) -> list[int]:
        """Return the partitions of ``topic`` (the catalog's name) that this process is working on."""
        lanes, full = self.app.consumer.lanes.items(), self.topics(topic)
        return sorted(tp.partition for tp, lane in lanes if tp.topic == full and lane.open)

    def look_every(
        self, seconds: float, topic: str, look: Callable[[list[int]], Awaitable[None]], *, name: str
    ) -> None:
        """Call ``look`` repeatedly with the partitions of ``topic`` in this process; an exception ends the process."""
        app = self.app

        async def look_now() -> None:
            try:
                await look(self.partitions_of(topic))
            except Exception as exc:
                app.consumer.leave(exc)

        app.timer(seconds, name=f"crl.{name}")(look_now)

    @property
    def recovered(self) -> bool:
        """Whether the member has settled in its group and is working on every partition assigned to it."""
        app = self.app
        if app.rebalancing or not app.rebalancing_count or not app.tables.recovery.completed.is_set():
            return False
        lanes, stages = app.consumer.lanes, app.consumer.stages
        assigned = [tp for tp in app.consumer.assignment() if tp.topic in stages]
        return all(tp in lanes and lanes[tp].open for tp in assigned)

    @property
    def agents_alive(self) -> bool:
        """Whether every agent still accepts batches and every partition has a running asyncio task."""
        return not self.dead

    @property
    def dead(self) -> list[str]:
        """Names of everything that has ended unexpectedly: agents, and partitions without a running asyncio task."""
        found = []
        for name, agent in self.app.agents.items():
            tasks = [actor.actor_task for actor in agent._actors]
            if any(task is None or task.done() for task in tasks):
                found.append(f"agent {name}")
        lanes = self.app.consumer.lanes.items()
        return found + [f"the work on {tp.topic} partition {tp.partition}" for tp, lane in lanes if not lane.alive]

    def at_close(self, release: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Register ``release`` to be called after leaving the group."""
        self._closing.push_async_callback(release, *arguments)

    async def close(self) -> None:
        """Finish the batches in flight, commit them, and leave the group."""
        async with self._closing:
            await self.app.stop()


class App(faust.App):
    """A Faust app that creates no data folder: it would stay empty, and creating it might fail."""

    def _create_directories(self) -> None:
        """Do nothing: rows in memory need no folder, and the stores on disk create their own (``worker.stores``)."""


App.logger = faust.App.logger  # log at Faust's level, so that silencing Faust silences this line too


def _app(settings: Settings, group: str, url: URL, *, web: bool) -> Any:
    kafka, worker = settings.kafka, settings.worker
    return App(
        group,
        broker=[URL(f"{transport.SCHEME}://{address.strip()}") for address in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=worker.session_timeout_seconds,
        broker_heartbeat_interval=worker.heartbeat_seconds,
        broker_commit_interval=worker.commit_interval_seconds,
        broker_max_poll_records=worker.max_poll_records,
        broker_max_poll_interval=NEVER_SECONDS,
        broker_rebalance_timeout=max(60.0, 2 * worker.session_timeout_seconds),
        broker_request_timeout=max(90.0, 3 * worker.session_timeout_seconds),
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=worker.instance_id or None,
        # Data buffered for one partition delays further fetches from its broker, so little is buffered.
        consumer_max_fetch_size=FETCH_BYTES,
        producer_acks=-1,
        producer_max_batch_size=LARGEST_RECORD,
        producer_max_request_size=LARGEST_RECORD + 100_000,
        producer_request_timeout=REQUEST_SECONDS,
        processing_guarantee="at_least_once",
        store="memory://",
        datadir=str(worker.data_dir),
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication_factor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        recovery_consistency_check=True,
        stream_wait_empty=True,
        canonical_url=url,
        web_enabled=web,
        web_host=worker.web_host,
        web_bind=worker.web_host,
        web_port=worker.web_port,
        web_in_thread=False,
        web_tables_enabled=False,
        web_router_enabled=False,
        web_graph_enabled=False,
        web_stats_enabled=False,
        web_metrics_enabled=False,
        worker_redirect_stdouts=False,
    )


def _credentials(kafka: Kafka) -> Any:
    context = tls_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            ssl_context=context,
            mechanism=kafka.sasl_mechanism,
        )
    return faust.SSLCredentials(context) if context is not None else None
