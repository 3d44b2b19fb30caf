"""Compares the policy of the fleet with the one in this worker's settings.

The fleet's policy comes from the log.  A worker sends its own policy only to a log without one, so that starting a
worker never changes the policy of a fleet. It reports settings that differ.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any, Final

from crl_stream.core.instant import to_text
from crl_stream.kafka.commands import default_actor
from crl_stream.kafka.fleet_policy import (
    Ordered,
    difference_line,
    differences_of,
    policy_home,
    read_fleet_policy,
    send_policy,
)
from crl_stream.settings import Settings
from crl_stream.stages.partition import PartitionRow, decode_partition
from crl_stream.worker.monitor import Monitor

log = logging.getLogger(__name__)

RESTORE_SECONDS: Final = 10.0
"""How long a partition may take to read the policy; after that it counts as having lost the policy with its state."""


async def settle_policy(settings: Settings) -> Ordered | None:
    """Return the policy that is in the log; if there is none, send the policy of ``settings`` to it.

    Call it before anything is folded. It returns None when the log was folded without a policy, so that the guide's
    applies. Raises ``Unavailable`` when Kafka does not respond.
    """
    fleet = await read_fleet_policy(settings, with_rows=False)
    if fleet.exists:
        return fleet.ordered
    sent = await send_policy(
        settings.kafka,
        settings.policies,
        actor=f"worker {default_actor()}",
        reason=f"settings of {settings.worker.app_id}, profile {settings.profile}",
        if_none=True,
    )
    log.info("policy %s was sent: the log had none", settings.policies.digest())
    return sent


def _rows(monitor: Monitor) -> dict[int, PartitionRow]:
    assigned = sorted({tp.partition for tp in monitor.app.consumer.assignment()})
    return {partition: decode_partition(monitor.table.partition_row(partition)) for partition in assigned}


def pending_partitions(monitor: Monitor) -> list[int]:
    """Return the partitions of this worker that have not yet folded the policy that was in the log when it started.

    Policies that operators have sent since then do not matter here.
    """
    ordered = monitor.ordered
    if ordered is None:
        return []
    home = policy_home(monitor.settings.kafka)
    return [p for p, row in _rows(monitor).items() if row.commanded.get(home, -1) < ordered.offset]


def policy_of(monitor: Monitor) -> dict[str, Any]:
    """Return the policy in force in this worker's partitions, and how the worker's settings differ from it."""
    row = max(_rows(monitor).values(), key=lambda row: row.policy_time, default=PartitionRow())
    policies, actor, time = row.policies, row.policy_actor, row.policy_time
    if not row.has_policy and monitor.ordered is not None:
        policies, actor, time = monitor.ordered.policies, monitor.ordered.actor, monitor.ordered.time
    found = differences_of(monitor.settings, policies)
    return {
        "in_force": policies.digest(),
        "set_by": actor or None,
        "set_at": to_text(time) if time else None,
        "settings": monitor.settings.policies.digest(),
        "differences": [{"setting": d.setting, "in_force": d.one, "settings": d.other} for d in found],
        "says": difference_line(policies, actor, time, len(found)) if found else None,
        "pending": pending_partitions(monitor),
    }


async def follow_policy(monitor: Monitor) -> None:
    """Wait until every partition of a ready worker has the policy, then report how the worker's settings differ.

    A partition loses the policy when it is refolded from a log that no longer has the command. Then the policy is sent
    again.
    """
    began = monotonic()
    while pending := pending_partitions(monitor):
        if monitor.recovered and monotonic() - began > RESTORE_SECONDS and monitor.ordered is not None:
            ordered = monitor.ordered
            log.warning("sending policy %s again: partitions %s do not have it", ordered.policies.digest(), pending)
            sent = await send_policy(
                monitor.settings.kafka, ordered.policies, actor=ordered.actor, reason="restored", if_none=True
            )
            monitor.ordered, began = ordered._replace(offset=sent.offset), monotonic()
        await asyncio.sleep(0.1)
    if (says := policy_of(monitor)["says"]) is not None:
        log.warning("%s", says)
