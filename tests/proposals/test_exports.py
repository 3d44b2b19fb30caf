"""Each format contains what the topic contains, and nothing in it runs as a formula in a spreadsheet."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from telemetry.events import GUIDE_PROPOSAL

from crl_stream.core.messages import Proposal
from crl_stream.errors import ConfigError
from crl_stream.proposals.export import FORMATS
from crl_stream.proposals.standing import STATUSES, TYPES
from proposals.some import NOW, another, the_guide_s

DOCS = Path(__file__).resolve().parents[2] / "docs" / "proposals.md"
HAS_OPENPYXL = importlib.util.find_spec("openpyxl") is not None
needs_openpyxl = pytest.mark.skipif(not HAS_OPENPYXL, reason="openpyxl is not installed: crl-stream[export]")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "a,b", '"', "'", "line\nfeed", "\x00=1"]
)


def written(name: str, *proposals: Proposal) -> bytes:
    return FORMATS[name].write(proposals, NOW)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_the_formats_are_the_files_of_the_folder() -> None:
    assert list(FORMATS) == ["csv", "jsonl", "tracker", "xlsx"]
    assert [name for name, found in FORMATS.items() if found.binary] == ["xlsx"]


# -- csv -------------------------------------------------------------------------------------------
def test_the_columns_of_a_spreadsheet_are_the_guide_s_fields_in_the_guide_s_order_first() -> None:
    names = list(rows(written("csv", the_guide_s()))[0])
    expected = [name for name in GUIDE_PROPOSAL if name != "supporting_data"]
    assert [name for name in names if name in expected] == expected
    assert names.index("n_invocations") == names.index("confidence") + 1
    assert names[names.index("n_invocations") :][:4] == list(GUIDE_PROPOSAL["supporting_data"])


def test_a_row_says_what_the_guide_s_proposal_says() -> None:
    [row] = rows(written("csv", the_guide_s()))
    plain = ("proposal_id", "timestamp", "agent_name", "task_type", "proposal_type", "reasoning", "status")
    assert {name: row[name] for name in plain} == {name: GUIDE_PROPOSAL[name] for name in plain}
    assert (row["confidence"], row["n_invocations"], row["variance"]) == ("0.75", "67", "0.12")
    assert json.loads(row["recommended_modifications"]) == GUIDE_PROPOSAL["recommended_modifications"]


@given(texts, texts)
@example("\x0c@", "\u2003=")
def test_no_cell_of_a_csv_is_a_formula_and_its_text_is_all_there(reasoning: str, why: str) -> None:
    [row] = rows(written("csv", the_guide_s(reasoning=reasoning, why=why, status="rejected")))
    for name, text in (("reasoning", reasoning), ("status_reason", why)):
        shown = row[name]
        assert not re.match("\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]", shown), (
            "a spreadsheet would treat it as a formula"
        )
        assert shown.removeprefix("'") == text.replace("\x00", "").removeprefix("'")


# -- jsonl -----------------------------------------------------------------------------------------
def test_a_line_of_jsonl_is_the_whole_message() -> None:
    proposals = [the_guide_s(), another(1, status="approved", revision=4)]
    lines = written("jsonl", *proposals).splitlines()
    assert [msgspec.json.decode(line, type=Proposal) for line in lines] == proposals


# -- tracker ---------------------------------------------------------------------------------------
def test_the_tracker_s_types_are_the_guide_s_four_and_one_for_shadow_mode() -> None:
    proposals = [another(n, proposal_type=kind, tracker_type=f"crl_{kind}") for n, kind in enumerate(TYPES)]
    entries = json.loads(written("tracker", *proposals))["entries"]
    assert [entry["type"] for entry in entries] == [
        "crl_create_specialized_variant",
        "crl_modify_variant_parameters",
        "crl_promote_variant_to_default",
        "crl_retire_underperforming_variant",
        "crl_enforce_task",
    ]
    assert [entry["title"] for entry in entries if "default-v2" not in entry["title"]] == []


def test_the_tracker_s_document_is_the_documented_one() -> None:
    [example] = re.findall(r"```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    documented, document = json.loads(example), json.loads(written("tracker", the_guide_s()))
    assert list(document) == list(documented)
    assert list(document["entries"][0]) == list(documented["entries"][0])
    same = {"source", "version", "exported_at"}
    assert {name: document[name] for name in same} == {name: documented[name] for name in same}
    differ = {"description", "supporting_data", "recommended_modifications", "change"}
    for name, value in documented["entries"][0].items():
        assert name in differ or document["entries"][0][name] == value, name


@pytest.mark.parametrize("status", STATUSES)
def test_the_tracker_offers_a_decision_only_while_there_is_one_to_make(status: str) -> None:
    [entry] = json.loads(written("tracker", the_guide_s(status=status, actor="ada", why="too narrow")))["entries"]
    assert entry["status"] == status
    assert (entry["approve"] is None) == (entry["reject"] is None) == (status not in {"pending", "deferred"})
    assert (entry["reviewed_by"], entry["review_reason"]) == ("ada", "too narrow")


# -- xlsx ------------------------------------------------------------------------------------------
def test_without_openpyxl_one_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ConfigError) as caught:
        written("xlsx", the_guide_s())
    assert caught.value.hint == "pip install crl-stream[export]"


def sheet(data: bytes) -> Any:
    import openpyxl

    return openpyxl.load_workbook(io.BytesIO(data)).active


@needs_openpyxl
def test_a_spreadsheet_has_the_rows_of_the_csv_with_numbers_as_numbers() -> None:
    page = sheet(written("xlsx", the_guide_s(), another(1)))
    names = [cell.value for cell in page[1]]
    assert names == list(rows(written("csv", the_guide_s()))[0])
    first = dict(zip(names, [cell.value for cell in page[2]], strict=True))
    assert (first["confidence"], first["n_invocations"], first["epoch"]) == (0.75, 67, 1)
    assert first["proposal_id"] == "prop-20251119-xyz789"
    assert page.max_row == 3


@needs_openpyxl
@given(st.lists(texts, min_size=1, max_size=5))
def test_no_cell_of_a_spreadsheet_is_a_formula(given_texts: list[str]) -> None:
    page = sheet(written("xlsx", *[another(n, reasoning=text) for n, text in enumerate(given_texts)]))
    cells = [cell for line in page.iter_rows() for cell in line]
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr", "n"}


@needs_openpyxl
def test_a_text_longer_than_a_cell_is_cut() -> None:
    page = sheet(written("xlsx", the_guide_s(reasoning="x" * 40_000)))
    assert max(len(str(cell.value)) for cell in page[2]) == 32_767
