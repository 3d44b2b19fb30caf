"""The journal of a published file is found by content and target, and is kept in a writable folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from crl_stream.cli.publish_journal import Journal, Progress, journals_near, matching, target_of

ONE = Progress(
    file="a.jsonl",
    target=target_of("cluster", "crl.invocations"),
    messages=100,
    content="all",
    sent=40,
    sent_content="forty",
    at="2026-01-01T00:00:00Z",
)


@pytest.fixture(autouse=True)
def _a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_what_is_written_is_found_again_in_the_folder_of_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl", ONE.target)
    journal.write(ONE)
    journal.write(replace(ONE, sent=60))
    assert journals_near(tmp_path / "b.jsonl") == [replace(ONE, sent=60)]
    assert [path.name for path in tmp_path.iterdir()] == [f"a.jsonl.{ONE.target}.crl-journal"]


def test_a_folder_that_nobody_can_write_has_its_journals_among_the_data_of_the_user(tmp_path: Path) -> None:
    file = Path("/proc/version")  # not even root can create a file in this folder
    journal = Journal(file, ONE.target)
    assert journal.path is not None and journal.path.parent == tmp_path / "data" / "crl-stream" / "published"
    journal.write(ONE)
    assert journals_near(file) == [ONE]


def test_where_no_journal_can_be_written_at_all_that_is_said_and_publishing_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("crl_stream.cli.publish_journal._fallback", lambda: Path("/proc/published"))
    journal = Journal(Path("/proc/version"), ONE.target)
    journal.write(ONE)
    assert journal.path is None
    assert "double-count what has arrived" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"file": "a"}'])
def test_a_journal_that_cannot_be_read_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.12345678.crl-journal").write_bytes(content)
    assert journals_near(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize(
    ("prefixes", "messages", "content", "found"),
    [
        ({40: "forty"}, 100, "all", True),  # the same file
        ({40: "forty"}, 120, "more", True),  # the file has grown
        ({40: "forty"}, 40, "forty", True),  # the file was truncated to the part that was sent
        ({40: "other"}, 100, "changed", False),
        ({}, 30, "shorter", False),
    ],
)
def test_a_journal_fits_what_begins_with_the_messages_that_were_sent(
    prefixes: dict[int, str], messages: int, content: str, found: bool
) -> None:
    assert matching([ONE], ONE.target, messages, content, prefixes) == (ONE if found else None)


def test_another_cluster_or_prefix_has_seen_nothing_of_it() -> None:
    for other in (target_of("other", "crl.invocations"), target_of("cluster", "x.crl.invocations")):
        assert matching([ONE], other, 100, "all", {40: "forty"}) is None


def test_of_several_journals_the_one_that_is_furthest_counts() -> None:
    further = replace(ONE, file="copy.jsonl", sent=70, sent_content="seventy")
    found = matching([ONE, further], ONE.target, 100, "all", {40: "forty", 70: "seventy"})
    assert found == further


def test_a_run_that_was_killed_before_anything_was_acknowledged_is_known_by_the_whole_content() -> None:
    begun = replace(ONE, sent=0, sent_content="nothing")
    assert matching([begun], ONE.target, 100, "all", {}) == begun
    assert matching([begun], ONE.target, 100, "another", {}) is None
