"""Reads the telemetry files, for programs and people.

No lock is needed: a line that is still being written is left out.
"""

from __future__ import annotations

import gzip
import heapq
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from crl_stream.core.instant import from_text

ROLLBACKS_FILE: Final = "rollback_events.jsonl"
PROPOSALS_FILE: Final = "variant_proposals.jsonl"


class Entry(NamedTuple):
    """A readable line."""

    event_id: str
    time: int
    """Unix time of the event, or of the proposal's step, in milliseconds; -1 if the line has no time."""
    fields: dict[str, Any]
    data: bytes
    """The bytes of the line, including the line feed."""


def read_rollbacks(
    folder: Path, limit: int | None = None, agent_name: str | None = None, *, archived: bool = False
) -> list[dict[str, Any]]:
    """Return the rollbacks in ``folder``, newest first.

    ``limit`` and ``agent_name`` restrict the result (None: no limit, all agents); ``archived`` includes the monthly
    files.
    """
    found = (e for e in _all(folder, ROLLBACKS_FILE, archived) if agent_name in {None, e.fields.get("agent_name")})
    if limit is None:
        return [entry.fields for entry in sorted(found, key=_age, reverse=True)]
    return [entry.fields for entry in heapq.nlargest(max(0, limit), found, key=_age)]


def read_proposals(folder: Path, status: str | None = None, *, archived: bool = False) -> list[dict[str, Any]]:
    """Return the last step of every proposal in ``folder``, newest proposal first; ``status`` is a filter."""
    latest: dict[str, Entry] = {}
    for entry in _all(folder, PROPOSALS_FILE, archived):
        kept = latest.get(entry.fields["proposal_id"])
        if kept is None or _step(entry) > _step(kept):
            latest[entry.fields["proposal_id"]] = entry
    found = [entry.fields for entry in latest.values() if status in {None, entry.fields["status"]}]
    return sorted(found, key=lambda f: (_instant(str(f["timestamp"])), f["proposal_id"]), reverse=True)


def entries_of(path: Path) -> Iterator[Entry]:
    """Yield the complete lines of a file, plain or ``.gz``, in order; none if the file does not exist."""
    with suppress(FileNotFoundError), _open(path) as file:
        for line in file:
            if line.endswith(b"\n") and (entry := read_entry(line)) is not None:
                yield entry


def read_entry(line: bytes) -> Entry | None:
    """Parse a line; return None if it is incomplete or not one of ours."""
    try:
        fields = orjson.loads(line)
        event_id = fields["event_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return Entry(event_id, _instant(time_of(fields)), fields, line) if isinstance(event_id, str) else None


def time_of(fields: dict[str, Any]) -> str:
    """Return when the event of a line (for a proposal, the step) happened, as written in the line."""
    return str(fields.get("updated_at") or fields.get("timestamp"))


def _instant(text: str) -> int:
    try:
        return from_text(text)
    except (ValueError, OverflowError):
        return -1


def archived_file(live: Path, month: str) -> Path:
    """Return the archive file of a month (``2024-11``)."""
    return live.with_name(f"{live.stem}-{month}{live.suffix}.gz")


def archived_files(live: Path) -> list[Path]:
    """Return the monthly files, oldest first."""
    return sorted(live.parent.glob(f"{live.stem}-[0-9][0-9][0-9][0-9]-[0-9][0-9]{live.suffix}.gz"))


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _all(folder: Path, name: str, archived: bool) -> Iterator[Entry]:
    live = folder / name
    if not archived:
        yield from entries_of(live)
        return
    # While lines are being archived, they are briefly in both files.
    seen: set[str] = set()
    for path in [live, *archived_files(live)]:
        for entry in entries_of(path):
            if entry.event_id not in seen:
                seen.add(entry.event_id)
                yield entry


def _age(entry: Entry) -> tuple[int, str]:
    return entry.time, entry.event_id


def _step(entry: Entry) -> tuple[int, int]:
    return int(entry.fields.get("revision", 0)), entry.time
