"""What is in the telemetry files, for programs and people.  Needs no lock: a line that is being written is left out."""

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
    """A line that can be read."""

    event_id: str
    time: int
    """Milliseconds since the epoch of the event, for a proposal of its step; -1 when it names no instant."""
    fields: dict[str, Any]
    data: bytes
    """With its line feed."""


def read_rollbacks(
    folder: Path, limit: int | None = None, agent_name: str | None = None, *, archived: bool = False
) -> list[dict[str, Any]]:
    """The rollbacks in ``folder``, newest first; ``archived`` adds the monthly files."""
    found = (e for e in _all(folder, ROLLBACKS_FILE, archived) if agent_name in {None, e.fields.get("agent_name")})
    if limit is None:
        return [entry.fields for entry in sorted(found, key=_age, reverse=True)]
    return [entry.fields for entry in heapq.nlargest(max(0, limit), found, key=_age)]


def read_proposals(folder: Path, status: str | None = None, *, archived: bool = False) -> list[dict[str, Any]]:
    """The last step of every proposal in ``folder``, newest proposal first; only those in ``status`` when given."""
    latest: dict[str, Entry] = {}
    for entry in _all(folder, PROPOSALS_FILE, archived):
        kept = latest.get(entry.fields["proposal_id"])
        if kept is None or _step(entry) > _step(kept):
            latest[entry.fields["proposal_id"]] = entry
    found = [entry.fields for entry in latest.values() if status in {None, entry.fields["status"]}]
    return sorted(found, key=lambda f: (_instant(str(f["timestamp"])), f["proposal_id"]), reverse=True)


def entries_of(path: Path) -> Iterator[Entry]:
    """The whole lines of a file, plain or ``.gz``, in its order; none when there is no such file."""
    with suppress(FileNotFoundError), _open(path) as file:
        for line in file:
            if line.endswith(b"\n") and (entry := read_entry(line)) is not None:
                yield entry


def read_entry(line: bytes) -> Entry | None:
    """What a line says; None when it is not whole or not one of ours."""
    try:
        fields = orjson.loads(line)
        event_id = fields["event_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return Entry(event_id, _instant(time_of(fields)), fields, line) if isinstance(event_id, str) else None


def time_of(fields: dict[str, Any]) -> str:
    """When the event of a line happened, as the line has it: of a proposal its step."""
    return str(fields.get("updated_at") or fields.get("timestamp"))


def _instant(text: str) -> int:
    try:
        return from_text(text)
    except (ValueError, OverflowError):
        return -1


def archived_file(live: Path, month: str) -> Path:
    """Where the lines of a month (``2024-11``) are once they are archived."""
    return live.with_name(f"{live.stem}-{month}{live.suffix}.gz")


def archived_files(live: Path) -> list[Path]:
    """The monthly files, oldest first."""
    return sorted(live.parent.glob(f"{live.stem}-[0-9][0-9][0-9][0-9]-[0-9][0-9]{live.suffix}.gz"))


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _all(folder: Path, name: str, archived: bool) -> Iterator[Entry]:
    live = folder / name
    if not archived:
        yield from entries_of(live)
        return
    # While lines are moved they are for a moment in both places.
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
