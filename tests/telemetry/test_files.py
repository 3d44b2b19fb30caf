"""There is one writer, and each event becomes one complete line, whatever crashes or is repeated.

A line is on disk before its batch counts as written.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_tree import environment_of_this_checkout

from crl_stream.core import messages as m
from crl_stream.errors import ConfigError, Unavailable, UsageError
from crl_stream.telemetry import TelemetryFiles
from crl_stream.telemetry.identities import Identities
from crl_stream.telemetry.reading import PROPOSALS_FILE, ROLLBACKS_FILE
from crl_stream.wire.topics import PROPOSALS, ROLLBACKS
from telemetry.events import Raw, a_proposal, a_rollback, lines
from telemetry.killing import killed_before

ours = ("telemetry/files.py", "telemetry/journal.py", "telemetry/locks.py", "telemetry/identities.py")


def ids(folder: Path) -> list[str]:
    return [line["event_id"] for line in lines(folder / ROLLBACKS_FILE)]


def expected(*numbers: int) -> list[str]:
    return [a_rollback(number).rollback_id for number in numbers]


# -- one writer ------------------------------------------------------------------------------------
def test_a_second_writer_is_refused_and_told_who_has_the_folder(tmp_path: Path) -> None:
    with TelemetryFiles(tmp_path), pytest.raises(UsageError) as caught:
        TelemetryFiles(tmp_path)
    assert f"process {os.getpid()} " in caught.value.message
    assert caught.value.hint is not None and "telemetry.folder" in caught.value.hint
    TelemetryFiles(tmp_path).close()


def test_the_folder_is_free_the_moment_its_writer_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from crl_stream.telemetry import TelemetryFiles;"
        "files = TelemetryFiles(pathlib.Path(sys.argv[1])); print('holds', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment_of_this_checkout()) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"holds\n"
        with pytest.raises(UsageError, match=f"process {writer.pid} "):
            TelemetryFiles(tmp_path)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        TelemetryFiles(tmp_path).close()


def test_a_folder_that_cannot_be_one_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        TelemetryFiles(tmp_path / "file" / "crl")
    assert "telemetry.folder" in str(caught.value)


def test_a_closed_writer_writes_nothing_more(tmp_path: Path) -> None:
    files = TelemetryFiles(tmp_path)
    files.close()
    with pytest.raises(Unavailable):
        files.append([a_rollback()])
    assert ids(tmp_path) == []


# -- once ------------------------------------------------------------------------------------------
batches = st.lists(
    st.tuples(st.lists(st.integers(0, 12), max_size=6), st.sampled_from(["goes on", "restarts"])), max_size=8
)


@given(batches)
def test_each_event_is_a_line_once_however_often_and_in_whatever_batch_it_comes(
    given: list[tuple[list[int], str]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, oracle = Path(name), list[int]()
        files = TelemetryFiles(folder)
        for numbers, then in given:
            fresh = [number for number in dict.fromkeys(numbers) if number not in oracle]
            assert files.append([a_rollback(number) for number in numbers]) == len(fresh)
            oracle += fresh
            if then == "restarts":
                files.close()
                files = TelemetryFiles(folder)
        files.close()
        assert ids(folder) == expected(*oracle)


def test_every_status_and_every_revision_of_a_proposal_is_a_line_and_each_only_once(tmp_path: Path) -> None:
    steps = [("pending", 1), ("pending", 2), ("deferred", 3), ("approved", 4)]
    life = [a_proposal(status=status, revision=revision) for status, revision in steps]
    with TelemetryFiles(tmp_path) as files:
        files.append([*life, *life[1:]])
        files.append(life)
    assert [(line["status"], line["revision"]) for line in lines(tmp_path / PROPOSALS_FILE)] == steps


async def test_raw_records_of_both_topics_go_to_their_files_and_tombstones_nowhere(tmp_path: Path) -> None:
    with TelemetryFiles(tmp_path) as files:
        assert await files.deliver(ROLLBACKS, [Raw(a_rollback(1), 7), Raw(None, 8), Raw(a_rollback(2), 9)]) == 2
        assert await files.deliver(PROPOSALS, [Raw(a_proposal(1), 0)]) == 1
        assert await files.deliver(ROLLBACKS, [Raw(a_rollback(2), 10)]) == 0
    assert ids(tmp_path) == expected(1, 2)
    assert len(lines(tmp_path / PROPOSALS_FILE)) == 1


async def test_the_rollback_of_a_drill_is_not_a_rollback_of_the_fleet(tmp_path: Path) -> None:
    drilled = msgspec.structs.replace(a_rollback(1), agent_name="crl-drill", task_type="notify-1")
    with TelemetryFiles(tmp_path) as files:
        assert await files.deliver(ROLLBACKS, [Raw(drilled, 7), Raw(a_rollback(2), 8)]) == 1
    assert ids(tmp_path) == expected(2)


async def test_a_record_that_cannot_be_read_is_reported_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TelemetryFiles(tmp_path) as files:
        assert await files.deliver(ROLLBACKS, [Raw(None, 3, value=b"{}"), Raw(a_rollback(1), 4)]) == 1
    assert "offset 3" in caplog.text
    assert ids(tmp_path) == expected(1)


async def test_batches_of_several_partitions_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    with TelemetryFiles(tmp_path) as files:
        places = [[Raw(a_rollback(100 * p + n), n) for n in range(50)] for p in range(4)]
        assert await asyncio.gather(*[files.deliver(ROLLBACKS, batch) for batch in places]) == [50] * 4
    written = ids(tmp_path)
    for partition in range(4):
        mine = expected(*range(100 * partition, 100 * partition + 50))
        assert [event_id for event_id in written if event_id in set(mine)] == mine


# -- processes that are killed ---------------------------------------------------------------------
def test_killed_before_any_line_of_the_writer_nothing_is_torn_doubled_or_missing(tmp_path: Path) -> None:
    events = [a_rollback(number) for number in range(6)]
    step = 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        committed = tmp_path / f"{step}.offset"

        def work(folder: Path = folder, committed: Path = committed) -> None:
            with TelemetryFiles(folder) as files:
                for start in range(0, 6, 2):
                    # The monitor had crashed too, so its last fact is repeated.
                    files.append([*events[max(0, start - 1) : start], *events[start : start + 2]])
                    committed.write_text(str(start + 2), encoding="utf-8")

        killed = killed_before(step, work, ours)
        done = int(committed.read_text(encoding="utf-8")) if committed.exists() else 0
        there = (folder / ROLLBACKS_FILE).read_bytes() if (folder / ROLLBACKS_FILE).exists() else b""
        assert there.count(b"\n") >= done, "every committed event is in the file"
        with TelemetryFiles(folder) as files:
            files.append(events[done:])
        assert ids(folder) == expected(*range(6)), f"killed before line {step}"
        if not killed:
            break
    assert step > 100, "the writer's lines were traced"


def test_a_write_torn_at_any_byte_is_cut_and_its_batch_written_whole_when_it_comes_again(tmp_path: Path) -> None:
    with TelemetryFiles(tmp_path) as files:
        files.append([a_rollback(1)])
        path = tmp_path / ROLLBACKS_FILE
        kept = path.stat().st_size
        files.append([a_rollback(2), a_rollback(3)])
    whole = path.read_bytes()
    for size in range(kept, len(whole)):
        path.write_bytes(whole[:size])
        with TelemetryFiles(tmp_path) as files:
            files.append([a_rollback(2), a_rollback(3)])
        assert path.read_bytes() == whole, f"torn at {size}"


@pytest.mark.parametrize("garbage", [b"\x00" * 5_000, b"\n\n", b'{"rollback_id":', b"null\n", b"\xff\xfe\n", b"[1]\n"])
def test_what_a_power_failure_left_behind_the_last_whole_line_is_cut(tmp_path: Path, garbage: bytes) -> None:
    with TelemetryFiles(tmp_path) as files:
        files.append([a_rollback(1)])
    path = tmp_path / ROLLBACKS_FILE
    path.write_bytes(path.read_bytes() + garbage)
    with TelemetryFiles(tmp_path) as files:
        files.append([a_rollback(2)])
    assert ids(tmp_path) == expected(1, 2)


def test_a_last_line_whose_line_feed_an_editor_took_away_is_kept(tmp_path: Path) -> None:
    with TelemetryFiles(tmp_path) as files:
        files.append([a_rollback(1), a_rollback(2)])
    path = tmp_path / ROLLBACKS_FILE
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    with TelemetryFiles(tmp_path) as files:
        assert files.append([a_rollback(2), a_rollback(3)]) == 1
    assert ids(tmp_path) == expected(1, 2, 3)


@pytest.mark.parametrize("broken", ["write", "fsync"])
def test_a_disk_that_is_full_leaves_no_half_line_and_the_same_batch_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    with TelemetryFiles(tmp_path) as files:
        files.append([a_rollback(1)])
        whole = (tmp_path / ROLLBACKS_FILE).read_bytes()
        real = os.write

        def half(file: int, data: Any) -> int:
            if real(file, bytes(data)[: len(data) // 2]) < 100:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return len(data) // 2

        def failing(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, broken, half if broken == "write" else failing)
        with pytest.raises(Unavailable) as caught:
            files.append([a_rollback(2), a_rollback(3)])
        assert caught.value.hint
        monkeypatch.undo()
        assert (tmp_path / ROLLBACKS_FILE).read_bytes() == whole
        assert files.append([a_rollback(2), a_rollback(3)]) == 2
    assert ids(tmp_path) == expected(1, 2, 3)


def test_the_lines_of_a_batch_are_synced_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync
    with TelemetryFiles(tmp_path) as files:
        path = tmp_path / ROLLBACKS_FILE
        monkeypatch.setattr(os, "fsync", lambda file: (synced.append(path.stat().st_size), real(file)))
        files.append([a_rollback(1), a_rollback(2)])
        assert synced[-1] == path.stat().st_size > 0
        synced.clear()
        files.append([a_rollback(1)])
        assert synced == [], "there is nothing new, so no sync is needed"


# -- memory ----------------------------------------------------------------------------------------
@given(st.lists(st.text(max_size=8), max_size=30), st.lists(st.text(max_size=8), max_size=30))
def test_identities_are_a_set_of_ids(first: list[str], then: list[str]) -> None:
    known, oracle = Identities(first), set(first)
    for text in then:
        assert (text in known) == (text in oracle)
        if text not in known:
            known.add(text)
            oracle.add(text)
    assert len(known) == len(oracle)


def test_100_000_ids_take_about_8_bytes_each() -> None:
    known = Identities()
    for number in range(100_000):
        known.add(f"rb-20251119-{number}")
    assert sys.getsizeof(known._sorted) + sys.getsizeof(known._fresh) < 1_200_000
    assert all(f"rb-20251119-{number}" in known for number in range(0, 100_000, 997))
    assert "rb-20251119-100000" not in known


def test_both_kinds_of_messages_are_told_apart(tmp_path: Path) -> None:
    messages: list[m.RollbackEvent | m.Proposal] = [a_proposal(1), a_rollback(1), a_proposal(2)]
    with TelemetryFiles(tmp_path) as files:
        assert files.append(messages) == 3
    assert (len(ids(tmp_path)), len(lines(tmp_path / PROPOSALS_FILE))) == (1, 2)
