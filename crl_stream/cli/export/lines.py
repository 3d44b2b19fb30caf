"""One record of a topic as one line of an export. Pure: the same record always gives the same bytes.

Texts of strangers stay inert: csv cells never begin like a formula, and a line holds one record whatever its texts are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.cli.tail import line_of, time_of
from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.kafka.reader import Received
from crl_stream.proposals.export.csv import inert
from crl_stream.proposals.rows import COLUMNS as OF_A_PROPOSAL
from crl_stream.proposals.rows import Cell
from crl_stream.proposals.rows import row as row_of_proposal
from crl_stream.visible import escape_json, visible_lines
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import (
    ALERTS,
    COMMANDS,
    DECISIONS,
    DEGRADATIONS,
    INVOCATIONS,
    PROPOSALS,
    RECEIPTS,
    ROLLBACKS,
)

PLACE: Final = ("topic", "partition", "offset", "appended_at")
"""Where a record is, and when the broker stored it; the first columns of every csv export."""
_OF_AN_OUTCOME: Final = (
    "type",
    *(field for field in m.Invocation.__struct_fields__ if field != "schema_version"),
    "feedback_id",
    "source",
)
_OF_AN_EVENT: Final = (
    "kind",
    "id",
    "timestamp",
    "agent_name",
    "task_type",
    "variant_id",
    "epoch",
    "actor",
    "text",
    "message",
)


class What(NamedTuple):
    """One kind of export."""

    topics: tuple[str, ...]
    columns: tuple[str, ...]
    """The columns of the csv format, after those of ``PLACE``."""
    kinds: tuple[type, ...]
    """The messages to export; other messages of the topics are left out. Empty: all."""
    row: Callable[[Received], Sequence[Cell]]


def outcome_row(received: Received) -> list[Cell]:
    """Return the cells of an outcome, or of a score that came later."""
    message = received.message
    fields = msgspec.to_builtins(message)
    fields["type"] = "feedback" if isinstance(message, m.Feedback) else "outcome"
    return [_cell(fields.get(name)) for name in _OF_AN_OUTCOME]


def event_row(received: Received) -> list[Cell]:
    """Return the cells of a fact or a command; the last one is the whole message as JSON."""
    message = received.message
    fields: dict[str, Any] = msgspec.to_builtins(message)  # the first id of a message is its own
    variant = fields.get("variant_id") or fields.get("to_variant")
    return [
        _kind(message),
        next((value for name, value in fields.items() if name.endswith("_id")), None),
        time_of(message),
        fields.get("agent_name"),
        fields.get("task_type"),
        variant,
        fields.get("epoch"),
        fields.get("actor"),
        line_of(received).removeprefix(f"{time_of(message)}  "),
        encode(message).decode(),
    ]


def proposal_row(received: Received) -> list[Cell]:
    """Return the cells of one revision of a proposal, with its status at the time of the revision."""
    return row_of_proposal(received.message, received.record.timestamp)


KINDS: Final[Mapping[str, What]] = {
    "outcomes": What((INVOCATIONS,), _OF_AN_OUTCOME, (m.Invocation, m.Feedback), outcome_row),
    "events": What((ROLLBACKS, DEGRADATIONS, DECISIONS, ALERTS, COMMANDS, RECEIPTS), _OF_AN_EVENT, (), event_row),
    "proposals": What((PROPOSALS,), OF_A_PROPOSAL, (), proposal_row),
}
"""The kinds of export by name."""
FORMATS: Final = ("csv", "jsonl")


def header(what: What, form: str) -> bytes:
    """Return the beginning of a file: the line of column names for csv, nothing for jsonl."""
    return _csv_line((*PLACE, *what.columns)) if form == "csv" else b""


def line(what: What, form: str, received: Received) -> bytes:
    """Return the line of one record, which must be readable and of one of the kinds to export."""
    record = received.record
    place = (received.topic, record.partition, record.offset, to_text(record.timestamp))
    if form == "csv":
        return _csv_line((*place, *what.row(received)))
    document = dict(zip(PLACE, place, strict=True)) | {"message": msgspec.Raw(encode(received.message))}
    return escape_json(msgspec.json.encode(document)) + b"\n"


def _kind(message: Any) -> str:
    """Return the message's tag, else the name of its class in lower case with underscores."""
    tag = type(message).__struct_config__.tag
    if tag is not None:
        return str(tag)
    name = type(message).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and number else c.lower() for number, c in enumerate(name))


def _cell(value: Any) -> Cell:
    return value if isinstance(value, Cell) else msgspec.json.encode(value).decode()


def _csv_line(cells: Sequence[Cell]) -> bytes:
    text = io.StringIO(newline="")
    # Invisible characters are shown as escapes here; jsonl keeps every text as it was.
    csv.writer(text).writerow([inert(visible_lines(cell) if isinstance(cell, str) else cell) for cell in cells])
    return text.getvalue().encode("utf-8", "backslashreplace")
