"""The range of times that an export covers, and the offsets that it means in each partition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from crl_stream.cli.archive import milliseconds
from crl_stream.core.instant import from_text
from crl_stream.errors import UsageError
from crl_stream.kafka.positions import bounds, places_of

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MINUTES: Final = re.compile(r"(\d{1,9})m")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT.*Z")


class Stretch(msgspec.Struct):
    """The offsets of one partition to export, from ``next`` up to but not including ``end``."""

    topic: str
    """The topic's name in the catalog."""
    partition: int
    next: int
    end: int


def moment(text: str | None, option: str, now: int) -> int | None:
    """Return a time in milliseconds: ``2026-11-01``, ``2026-11-01T14:30:00Z``, ``5m`` or ``7d`` ago.

    Raises ``UsageError`` for anything else.
    """
    if text is None:
        return None
    try:
        if _DAY.fullmatch(text):
            return from_text(f"{text}T00:00:00Z")
        if minutes := _MINUTES.fullmatch(text):
            return now - int(minutes[1]) * 60_000
        return from_text(text) if _INSTANT.fullmatch(text) else now - milliseconds(text)
    except (ValueError, UsageError):
        raise UsageError(
            f"--{option} {text} is not a time.",
            hint="write 2026-11-01, 2026-11-01T14:30:00Z (UTC), 5m for 5 minutes ago, or 7d for 7 days ago",
        ) from None


async def stretches(
    consumer: Any, topics: Sequence[tuple[str, str]], since: int | None, until: int | None
) -> list[Stretch]:
    """Return the stretch of each partition whose records were stored in [``since``, ``until``), by topic and partition.

    ``topics`` has the name in the catalog and the name on the broker of each topic. Times are in milliseconds; None
    means from the first record, or up to the last one there is now.
    """
    found = []
    for topic, name in topics:
        places = await places_of(consumer, [name])
        first, end = await bounds(consumer, places)
        starts = await _offsets_at(consumer, places, since)
        ends = await _offsets_at(consumer, places, until)
        for place in sorted(places):
            begins = first[place] if since is None else starts.get(place, end[place])
            until_here = end[place] if until is None else ends.get(place, end[place])
            found.append(Stretch(topic, place.partition, max(begins, first[place]), min(until_here, end[place])))
    return [one for one in found if one.next < one.end]


async def _offsets_at(consumer: Any, places: Sequence[TopicPartition], time: int | None) -> dict[TopicPartition, int]:
    """Return the first offset stored at ``time`` or later; partitions without such a record are left out."""
    if time is None or time < 0:
        return {} if time is None else (await consumer.beginning_offsets(places))
    found = await consumer.offsets_for_times(dict.fromkeys(places, time))
    return {place: at.offset for place, at in found.items() if at is not None}
