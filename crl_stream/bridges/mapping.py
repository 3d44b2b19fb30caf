"""The result for one record of another system: messages for the log, and faults for a dead letter.

A bridge's mapping is a pure function from one record to a ``Mapped``. It never raises, and depends only on the record
and the settings. So a record that is read twice gives the same bytes and ids.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from crl_stream.core import messages as m
from crl_stream.wire.cloudevents import event_headers
from crl_stream.wire.codec import Rejected, decode_unkeyed, encode, not_finite
from crl_stream.wire.complaints import plain
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.reasons import NOT_FINITE
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TOPIC_OF

LOG: Final = TOPIC_OF[m.Invocation]


class Fault(NamedTuple):
    """Why a part of a record cannot be used: a reason from ``wire.reasons`` and a sentence for people."""

    reason: str
    detail: str


class Message(NamedTuple):
    """One message for the log."""

    message: m.Invocation | m.Feedback
    traceparent: str | None = None
    """W3C trace context of the invocation."""


class Mapped(NamedTuple):
    """Everything that one record becomes."""

    messages: list[Message]
    faults: list[Fault]
    ignored: int = 0
    """How many parts of the record are not about invocations or scores, such as spans of model calls."""


def fault(reason: str, detail: str) -> Mapped:
    """Return the result for a record that cannot be used at all."""
    return Mapped([], [Fault(reason, detail)])


def outputs_of(bridge: str, topic: str, place: tuple[int, int], record: Record, mapped: Mapped) -> list[Output]:
    """Return what the bridge writes for a record: its messages, and one dead letter if there is a fault.

    ``place`` is the record's partition of ``topic`` and the number of partitions of the log. A message that the log
    would not accept counts as a fault. The letter has the record's original bytes and the first fault's reason.
    """
    partition, partitions = place
    faults, outputs = list(mapped.faults), list[Output]()
    for found in mapped.messages:
        output = _log_output(bridge, found, partitions)
        if isinstance(output, Output):
            outputs.append(output)
        else:
            faults.append(output)
    if faults:
        first, more = faults[0], len(faults) - 1
        detail = first.detail + (f" (and {more} more faults in this record)" if more else "")
        outputs.append(
            dead_letter(record, topic, partition, first.reason, plain(detail), target=partition % partitions)
        )
    return outputs


def _log_output(bridge: str, found: Message, partitions: int) -> Output | Fault:
    message = found.message
    if (name := not_finite(message)) is not None:
        return Fault(NOT_FINITE, f"{name} is not a finite number")
    try:
        value = encode(message)
    except (ValueError, OverflowError) as error:
        return Fault(NOT_FINITE, f"the message cannot be written as JSON: {error}")
    key, decoded = decode_unkeyed(value)
    if isinstance(decoded, Rejected):
        return Fault(decoded.reason, decoded.detail)
    headers = event_headers(message, key, source=f"/bridges/{bridge}", traceparent=found.traceparent)
    return Output(LOG, partition_of(key, partitions), key, value, headers)
