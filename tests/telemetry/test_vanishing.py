"""Whatever is deleted, cut or locked under a running writer, the next event is written, and each line only once."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.errors import Unavailable
from crl_stream.telemetry import TelemetryFiles, journal
from crl_stream.telemetry.locks import TOUCH, WRITER
from crl_stream.telemetry.reading import PROPOSALS_FILE, ROLLBACKS_FILE
from telemetry.events import a_proposal, a_rollback, lines


def ids(folder: Path) -> list[str]:
    return [line["event_id"] for line in lines(folder / ROLLBACKS_FILE)]


def expected(*numbers: int) -> list[str]:
    return [a_rollback(number).rollback_id for number in numbers]


def replace_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved away"))
    folder.mkdir()


def replace_parent(folder: Path) -> None:
    shutil.rmtree(folder.parent)


def put_file_in_its_place(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("in the way", encoding="utf-8")


def drop_locks(folder: Path) -> None:
    (folder / WRITER).unlink()
    (folder / TOUCH).unlink()


def cut_in_a_line(folder: Path) -> None:
    os.truncate(folder / ROLLBACKS_FILE, (folder / ROLLBACKS_FILE).stat().st_size - 10)


def empty_file(folder: Path) -> None:
    os.truncate(folder / ROLLBACKS_FILE, 0)


@pytest.mark.parametrize(
    ("harm", "left"),
    [
        (shutil.rmtree, []),
        (replace_folder, []),
        (replace_parent, []),
        (lambda folder: (folder / ROLLBACKS_FILE).unlink(), []),
        (empty_file, []),
        (cut_in_a_line, [1]),
        (drop_locks, [1, 2]),
    ],
    ids=["folder deleted", "folder replaced", "parents deleted", "file deleted", "emptied", "cut", "locks deleted"],
)
def test_what_was_deleted_beneath_the_writer_is_made_again_and_the_next_events_are_there_once(
    tmp_path: Path, harm: Callable[[Path], Any], left: list[int]
) -> None:
    folder = tmp_path / "deep" / "crl"
    with TelemetryFiles(folder) as files:
        files.append([a_rollback(1), a_rollback(2)])
        harm(folder)
        for _ in range(2):
            files.append([a_rollback(3), a_proposal(1)])
        files.append([a_rollback(4)])
        assert ids(folder) == expected(*left, 3, 4)
        assert len(lines(folder / PROPOSALS_FILE)) == 1


def test_a_folder_that_was_deleted_is_locked_again_so_that_there_is_one_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "crl"
    with TelemetryFiles(folder) as first:
        shutil.rmtree(folder)
        first.append([a_rollback(1)])
        assert "was deleted or replaced; recreating it" in caplog.text
        with pytest.raises(Exception, match="Another process writes"):
            TelemetryFiles(folder)


def test_a_second_writer_that_took_the_folder_meanwhile_keeps_it_and_the_first_one_waits(tmp_path: Path) -> None:
    folder = tmp_path / "crl"
    with TelemetryFiles(folder) as first:
        shutil.rmtree(folder)
        with TelemetryFiles(folder) as second:
            second.append([a_rollback(1)])
            with pytest.raises(Unavailable, match="Another process writes"):
                first.append([a_rollback(2)])
        first.append([a_rollback(1), a_rollback(2)])
    assert ids(folder) == expected(1, 2)


def test_a_folder_whose_place_is_taken_waits_and_goes_on_when_the_place_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "crl"
    with TelemetryFiles(folder) as files:
        put_file_in_its_place(folder)
        for _ in range(2):
            with pytest.raises(Unavailable):
                files.append([a_rollback(1)])
        folder.unlink()
        files.append([a_rollback(1)])
    assert ids(folder) == expected(1)


def test_a_disk_that_became_read_only_and_comes_back_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is remounted read-only, every call that would write fails, even for root."""
    real = os.open

    def read_only(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, flags, *rest, **more)

    with TelemetryFiles(tmp_path) as files:
        files.append([a_rollback(1)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", read_only)
            with pytest.raises(Unavailable, match="Read-only"):
                files.append([a_rollback(2)])
        files.append([a_rollback(2), a_rollback(3)])
    assert ids(tmp_path) == expected(1, 2, 3)


@pytest.mark.parametrize("harm", [shutil.rmtree, lambda folder: (folder / ROLLBACKS_FILE).unlink(), empty_file])
def test_a_batch_whose_file_goes_while_it_is_written_is_not_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], Any]
) -> None:
    folder, real = tmp_path / "crl", os.fsync
    folder.mkdir()
    harmed = []

    def vanish(file: int) -> None:
        real(file)
        if not harmed:
            harmed.append(file)
            harm(folder)

    with TelemetryFiles(folder) as files:
        files.append([a_rollback(1)])
        monkeypatch.setattr(journal.os, "fsync", vanish)
        try:
            files.append([a_rollback(2)])
        except Unavailable:
            files.append([a_rollback(2)])
    assert harmed
    assert ids(folder) == expected(2)


acts = st.lists(
    st.sampled_from(["folder", "file", "empty", "cut", "locks", "restart", "append", "append", "again"]), max_size=14
)


@given(acts)
def test_in_any_order_of_harm_each_event_is_in_the_file_it_was_appended_to_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, history: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("telemetry") / "crl"
    files, number, there = TelemetryFiles(folder), 0, list[int]()
    for act in history:
        if act == "folder":
            shutil.rmtree(folder, ignore_errors=True)
            there = []
        elif act == "locks":
            (folder / WRITER).unlink(missing_ok=True)
            (folder / TOUCH).unlink(missing_ok=True)
        elif act == "restart":
            files.close()
            files = TelemetryFiles(folder)
        elif act in {"append", "again"}:
            number += act == "append"
            files.append([a_rollback(number)])
            there += [] if number in there else [number]
        elif (folder / ROLLBACKS_FILE).exists():
            if act == "file":
                (folder / ROLLBACKS_FILE).unlink()
                there = []
            elif act == "empty":
                empty_file(folder)
                there = []
            elif there and (folder / ROLLBACKS_FILE).read_bytes().endswith(b"\n"):
                cut_in_a_line(folder)
                there.pop()
    files.append([a_rollback(999)])
    files.close()
    assert ids(folder) == expected(*there, 999)
