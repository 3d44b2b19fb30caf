"""The mirror stage: its records as bytes, and the partition that each of its messages goes to.  It is pure.

What a label does next is decided in ``core.mirroring``.  The worker moves the labels, because stores are outside Kafka.
"""

from __future__ import annotations

from typing import Any, Final

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.stages.topology import FIRST, MIRROR
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TOPIC_OF

_RECORDS: Final = MIRROR.source
MirrorRecord = m.MirrorLabel | m.MirrorStore


def mirror_key(record: MirrorRecord) -> bytes:
    """Return the key of a record: the store; for a label, followed by a colon and the task."""
    if isinstance(record, m.MirrorStore):
        return record.store.encode()
    return f"{record.store}:{record.agent_name}/{record.task_type}".encode()


def record_output(record: MirrorRecord) -> Output:
    """Return the record as it is written to its topic."""
    return Output(_RECORDS, FIRST, mirror_key(record), encode(record))


def message_output(message: m.Receipt | m.Alert | m.ActivateVariant, partitions: int) -> Output:
    """Return a message for the partition of its task; the log has ``partitions``."""
    topic = TOPIC_OF[type(message)]
    if message.agent_name is None or message.task_type is None:
        assert isinstance(message, m.Alert)
        return Output(topic, FIRST, message.subject.encode(), encode(message))
    key = TaskKey(message.agent_name, message.task_type).encode()
    return Output(topic, partition_of(key, partitions), key, encode(message))


def read_record(record: Record) -> MirrorRecord | Output:
    """Return the decoded record, or its dead letter."""
    decoded = decode_record(_RECORDS, record)
    if isinstance(decoded, Rejected):
        return dead_letter(record, _RECORDS, FIRST, decoded.reason, decoded.detail)
    found: Any = decoded.message
    if record.key != mirror_key(found):
        detail = f"the record's key must match its value: {mirror_key(found).decode()}"
        return dead_letter(record, _RECORDS, FIRST, reasons.KEY_MISMATCH, detail)
    return found  # type: ignore[no-any-return]
