"""Readers see only complete lines, newest first: each event once, and each proposal at its last step."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.telemetry import TelemetryFiles, read_proposals, read_rollbacks
from crl_stream.telemetry.archive import archive
from crl_stream.telemetry.reading import PROPOSALS_FILE, ROLLBACKS_FILE
from telemetry.events import a_proposal, a_rollback

DAY_MS = 86_400_000


def written(folder: Path, *messages: object) -> None:
    with TelemetryFiles(folder) as files:
        files.append(messages)  # type: ignore[arg-type]


def test_a_folder_that_is_not_there_yet_has_no_history(tmp_path: Path) -> None:
    assert read_rollbacks(tmp_path / "no") == []
    assert read_proposals(tmp_path / "no") == []


@given(st.lists(st.integers(0, 200), unique=True, max_size=20), st.none() | st.integers(0, 25), st.sampled_from("ab*"))
def test_rollbacks_come_newest_first_up_to_the_limit_of_one_agent_or_of_all(
    numbers: list[int], limit: int | None, agent: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        events = [a_rollback(number, agent_name="ab"[number % 2]) for number in numbers]
        written(Path(name), *events)
        found = read_rollbacks(Path(name), limit, None if agent == "*" else agent)
    oracle = [number for number in sorted(numbers, reverse=True) if agent in {"*", "ab"[number % 2]}]
    assert [event["rollback_id"] for event in found] == [a_rollback(n).rollback_id for n in oracle][:limit]


def test_fractions_of_a_second_are_in_their_order_whether_they_are_written_or_not(tmp_path: Path) -> None:
    instants = ["2025-11-19T14:30:00Z", "2025-11-19T14:30:00.500Z", "2025-11-19T14:30:01Z"]
    written(tmp_path, *[a_rollback(n, timestamp=at) for n, at in enumerate(instants)])
    assert [event["timestamp"] for event in read_rollbacks(tmp_path)] == instants[::-1]


def test_of_each_proposal_the_last_step_is_told_and_its_status_can_be_asked_for(tmp_path: Path) -> None:
    written(
        tmp_path,
        a_proposal(1),
        a_proposal(2),
        a_proposal(1, status="approved", revision=2),
        a_proposal(2, revision=2),
    )
    assert [(p["proposal_id"][-1], p["status"], p["revision"]) for p in read_proposals(tmp_path)] == [
        ("2", "pending", 2),
        ("1", "approved", 2),
    ]
    assert [p["proposal_id"][-1] for p in read_proposals(tmp_path, "pending")] == ["2"]


@pytest.mark.parametrize("torn", [b'{"rollback_id":"rb', b"nonsense\n", b'{"event_id": 7}\n', b"\xff\n", b"{}"])
def test_a_line_that_is_not_whole_or_not_ours_is_passed_over(tmp_path: Path, torn: bytes) -> None:
    written(tmp_path, a_rollback(1), a_proposal(1))
    for name in (ROLLBACKS_FILE, PROPOSALS_FILE):
        with (tmp_path / name).open("ab") as file:
            file.write(torn)
    assert (len(read_rollbacks(tmp_path)), len(read_proposals(tmp_path))) == (1, 1)


def test_what_is_archived_is_told_when_it_is_asked_for_and_once(tmp_path: Path) -> None:
    written(tmp_path, a_rollback(0), a_rollback(800))
    before = (tmp_path / ROLLBACKS_FILE).read_bytes()
    newest = read_rollbacks(tmp_path)[0]
    now = 1_800_000_000_000
    archive(tmp_path, DAY_MS, now)
    assert read_rollbacks(tmp_path) == []
    assert len(read_rollbacks(tmp_path, archived=True)) == 2
    # While lines are being moved, they are in both files.
    (tmp_path / ROLLBACKS_FILE).write_bytes(before)
    assert len(read_rollbacks(tmp_path, archived=True)) == 2
    assert read_rollbacks(tmp_path, 1, archived=True) == [newest]
