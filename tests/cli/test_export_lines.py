"""One record as one line of ``crl export``: complete, inert in a spreadsheet, the same on every run."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from builders import a_command, an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.cli.export.command import _format
from crl_stream.cli.export.lines import FORMATS, KINDS, PLACE, header, line
from crl_stream.cli.export.span import moment
from crl_stream.core import messages as m
from crl_stream.errors import UsageError
from crl_stream.kafka.reader import Received
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import COMMANDS, INVOCATIONS

HOSTILE = st.text(min_size=1, max_size=60).map(lambda text: text.replace("\x00", "-"))


def stored(topic: str, message: Any, offset: int = 7) -> Received:
    """Return a record as the reader gives it."""
    record = SimpleNamespace(
        partition=2, offset=offset, timestamp=1_790_000_000_123, key=b"k", value=encode(message), headers=()
    )
    return Received(topic, record, message)


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_a_csv_line_has_a_cell_for_each_column_of_the_header() -> None:
    outcome = an_invocation("v", "success", cost=0.25, metrics={"turns": 3.0}, trace_id="t1")
    what = KINDS["outcomes"]
    [names, values] = cells(header(what, "csv") + line(what, "csv", stored(INVOCATIONS, outcome)))
    found = dict(zip(names, values, strict=True))
    assert list(found)[:4] == list(PLACE)
    assert (found["offset"], found["cost"], found["metrics"], found["trace_id"]) == ("7", "0.25", '{"turns":3.0}', "t1")
    fields = {name: found[name] for name in m.Invocation.__struct_fields__ if name != "schema_version"}
    assert {name for name, cell in fields.items() if cell} == {
        name for name, value in msgspec.to_builtins(outcome).items() if name != "schema_version" and value is not None
    } | {"error_count"} & {name for name, cell in fields.items() if cell}


def test_a_jsonl_line_has_the_whole_message() -> None:
    outcome = an_invocation("v", "error", provider="p")
    found = json.loads(line(KINDS["outcomes"], "jsonl", stored(INVOCATIONS, outcome)))
    assert (found["topic"], found["partition"], found["offset"]) == (INVOCATIONS, 2, 7)
    assert found["appended_at"].startswith("2026-")
    assert msgspec.convert(found["message"], m.Invocation) == outcome


@given(HOSTILE)
def test_no_text_of_a_stranger_is_a_formula_or_a_second_record(text: str) -> None:
    command = a_command(m.HoldTask, reason=text, actor="ada")
    what = KINDS["events"]
    [row] = cells(line(what, "csv", stored(COMMANDS, command)))
    assert len(row) == len(PLACE) + len(what.columns)
    for cell in row:
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff20"))
    data = line(what, "jsonl", stored(COMMANDS, command))
    assert data.count(b"\n") == 1
    assert data.decode()[:-1].isprintable()
    assert json.loads(data)["message"]["reason"] == text


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "@SUM(1)", "+1+cmd|' /C calc'!A0", "\t=1", "a\r\n=1", "\x1b[2J"])
def test_formulas_and_escape_sequences_in_outcomes_are_inert(form: str, text: str) -> None:
    outcome = an_invocation("v", "success", model=text)
    data = line(KINDS["outcomes"], form, stored(INVOCATIONS, outcome))
    if form == "jsonl":
        assert data[:-1].decode().isprintable()
    else:
        model = cells(data)[0][(*PLACE, *KINDS["outcomes"].columns).index("model")]
        assert not model.startswith(("=", "+", "@", "\t"))
        assert "\x1b" not in model


def test_times_are_days_instants_or_ages() -> None:
    now = 1_790_000_000_000
    assert moment("2026-11-01", "since", now) == moment("2026-11-01T00:00:00Z", "since", now) == 1_793_491_200_000
    assert moment("2d", "since", now) == now - 2 * 86_400_000
    assert moment("5m", "since", now) == now - 5 * 60_000
    assert moment(None, "since", now) is None
    for wrong in ("yesterday", "2026-13-01", "2026-11-01T10:00:00+01:00", "", "-1d"):
        with pytest.raises(UsageError, match="is not a time"):
            moment(wrong, "since", now)


def test_the_ending_of_the_file_names_the_format_and_may_not_contradict_it() -> None:
    assert [_format(None, Path(name)) for name in ("o.csv", "o.jsonl", "o.txt", "o")] == [
        "csv",
        "jsonl",
        "jsonl",
        "jsonl",
    ]
    assert _format("csv", Path("o.txt")) == _format("csv", None) == "csv"
    assert _format(None, None) == "jsonl"
    with pytest.raises(UsageError, match="ends with"):
        _format("jsonl", Path("o.csv"))
