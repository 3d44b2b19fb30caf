"""The inlet stage: a record of ``crl.commands`` becomes a reference in the log, or a dead letter.

Stateless, so that a replay only repeats references, which the fold recognises.  The state of a partition
stays a function of one log, while commands keep a topic, and so an ACL, of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import AnyCommand, CommandRef, SetPolicy
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, POLICY_KEY


def reference_commands(partition: int, partitions: int, records: Sequence[Record]) -> list[Output]:
    """What the inlet appends for ``records`` of one partition of ``crl.commands``, in order.

    ``partitions`` counts the partitions of the log.  A command for one task is referenced in its task's
    partition, ``SetPolicy`` once in each.
    """
    outputs: list[Output] = []
    for record in records:
        decoded = decode_record(COMMANDS, record)
        if isinstance(decoded, Rejected):
            target = partition % partitions
            outputs.append(dead_letter(record, COMMANDS, partition, decoded.reason, decoded.detail, target=target))
            continue
        command: AnyCommand = decoded.message
        digest = hashlib.sha256(record.value or b"").hexdigest()
        if isinstance(command, SetPolicy):
            value = encode(
                CommandRef(
                    schema_version=1,
                    command_id=command.command_id,
                    partition=partition,
                    offset=record.offset,
                    sha256=digest,
                )
            )
            outputs += [Output(INVOCATIONS, home, POLICY_KEY, value) for home in range(partitions)]
            continue
        key = TaskKey(command.agent_name, command.task_type).encode()
        value = encode(
            CommandRef(
                schema_version=1,
                command_id=command.command_id,
                partition=partition,
                offset=record.offset,
                sha256=digest,
                agent_name=command.agent_name,
                task_type=command.task_type,
            )
        )
        outputs.append(Output(INVOCATIONS, partition_of(key, partitions), key, value))
    return outputs
