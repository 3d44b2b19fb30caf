"""The configuration of the embedded Kafka: one small node, both broker and controller, on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"

LOG: Final = "server.log"
"""Kafka's log, to which every start appends: at most four files of 5 MB, of which ``server.log.3`` is the oldest."""
OUTPUT: Final = "server.out"
"""Output of the Java runtime since the last start; it is empty unless Java fails to start or runs out of memory."""

_LOG4J: Final = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:crl.folder}/server.log
appender.file.filePattern = ${sys:crl.folder}/server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d] %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 5MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.fileIndex = min
appender.file.strategy.max = 3
"""


def write_configuration(
    folder: Path, port: int, controller_port: int, others: Mapping[str, Any] | None = None
) -> tuple[Path, Path]:
    """Write server.properties and log4j2.properties into ``folder`` and return both paths.

    Clients connect to ``port``, and the node itself to ``controller_port``. ``others`` are further Kafka properties,
    which override ours.
    """
    properties: dict[str, Any] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": folder / "logs",
        # An auto-created topic would have the wrong number of partitions and the wrong retention.
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # A consumer group has few members here, all on one machine, so waiting for more to join gains nothing.
        "group.initial.rebalance.delay.ms": 0,
        # Accept session timeouts as short as a worker's settings permit.
        "group.min.session.timeout.ms": 1000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        # Otherwise the controller would sync its log twice a second even when idle, with no followers to benefit.
        "metadata.max.idle.interval.ms": 0,
        # Kafka keeps answered fetches until this many have accumulated. With many partitions each one is large: at the
        # default of 1,000, young-generation garbage collections took several times as long.
        "fetch.purgatory.purge.interval.requests": 50,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "message.max.bytes": 4 * 1024 * 1024 + 64 * 1024,
        "replica.fetch.max.bytes": 8 * 1024 * 1024,
    }
    properties |= others or {}
    server, log4j = folder / "server.properties", folder / "log4j2.properties"
    text = "".join(f"{name}={_escaped(str(value))}\n" for name, value in properties.items())
    server.write_text(text, encoding="latin-1", errors="backslashreplace")
    log4j.write_text(_LOG4J, encoding="ascii")
    return server, log4j


def _escaped(value: str) -> str:
    """Encode a value for java.util.Properties: ASCII as it is, everything else as an escape."""
    return "".join(c if c.isascii() and c != "\\" else f"\\u{ord(c):04x}" for c in value)
