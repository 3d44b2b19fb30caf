"""``crl.dead-letters`` in memory."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

from builders import AGENT, TASK

from crl_stream.cli.dead_letters.letters import DeadLetter, pair_up
from crl_stream.core.instant import from_text
from crl_stream.kafka.reader import Received
from crl_stream.wire import reasons
from crl_stream.wire.dead_letter import Mark, dead_letter, replay_mark
from crl_stream.wire.records import Output
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS

KEY = f"{AGENT}/{TASK}".encode()
NOW = from_text("2026-01-31T12:00:00Z")
MARK = replay_mark(Mark(INVOCATIONS, 0, 7, 2, 41, "ada"), 0, KEY)
"""The mark of a replay to 2:41 by ada, for the letter that ``Topic.refuse`` writes by default."""


class Kept(NamedTuple):
    """A record as the broker stores it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Topic:
    """``crl.dead-letters`` in memory."""

    def __init__(self) -> None:
        self.records: list[Kept] = []
        self._offsets = count()

    def refuse(
        self,
        value: bytes | None,
        reason: str = reasons.VARIANT_LIMIT,
        *,
        key: bytes | None = KEY,
        topic: str = INVOCATIONS,
        place: tuple[int, int] = (0, 7),
        headers: tuple[tuple[str, bytes], ...] = (),
        at: int = NOW,
    ) -> None:
        record = Kept(place[0], place[1], 0, key, value, headers)
        self.append(dead_letter(record, topic, place[0], reason, "as it was"), at)

    def append(self, output: Output, at: int = NOW) -> None:
        assert output.topic == DEAD_LETTERS
        self.records.append(
            Kept(output.partition, next(self._offsets), at, output.key, output.value, tuple(output.headers))
        )

    @property
    def letters(self) -> list[DeadLetter]:
        return pair_up([Received(DEAD_LETTERS, record, None) for record in self.records])
