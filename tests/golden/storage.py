"""The files of the golden hour: one JSON array per line, compressed.

Bytes are stored as Latin-1 text, so that people can read and search the records after ``xz --decompress``.
"""

from __future__ import annotations

import json
import lzma
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
INPUTS = FOLDER / "inputs.jsonl.xz"
OUTPUTS = FOLDER / "outputs.jsonl.xz"
REMEDIES = FOLDER / "modifications.toml"
"""The proposer's catalogue for the hour; it is separate so that the shipped one can change freely."""
ROWS = "rows"
"""Used in place of a topic for a row that is in the changelog before the first record."""

Headers = tuple[tuple[str, bytes | None], ...]


class Input(NamedTuple):
    """One record of the hour, as stored by the broker."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Line(NamedTuple):
    """One record that the fold wrote, or one of its final rows."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


Streams = Mapping[str, list[Line]]
"""The outputs of the fold, by topic and partition, in order."""


def read_inputs() -> list[Input]:
    """Read the recorded hour, in the order in which it was appended."""
    return [
        Input(topic, partition, offset, timestamp, _bytes(key), _bytes(value), _headers(headers))
        for topic, partition, offset, timestamp, key, value, headers in _lines(INPUTS)
    ]


def write_inputs(inputs: Iterable[Input]) -> None:
    """Store the hour."""
    _write(INPUTS, ([*one[:4], _text(one.key), _text(one.value), _texts(one.headers)] for one in inputs))


def read_outputs(path: Path = OUTPUTS) -> dict[str, list[Line]]:
    """Read the recorded outputs of the hour."""
    found: dict[str, list[Line]] = defaultdict(list)
    for name, key, value, headers in _lines(path):
        found[name].append(Line(_bytes(key), _bytes(value), _headers(headers)))
    return dict(found)


def write_outputs(streams: Streams, path: Path = OUTPUTS) -> None:
    """Store the current outputs of the hour."""
    lines = ([name, _text(o.key), _text(o.value), _texts(o.headers)] for name in sorted(streams) for o in streams[name])
    _write(path, lines)


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]


def _write(path: Path, lines: Iterable[list[Any]]) -> None:
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    path.write_bytes(lzma.compress(text.encode("ascii"), preset=9 | lzma.PRESET_EXTREME))


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")


def _texts(headers: Headers) -> list[list[str | None]]:
    return [[name, _text(value)] for name, value in headers]


def _headers(headers: list[list[Any]]) -> Headers:
    return tuple((name, _bytes(value)) for name, value in headers)
