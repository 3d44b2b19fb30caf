"""The dead letters on the topic: which were sent back, and which of them the user has selected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from crl_stream.cli.archive import milliseconds
from crl_stream.core.instant import from_text, to_text
from crl_stream.errors import NotFound, UsageError
from crl_stream.kafka.reader import Received
from crl_stream.wire.dead_letter import Letter, Mark, read_letter, read_mark
from crl_stream.wire.reasons import MEANING


class Replayed(NamedTuple):
    """The mark of a letter that was sent back, and its time in milliseconds by the broker's clock."""

    mark: Mark
    at: int

    def __str__(self) -> str:
        mark = self.mark
        return f"{to_text(self.at)} by {mark.actor} as {mark.to_partition}:{mark.to_offset}"


class DeadLetter(NamedTuple):
    """One dead letter and its replay, if it was replayed."""

    record: Any
    letter: Letter
    replayed: Replayed | None = None

    @property
    def place(self) -> tuple[str, int, int]:
        """The topic, partition and offset that the record was read from."""
        return self.letter.topic, self.letter.partition, self.letter.offset

    @property
    def source(self) -> str:
        """The partition and offset as ``partition:offset``."""
        return f"{self.letter.partition}:{self.letter.offset}"


def pair_up(found: Iterable[Received]) -> list[DeadLetter]:
    """Return the letters among the records, in order, each with the last mark that follows it, if any."""
    letters, marks = [], {}
    for one in found:
        record = one.record
        mark = read_mark(record.headers)
        if mark is None:
            letters.append(record)
        else:
            marks[mark.topic, mark.partition, mark.offset, record.partition] = Replayed(mark, record.timestamp), record
    paired = []
    for record in letters:
        letter = read_letter(record.headers)
        place = (letter.topic, letter.partition, letter.offset, record.partition)
        replayed, marking = marks.get(place, (None, None))
        # A log that was deleted and created again reuses positions, but its letters are different.
        after = marking is not None and marking.offset > record.offset
        paired.append(DeadLetter(record, letter, replayed if after else None))
    return paired


def letter_at(letters: Iterable[DeadLetter], topic: str | None, place: tuple[int, int]) -> DeadLetter:
    """Return the newest letter from this position; raises ``UsageError`` if two topics have one."""
    there = {}
    for one in letters:
        if (one.letter.partition, one.letter.offset) == place and topic in {None, one.letter.topic}:
            there[one.letter.topic] = one
    if not there:
        source = "{}:{}".format(*place)
        raise NotFound(
            f"There is no dead letter from {f'{topic} {source}' if topic else source}.",
            hint="crl dead-letters list shows them",
        )
    if len(there) > 1:
        raise UsageError(
            f"There is a dead letter from {' and one from '.join(sorted(there))} at {place[0]}:{place[1]}.",
            hint=f"add --topic {min(there)}",
        )
    return next(iter(there.values()))


def choose(
    letters: Sequence[DeadLetter],
    *,
    reason: str | None = None,
    topic: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[DeadLetter]:
    """Return the letters that match, each once, in the order in which their records were refused.

    ``reason`` and ``topic`` keep only letters with that reason or from that topic; None keeps all.  ``since``
    (inclusive) and ``until`` (exclusive) bound the letters' append times, in milliseconds since the epoch; None sets no
    bound.
    """
    fitting = [
        one
        for one in letters
        if reason in {None, one.letter.reason}
        and topic in {None, one.letter.topic}
        and (since is None or one.record.timestamp >= since)
        and (until is None or one.record.timestamp < until)
    ]
    fitting.sort(key=lambda one: (one.record.timestamp, one.record.partition, one.record.offset))
    # After a crash, a letter may appear twice.
    return list({(one.place, one.record.key, one.record.value): one for one in reversed(fitting)}.values())[::-1]


def read_place(text: str) -> tuple[int, int]:
    """Parse ``0:15`` into partition and offset; raises ``UsageError``."""
    partition, colon, offset = text.partition(":")
    if not colon or not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise UsageError(
            f"`{text}` is not a valid position.", hint="write PARTITION:OFFSET, as crl dead-letters list shows it"
        )
    return int(partition), int(offset)


def read_reason(text: str | None) -> str | None:
    """Check that ``text`` is a reason of the contract; raises ``UsageError``, which lists the reasons."""
    if text is not None and text not in MEANING:
        raise UsageError(f"There is no reason {text}.", hint=f"one of {', '.join(MEANING)}")
    return text


def read_time(text: str | None, now: datetime) -> int | None:
    """Parse a date, a timestamp or a span back from ``now`` into milliseconds; raises ``UsageError``."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return from_text(found.isoformat())
    except (ValueError, OverflowError):
        try:
            return from_text((now - timedelta(milliseconds=milliseconds(text))).isoformat())
        except (UsageError, OverflowError):
            raise UsageError(
                f"`{text}` is not a valid time.", hint="write 12h, 2d, 2026-01-31 or 2026-01-31T09:00:00Z"
            ) from None
