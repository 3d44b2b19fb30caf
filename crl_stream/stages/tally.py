"""The tally stage: turns records about tasks into notes in the only partition of ``crl.overview-events``.

    note_records(topic, partition, records, sent) -> [Output]

The stage keeps no lasting state.  The caller's ``SentNotes`` holds the notes that were already sent.  If it is lost,
notes are only repeated, which the fold (``stages.overview``) recognises.  ``core.overview.notes`` defines the notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.instant import from_text
from crl_stream.core.messages import AlertNote, ProposalNote, TaskNote
from crl_stream.core.overview.notes import Note, Said, is_of_outcome, note_of, said_by
from crl_stream.stages.topology import FIRST
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.complaints import TIMESTAMP_HINT
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TOPIC_OF

FIGURES_MS: Final = 60_000
"""How far the Q-value and visits in the last note may lag behind a busy task, in milliseconds of log time."""


class SentNotes:
    """The last note that this process sent about each task of one partition of ``crl.tasks``.

    Create a new one at each assignment: an old one lacks notes that other processes have sent in between.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, Said] = {}
        self.waiting: dict[bytes, tuple[float, TaskNote]] = {}
        """Figures that have not been sent yet, and when they arrived, oldest first."""

    def is_news(self, key: bytes, note: TaskNote, *, busy: bool = True, now: float = 0.0) -> bool:
        """Return whether the note differs from the last one and must be sent now; if so, it counts as sent.

        A change that affects the overview's totals is sent at once.  Figures change with every snapshot of a busy task.
        They are sent once per ``FIGURES_MS``, and again when they are final: if the task has fallen silent (not
        ``busy``), or when ``silent`` returns them.  ``now`` is when the note arrived, in seconds of any clock.
        """
        said, last = said_by(note), self._last.get(key)
        self.waiting.pop(key, None)
        if last is not None and last.counted == said.counted:
            if last.figures == said.figures:
                return False
            if busy and said.time - last.time < FIGURES_MS:
                self.waiting[key] = now, note
                return False
        self._last[key] = said
        return True

    def silent(self, before: float) -> list[tuple[bytes, TaskNote]]:
        """Return the figures that arrived by ``before`` and are still waiting, because no snapshot followed them."""
        found = []
        for key, (came, note) in self.waiting.items():
            if came > before:
                break
            found.append((key, note))
        return found

    def mark(self, key: bytes, note: TaskNote) -> None:
        """Remember that waiting figures were sent; newer figures that arrived in the meantime keep waiting."""
        if (waits := self.waiting.get(key)) is not None and waits[1] is note:
            del self.waiting[key]
            self._last[key] = said_by(note)


def note_records(
    topic: str, partition: int, records: Sequence[Record], sent: SentNotes, now: float = 0.0
) -> list[Output]:
    """Return the notes for records from one of the tally's sources, in order, and dead letters for unreadable records.

    For ``now`` see ``SentNotes.is_news``.
    """
    outputs: list[Output] = []
    for record in records:
        decoded = decode_record(topic, record)
        if isinstance(decoded, Rejected):
            outputs.append(dead_letter(record, topic, partition, decoded.reason, decoded.detail))
            continue
        message = decoded.message
        note = note_of(message)
        if note is None:
            continue
        if (fault := fault_of(note)) is not None:
            outputs.append(dead_letter(record, topic, partition, fault.reason, fault.detail))
            continue
        key = _key_of(note)
        if not isinstance(note, TaskNote) or sent.is_news(key, note, busy=is_of_outcome(message), now=now):
            outputs.append(output_of(key, note))
    return outputs


def output_of(key: bytes, note: Note) -> Output:
    """Return a note as a record."""
    return Output(TOPIC_OF[type(note)], FIRST, key, encode(note))


def fault_of(note: Note) -> Rejected | None:
    """Check what a note's schema cannot: instants must exist in the calendar, and numbers must fit into a row."""
    instants = {"timestamp": note.timestamp}
    numbers: list[int] = []
    if isinstance(note, ProposalNote):
        instants["expires_at"] = note.expires_at
    elif isinstance(note, TaskNote):
        numbers += [note.as_of.partition, note.as_of.offset]
        instants |= {f"unreviewed.{number}": one.since for number, one in enumerate(note.unreviewed)}
        numbers += [standing.n_visits for standing in (*note.high_confidence, *note.degraded)]
    elif isinstance(note, AlertNote) and note.position is not None:
        numbers += [note.position.partition, note.position.offset]
    for name, text in instants.items():
        try:
            from_text(text)
        except ValueError:
            return Rejected(reasons.BAD_TIMESTAMP, f"{name}: {TIMESTAMP_HINT}")
    if any(abs(number) >= 2**63 for number in numbers):
        return Rejected(reasons.OUT_OF_RANGE, "a number is out of range")
    return None


def _key_of(note: Note) -> bytes:
    if isinstance(note, AlertNote) and (note.agent_name is None or note.task_type is None):
        return note.subject.encode()
    return f"{note.agent_name}/{note.task_type}".encode()
