"""Finds the newest record of each key on a compacted topic, and whether it is also the last.

A process that has lost its partition may still write after its successor.  Compaction keeps the last record of a key,
even if an earlier record is newer.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from crl_stream.core.messages import Position, Proposal
from crl_stream.wire.records import Record
from crl_stream.wire.topics import TOPIC_OF

_PROPOSALS: Final = TOPIC_OF[Proposal]

Place = tuple[int, int]
"""(incarnation, offset) of the source record that a message is based on; (0, revision) for a proposal."""


class _Placed(msgspec.Struct):
    """The fields of messages on compacted topics that determine their age."""

    incarnation: int = 0
    position: Position | None = None
    as_of: Position | None = None
    revision: int = 0


_DECODER: Final = msgspec.json.Decoder(_Placed)


def place_of(topic: str, value: bytes | None) -> Place | None:
    """Return the age of a message on a compacted topic; None if the bytes are not one of our messages."""
    if value is None:
        return None
    try:
        placed = _DECODER.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if topic == _PROPOSALS:
        return 0, placed.revision
    position = placed.as_of or placed.position
    return None if position is None else (placed.incarnation, position.offset)


def may_cover(topic: str, record: Record, folded: Place) -> bool:
    """Return whether a record that another process wrote may have replaced a newer one.

    ``folded`` is (incarnation, next offset) of the partition's owner.  The owner itself will publish everything that is
    based on later records, so its write will be the last.  For a proposal this cannot be decided; True is returned.
    """
    if topic == _PROPOSALS:
        return True
    place = place_of(topic, record.value)
    return place is None or place < folded


class _Known(NamedTuple):
    newest: Place | None
    at: int
    """Offset of the newest record of the key."""
    last: int
    """Offset of the last record of the key."""


class NewestRecords:
    """Finds stale writes among the records of one partition of a compacted topic, read in the order of offsets."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._known: dict[bytes, _Known] = {}

    def take(self, key: bytes, record: Record) -> None:
        """Process the next record of a key."""
        place, known, offset = place_of(self._topic, record.value), self._known.get(key), record.offset
        is_newer = place is not None and (known is None or known.newest is None or known.newest <= place)
        if is_newer or known is None:
            self._known[key] = _Known(place, offset, offset)
        else:
            self._known[key] = known._replace(last=offset)

    def covered(self) -> list[int]:
        """Return, in ascending order, the offsets of records that are the newest of their key but not the last."""
        return sorted(k.at for k in self._known.values() if k.newest is not None and k.at != k.last)
