"""The policy of this worker's settings reaches the fold through the log, as everything else does."""

from __future__ import annotations

import getpass
import logging
import uuid
from datetime import UTC, datetime

from crl_stream.core import messages as m
from crl_stream.topology.partition import decode_partition
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output
from crl_stream.wire.topics import COMMANDS, POLICY_KEY
from crl_stream.worker.monitor import Monitor

log = logging.getLogger(__name__)


def pending_partitions(monitor: Monitor) -> list[int]:
    """Partitions of this worker in which another policy than that of its settings is in force."""
    wanted = monitor.settings.policies.digest()
    assigned = {tp.partition for tp in monitor.app.consumer.assignment()}
    rows = {partition: decode_partition(monitor.table.partition_row(partition)) for partition in sorted(assigned)}
    return [partition for partition, row in rows.items() if row.policy_hash != wanted]


def has_been_heard(monitor: Monitor) -> bool:
    """Whether the policy of its settings needed no announcement, or every partition of this worker has folded it.

    Another one may have come since: that is an operator's, or a newer worker's, doing.
    """
    if monitor.announced_at is None:
        return monitor.has_announced
    home, offset = monitor.announced_at
    assigned = {tp.partition for tp in monitor.app.consumer.assignment()}
    rows = (decode_partition(monitor.table.partition_row(partition)) for partition in assigned)
    return all(row.commanded.get(home, -1) >= offset for row in rows)


async def announce_policy(monitor: Monitor) -> None:
    """Send ``SetPolicy`` when a partition of this worker has another policy."""
    partitions = pending_partitions(monitor)
    if not partitions:
        monitor.has_announced = True
        return
    policies = monitor.settings.policies
    command = m.SetPolicy(
        schema_version=m.SCHEMA_VERSION,
        command_id=f"policy-{policies.digest()}-{uuid.uuid4().hex[:12]}",
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        actor=f"worker {_user()}",
        reason=f"settings of {monitor.settings.worker.app_id}, profile {monitor.settings.profile}",
        policy=policies,
        policy_hash=policies.digest(),
    )
    home = partition_of(POLICY_KEY, monitor.settings.kafka.partitions)
    written = await monitor.outlet.publish([Output(COMMANDS, home, POLICY_KEY, encode(command))])
    offset, _, _ = written[COMMANDS, home]
    monitor.announced_at, monitor.has_announced = (home, offset), True
    log.info("policy %s was sent: partitions %s have another one", policies.digest(), partitions)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
