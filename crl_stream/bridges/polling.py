"""How far a polled system has been read, so that no score is lost or fetched twice.

A system is asked for everything since the newest score, minus an overlap, because scores may appear late. The cursor
therefore also lists the scores within the overlap that were already fetched. It is written together with the scores, in
the same batch of records, so the topic has both or neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from crl_stream.core.ids import name_digest
from crl_stream.wire.records import Headers

CURSOR: Final = "crl-cursor"
"""Header of an inbox record: the cursor after it."""
MOST_SEEN: Final = 5_000
"""How many scores are remembered; with more than that in the overlap, the overlap becomes shorter."""
MOST_IN_HAND: Final = 50_000
"""How many scores are remembered before the last page has been fetched."""


class Cursor(msgspec.Struct, frozen=True):
    """How far a system has been read."""

    since: int
    """Time of the oldest score that is asked for, in milliseconds since the epoch."""
    seen: dict[str, int] = msgspec.field(default_factory=dict)
    """The scores that were fetched, by digest, with their times."""


class Fetched(NamedTuple):
    """One score of a page."""

    identity: str
    """Id and version of the score: a changed score is a new one."""
    time: int
    """Milliseconds since the epoch."""
    value: bytes
    """The score as JSON."""


class Page(NamedTuple):
    """One page of scores."""

    scores: list[Fetched]
    next: str
    """What to ask for the following page; empty after the last one."""


@runtime_checkable
class Pull(Protocol):
    """How a system that is polled is asked, and what its answers mean; pure. ``options`` are those of the bridge."""

    def request(self, options: Any, since: int, following: str) -> tuple[str, dict[str, str]]:
        """Return the URL and the query for a page: the first one since a time (milliseconds), or the ``following``."""

    def headers(self, options: Any) -> dict[str, str]:
        """Return the headers of every request."""

    def read(self, body: bytes) -> Page:
        """Return the page in an answer; raise ``ValueError`` if it is not one."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Cursor).decode


def new_in(scores: Sequence[Fetched], cursor: Cursor) -> tuple[list[Fetched], Cursor]:
    """Return the scores that were not fetched before, oldest first, and the cursor with them.

    Of more than ``MOST_IN_HAND`` scores, the oldest are forgotten at once and not only after the last page.
    """
    seen, found = dict(cursor.seen), list[Fetched]()
    for score in sorted(scores, key=lambda one: one.time):
        digest = name_digest(score.identity).hex()
        if digest not in seen:
            seen[digest] = score.time
            found.append(score)
    if len(seen) > MOST_IN_HAND:
        seen = dict(sorted(seen.items(), key=lambda one: one[1])[-MOST_IN_HAND:])
    return found, Cursor(cursor.since, seen)


def at_end(cursor: Cursor, overlap: int) -> Cursor:
    """Return the cursor after the last page: everything up to the newest score was fetched.

    ``overlap`` is in milliseconds; older scores are forgotten.
    """
    if not cursor.seen:
        return cursor
    since = max(cursor.since, max(cursor.seen.values()) - overlap)
    kept = sorted((time, digest) for digest, time in cursor.seen.items() if time >= since)
    if len(kept) > MOST_SEEN:
        kept = kept[-MOST_SEEN:]
        since = kept[0][0]
    return Cursor(since, {digest: time for time, digest in kept})


def cursor_header(cursor: Cursor) -> tuple[str, bytes]:
    """Return the header with a cursor, which lists the scores fetched last if there are too many for a record."""
    last = list(cursor.seen.items())[-MOST_SEEN:]
    return CURSOR, _encode(Cursor(cursor.since, dict(last)))


def cursor_in(headers: Headers) -> Cursor | None:
    """Return the cursor in the headers of a record; None if there is none."""
    for name, value in headers or ():
        if name == CURSOR:
            try:
                return _decode(value or b"")
            except (msgspec.MsgspecError, ValueError):
                return None
    return None


def last_cursor(records: Sequence[Any], key: bytes) -> Cursor | None:
    """Return the last cursor of a bridge in records of the inbox, which are in order."""
    for record in reversed(records):
        if record.key == key and (found := cursor_in(record.headers)) is not None:
            return found
    return None
