"""The order in which a replay folds the messages of a file, and statistics about it."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable

from crl_stream.cli.outcome_file import Outcome, OutcomeFile
from crl_stream.cli.repeats import Repeats
from crl_stream.cli.replay_clock import steady
from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.wire.codec import decode_unkeyed

Timed = Iterable[tuple[int, Outcome]]
"""Messages, each with the time at which it is folded, in milliseconds."""


def in_order(survey: Survey, source: OutcomeFile, *, by_time: bool) -> Timed:
    """Yield the messages in the order of the file, or with ``by_time`` in that of their timestamps."""
    return _by_time(survey, source) if by_time else steady(survey.watch(source))


class Survey:
    """Statistics about the order of a file's messages."""

    def __init__(self) -> None:
        self.messages = 0
        self.backwards = 0
        """How often a timestamp is earlier than the previous one."""
        self.first_backwards: int | None = None
        """The first line whose timestamp is earlier than the previous one; None if there is none."""
        self.repeats = Repeats()

    def watch(self, source: OutcomeFile) -> Timed:
        """Yield the messages in the order of the file, each with its own time."""
        before, add = None, self.repeats.add
        for outcome in source.outcomes():
            message = outcome.message
            time = from_text(message.timestamp)
            if before is not None and time < before:
                self.backwards += 1
                if self.first_backwards is None:
                    self.first_backwards = outcome.number
            before = time
            add(outcome.key, message.invocation_id if isinstance(message, m.Invocation) else message.feedback_id)
            self.messages += 1
            yield time, outcome


def _by_time(survey: Survey, source: OutcomeFile) -> Timed:
    """Yield the messages by timestamp; equal timestamps keep the order of the file.

    The texts are kept in a temporary file, so memory holds two numbers per message.
    """
    times, places, place = array("q"), array("q"), 0
    with tempfile.TemporaryFile() as room:
        for time, outcome in survey.watch(source):
            times.append(time)
            places.append(place)
            place += room.write(outcome.value + b"\n")
        for number in sorted(range(len(times)), key=times.__getitem__):
            room.seek(places[number])
            value = room.readline().rstrip(b"\n")
            key, message = decode_unkeyed(value)
            yield times[number], Outcome(0, value, key, message)
