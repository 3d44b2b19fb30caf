"""Lists everything in Faust and aiokafka that this package uses outside their documented API.

Faust is pinned to the exact version that was tested.  A contract test fails when one of these names is missing, and a
worker refuses to start with another version.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from crl_stream.errors import Unsafe

FAUST_VERSION: Final = "0.15.3"

SURFACE: Final[dict[str, tuple[str, ...]]] = {
    # Hooks that every Faust driver implements; they are abstract in the base class.
    "faust.transport.drivers.aiokafka:Consumer": (
        "_getmany",
        "_to_message",
        "_commit",
        "_new_consumer_thread",
        # Public names called by Faust's internals, where the order of calls matters.
        "force_commit",
        "wait_empty",
        "seek_to_committed",
        "on_partitions_assigned",
        "on_partitions_revoked",
        "on_task_error",
        "on_buffer_full",
        "on_buffer_drop",
        "earliest_offsets",
        "highwaters",
        "seek_wait",
    ),
    # Methods and attributes that we use on Faust's consumer.
    "faust.transport.consumer:Consumer": ("assignment", "app", "transport", "commit", "flow_active"),
    "faust.transport.consumer:Fetcher": ("_drainer",),
    "faust.app.base:App": (
        "_create_directories",
        "_fetcher",
        "rebalancing",
        "rebalancing_count",
        "in_recovery",
        "consumer_generation_id",
        "tables",
        "assignor",
    ),
    "faust.agents.agent:Agent": ("_actors",),
    "faust.agents.actor:Actor": ("actor_task",),
    "faust.tables.manager:TableManager": ("recovery", "changelog_topics", "add"),
    "faust.tables.recovery:Recovery": (
        "completed",
        "active_remaining_total",
        "need_recovery",
        "signal_recovery_start",
    ),
    "faust.assignor.partition_assignor:PartitionAssignor": ("tables_metadata",),
    "mode.services:Service": ("crash_reason", "should_stop", "add_future"),
    "faust.transport.producer:Producer": ("buffer",),
    "faust.transport.producer:ProducerBuffer": ("size",),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread": (
        "_commit",
        "_create_worker_consumer",
        "_ensure_consumer",
        "assignment",
        "call_thread",
        "on_start",
    ),
    "faust.transport.drivers.aiokafka:Producer": (
        "_settings_extra",
        "_ensure_producer",
        "_new_producer",
        "flush",
    ),
    # Records fail if they wait for a leader longer than this.
    "aiokafka.producer.message_accumulator:MessageAccumulator": ("_batch_ttl", "_cluster"),
    "faust.transport.drivers:TRANSPORTS": ("aliases",),
    "faust.tables.table:Table": (
        "persisted_offset",
        "apply_changelog_batch",
        "on_rebalance",
        "on_recovery_completed",
        "recovery_buffer_size",
        "changelog_topic_name",
    ),
    # Faust fixes the wait at 1,500 ms and pauses partitions only internally; the client knows a topic's partitions.
    "aiokafka:AIOKafkaConsumer": (
        "_fetch_max_wait_ms",
        "_fetcher",
        "_isolation_level",
        "_request_timeout_ms",
        "pause",
        "_client",
    ),
    # Where ``log_consumer`` inserts its own classes, and what they override.
    "aiokafka.consumer.fetcher:Fetcher": (
        "_proc_fetch_request",
        "fetched_records",
        "next_record",
        "end_offsets",
        "_isolation_level",
    ),
    "aiokafka.consumer.fetcher:FetchResult": ("_topic_partition", "_partition_records", "_assignment", "getall"),
    "aiokafka.consumer.fetcher:PartitionRecords": ("_consumer_record", "next_fetch_offset"),
    "aiokafka.record.default_records:DefaultRecordBatch": ("validate_crc", "next_offset", "producer_id"),
    "aiokafka.record.legacy_records:_LegacyRecordBatchPy": ("validate_crc", "next_offset"),
    # Where ``byte_names`` inserts its own builder.
    "aiokafka.record.default_records:_DefaultRecordBatchBuilderPy": ("append", "set_producer_state"),
    # Topic ids are requested through this client, whose own requests omit them; the clients of a session share it.
    "aiokafka.client:AIOKafkaClient": (
        "fetch_all_metadata",
        "send",
        "get_random_node",
        "bootstrap",
        "add_topic",
        "set_topics",
        "force_metadata_update",
        "_conns",
        "_metadata_update",
        "_wait_on_metadata",
    ),
    "aiokafka.admin:AIOKafkaAdminClient": ("_client",),
    "aiokafka.producer.sender:Sender": ("client",),
    "aiokafka.protocol.api:Request": ("prepare", "build"),
    # Closes connections that send no request.
    "faust.web.drivers.aiohttp:Web": ("_runner",),
    "aiohttp.web_server:Server": ("connections",),
    "aiohttp.web_protocol:RequestHandler": ("_current_request", "force_close"),
    # Calls that wait for a sender do not fail when the sender has ended.
    "aiokafka:AIOKafkaProducer": (
        "create_batch",
        "send_batch",
        "client",
        "_sender",
        "_message_accumulator",
        "_metadata",
    ),
    # A forked child silently forgets the tasks of its parent.
    "asyncio.tasks:Task": ("_log_destroy_pending",),
    "aiokafka.producer.message_accumulator:BatchBuilder": (
        "append",
        "record_count",
        "size",
        "_builder",
        "_set_producer_state",
    ),
}


AIOKAFKA_VERSIONS: Final = "0.14."
"""The prefix of the versions that have the private names above."""


def check_version() -> None:
    """Raise an error for untested versions of Faust and aiokafka, and for a Faust without its compiled stream."""
    found = version("faust-streaming")
    if found != FAUST_VERSION:
        raise Unsafe(
            f"faust-streaming {found} is installed, but the transport was tested with {FAUST_VERSION}",
            hint=f"pip install faust-streaming=={FAUST_VERSION}",
        )
    found = version("aiokafka")
    if not found.startswith(AIOKAFKA_VERSIONS):
        raise Unsafe(
            f"aiokafka {found} is installed, but the transport was tested with {AIOKAFKA_VERSIONS}x",
            hint=f"pip install 'aiokafka=={AIOKAFKA_VERSIONS}*'",
        )
    # After a rebalance, Faust's pure-Python stream acknowledges records that it skips; the compiled one does not.
    from faust import streams

    if getattr(streams, "_CStreamIterator", None) is None:
        raise Unsafe(
            "faust-streaming is installed without its compiled extensions",
            hint="install its wheel, and unset NO_CYTHON",
        )
