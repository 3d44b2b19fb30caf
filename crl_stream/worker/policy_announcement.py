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


async def announce_policy(monitor: Monitor) -> bool:
    """Send ``SetPolicy`` when a partition of this worker has another policy; True when one was sent."""
    partitions = pending_partitions(monitor)
    if not partitions:
        return False
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
    await monitor.outlet.publish([Output(COMMANDS, home, POLICY_KEY, encode(command))])
    log.info("policy %s was sent: partitions %s have another one", policies.digest(), partitions)
    return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
