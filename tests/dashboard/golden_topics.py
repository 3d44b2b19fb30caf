"""The records that the golden hour left on the topics, as a consumer of the dashboard receives them."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from golden.storage import OUTPUTS, read_outputs

from crl_stream.core.instant import from_text
from crl_stream.dashboard.fleet import TOPICS, Fleet
from crl_stream.wire.codec import Rejected, decode

EPOCH = "1970-01-01T00:00:00Z"


class Told(NamedTuple):
    """A record of a topic with its decoded message."""

    topic: str
    partition: int
    record: Any
    message: Any


@cache
def golden_records() -> dict[tuple[str, int], list[Told]]:
    """Return the hour's records on the topics of the dashboard, by topic and partition."""
    assert OUTPUTS.exists()
    found: dict[tuple[str, int], list[Told]] = {}
    for stream, lines in read_outputs().items():
        topic, _, number = stream.partition(" partition ")
        if topic == "page of the overview":
            topic, number = "crl.overview", "0"
        if topic not in TOPICS:
            continue
        for line in lines:
            decoded = decode(topic, line.value, line.key)
            message = None if isinstance(decoded, Rejected) else decoded.message
            time = from_text(getattr(message, "timestamp", None) or EPOCH)
            record = SimpleNamespace(timestamp=time, key=line.key, value=line.value)
            found.setdefault((topic, int(number)), []).append(Told(topic, int(number), record, message))
    return found


@cache
def shared_golden_fleet() -> Fleet:
    """Return one golden fleet for all tests that only look at it."""
    return golden_fleet()


def golden_fleet() -> Fleet:
    """Return the fleet at the end of the golden hour, with rollbacks, rollouts, holds, reviews and incidents."""
    fleet = Fleet()
    for records in golden_records().values():
        for told in records:
            fleet.take(told.topic, told)
    return fleet
