"""The Faust app: one table, two agents, the settings that the laws of order need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import faust
from yarl import URL

from crl_stream.connection import connection_options, tls_context
from crl_stream.errors import Unsafe
from crl_stream.settings import Settings
from crl_stream.settings.model import Kafka
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, Topics
from crl_stream.worker import transport
from crl_stream.worker.counters import Counters
from crl_stream.worker.point_reader import PointReader
from crl_stream.worker.producer import LARGEST_RECORD
from crl_stream.worker.stages import InletStage, MonitorStage, Outlet
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport import BatchSchema

FETCH_BYTES: Final = 4 * 1024 * 1024
REQUEST_SECONDS: Final = 30.0


@dataclass(slots=True)
class Monitor:
    """A worker's parts, for whoever shows or runs them."""

    app: Any
    """The ``faust.App``; Faust's own types do not know what our transport adds."""
    table: TaskTable
    settings: Settings
    counters: Counters
    reader: PointReader
    outlet: Outlet
    url: URL

    @property
    def recovered(self) -> bool:
        """Whether this worker is a settled member of the group, and works on every partition it was given."""
        app = self.app
        if app.rebalancing or not app.rebalancing_count or not app.tables.recovery.completed.is_set():
            return False
        lanes, stages = app.consumer.lanes, app.consumer.stages
        assigned = [tp for tp in app.consumer.assignment() if tp.topic in stages]
        return all(tp in lanes and lanes[tp].open for tp in assigned)

    @property
    def agents_alive(self) -> bool:
        """Whether every agent still takes batches."""
        return all(actor.actor_task is not None and not actor.actor_task.done() for actor in self._actors())

    def _actors(self) -> list[Any]:
        return [actor for agent in self.app.agents.values() for actor in agent._actors]


def create_monitor(settings: Settings) -> Monitor:
    """The app of one worker process; nothing is connected yet."""
    transport.register()
    kafka, worker = settings.kafka, settings.worker
    topics, counters = Topics(kafka.topic_prefix), Counters()
    url = URL(worker.advertised_url or f"http://{worker.web_host}:{worker.web_port}")
    app: Any = faust.App(
        worker.app_id,
        broker=[URL(f"{transport.SCHEME}://{address.strip()}") for address in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=worker.session_timeout_seconds,
        broker_heartbeat_interval=worker.heartbeat_seconds,
        broker_commit_interval=worker.commit_interval_seconds,
        broker_max_poll_records=worker.max_poll_records,
        broker_rebalance_timeout=max(60.0, 2 * worker.session_timeout_seconds),
        broker_request_timeout=max(90.0, 3 * worker.session_timeout_seconds),
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=worker.instance_id or None,
        # A partition whose data waits holds back fetches of its broker: keep what may wait small.
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
    table = TaskTable(app, name="tasks", changelog=topics.changelog(worker.app_id), partitions=kafka.partitions)
    app.tables.add(table)
    outlet = Outlet(app, topics, counters)
    reader = PointReader(connection_options(kafka))
    monitor = Monitor(app, table, settings, counters, reader, outlet, url)
    app.transport.stages[topics(INVOCATIONS)] = MonitorStage(table, outlet, reader, counters)
    app.transport.stages[topics(COMMANDS)] = InletStage(kafka.partitions, outlet, counters)
    _add_agent(app, "monitor", topics(INVOCATIONS), kafka.partitions)
    _add_agent(app, "inlet", topics(COMMANDS), kafka.partitions)
    return monitor


def _add_agent(app: Any, name: str, topic: str, partitions: int) -> None:
    """An agent over batches: it hands each to the lane that was open when the batch was polled.

    The lane does the work, one batch at a time for each partition, so that no partition waits for another one.
    """
    source = app.topic(topic, schema=BatchSchema(), partitions=partitions, acks=False)

    async def take(stream: Any) -> None:
        async for batch in stream:
            try:
                batch.lane.put(batch)
            except Unsafe as exc:
                # Faust would start the agent anew and go on behind the gap.
                app.consumer.leave(exc)

    take.__name__ = take.__qualname__ = name
    app.agent(source, name=f"crl.{name}")(take)


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
