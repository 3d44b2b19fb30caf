"""The inlet stage: turns each record of ``crl.commands`` into a reference in the log, or into a dead letter.

The stage is stateless: a replay only repeats references, which the fold recognises.  The state of a partition remains
a function of one log, while commands have their own topic and therefore their own ACL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from crl_stream.core.identity import TaskKey
from crl_stream.core.ids import command_hash
from crl_stream.core.messages import AnyCommand, CommandRef, HoldAll, ReportTag, ResumeAll, SetPolicy
from crl_stream.stages.topology import INLET
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import FLEET_KEY, POLICY_KEY, TOPIC_OF

_COMMANDS: Final = INLET.source


def reference_commands(partition: int, partitions: int, records: Sequence[Record]) -> list[Output]:
    """Return what the inlet writes for ``records`` of one partition of ``crl.commands``, in order.

    ``partitions`` is the number of partitions of the log.  A command for one task is referenced in the task's
    partition, ``SetPolicy`` in every partition, and ``HoldAll``, ``ResumeAll`` and ``ReportTag`` in the partition of
    their record.
    """
    outputs: list[Output] = []
    for record in records:
        decoded = decode_record(_COMMANDS, record)
        if isinstance(decoded, Rejected):
            target = partition % partitions
            outputs.append(dead_letter(record, _COMMANDS, partition, decoded.reason, decoded.detail, target=target))
            continue
        command: AnyCommand = decoded.message
        task: dict[str, Any] = {}
        if isinstance(command, SetPolicy):
            key, homes = POLICY_KEY, range(partitions)
        elif isinstance(command, HoldAll | ResumeAll | ReportTag):
            # Each partition has its own record, so that a stuck partition does not delay the hold in others.
            home = partition % partitions
            key, homes = FLEET_KEY, range(home, home + 1)
        else:
            task = {"agent_name": command.agent_name, "task_type": command.task_type}
            key = TaskKey(command.agent_name, command.task_type).encode()
            home = partition_of(key, partitions)
            homes = range(home, home + 1)
        reference = CommandRef(
            schema_version=1,
            command_id=command.command_id,
            partition=partition,
            offset=record.offset,
            sha256=command_hash(record.value),
            **task,
        )
        value = encode(reference)
        outputs += [Output(TOPIC_OF[CommandRef], home, key, value) for home in homes]
    return outputs
