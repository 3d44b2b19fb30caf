"""Records of the log with their messages, decoded once before they are folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from crl_stream.core import messages as m
from crl_stream.wire.codec import Rejected, decode_logged
from crl_stream.wire.records import Record, UnreadBatch


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record of the log with its decoded message, in the type that is fastest to create and read."""

    record: Record
    message: Any
    """The decoded message: Invocation, Feedback, CommandRef, Tick or Rejected."""
    key: bytes
    """The task's key; empty if the record has none."""


def decode_batch(records: Sequence[Record]) -> list[Entry]:
    """Decode every record; a record that cannot be decoded becomes an entry with its rejection."""
    entries = []
    for record in records:
        key = record.key
        message: Any
        if type(record) is UnreadBatch:
            message = Rejected(record.reason, record.detail)
        else:
            message = decode_logged(record.value, key)
        # The codec has checked that the key belongs to the payload's task.
        entries.append(Entry(record, message, b"" if key is None or type(message) is Rejected else key))
    return entries


def command_positions(entries: Sequence[Entry]) -> set[tuple[int, int]]:
    """Return (partition, offset) of each record of ``crl.commands`` that the batch refers to."""
    return {(entry.message.partition, entry.message.offset) for entry in entries if type(entry.message) is m.CommandRef}
