"""Events older than a year move to their month's file, newer ones stay, and each event exists exactly once."""

from __future__ import annotations

import fcntl
import gzip
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.instant import from_text
from crl_stream.errors import ConfigError, NotFound, Unavailable, UsageError
from crl_stream.telemetry import TelemetryFiles
from crl_stream.telemetry.archive import Moved, archive
from crl_stream.telemetry.locks import ARCHIVER, TOUCH, HeldLock
from crl_stream.telemetry.reading import PROPOSALS_FILE, ROLLBACKS_FILE
from telemetry.events import a_proposal, a_rollback, lines
from telemetry.killing import killed_before

YEAR_MS = 365 * 86_400_000
NOW = from_text("2026-01-15T12:00:00Z")
OLD = ["2024-11-02T00:00:00Z", "2024-11-30T23:59:59.999Z", "2024-12-01T00:00:00Z", "2025-01-15T11:59:59Z"]
YOUNG = ["2025-01-15T12:00:00Z", "2025-12-31T00:00:00Z", "2026-01-15T11:00:00Z"]


def fill(folder: Path, *times: str) -> None:
    with TelemetryFiles(folder) as files:
        files.append([a_rollback(number, timestamp=at) for number, at in enumerate(times)])


def monthly(folder: Path, name: str = "rollback_events") -> dict[str, bytes]:
    found = sorted(folder.glob(f"{name}-*.jsonl.gz"))
    return {path.name.removeprefix(f"{name}-")[:7]: gzip.decompress(path.read_bytes()) for path in found}


def everything(folder: Path) -> Counter[bytes]:
    """Return how many times each line exists, live or archived."""
    texts = [*monthly(folder).values(), (folder / ROLLBACKS_FILE).read_bytes()]
    return Counter(line for text in texts for line in text.splitlines(keepends=True))


def test_the_guide_s_year_old_events_are_in_their_months_and_the_rest_stays(tmp_path: Path) -> None:
    fill(tmp_path, *[at for pair in zip(OLD, YOUNG, strict=False) for at in pair], OLD[3])
    before = (tmp_path / ROLLBACKS_FILE).read_bytes().splitlines(keepends=True)
    moved = archive(tmp_path, YEAR_MS, NOW)
    assert moved == [
        Moved(ROLLBACKS_FILE, {"2024-11": 2, "2024-12": 1, "2025-01": 1}, 3),
        Moved(PROPOSALS_FILE, {}, 0),
    ]
    assert (tmp_path / "rollback_events-2024-11.jsonl.gz").is_file()
    assert [line["timestamp"] for line in lines(tmp_path / ROLLBACKS_FILE)] == YOUNG
    assert monthly(tmp_path)["2024-11"] == b"".join(before[0:3:2]), "byte for byte, in order"
    assert everything(tmp_path) == Counter(before)


def test_a_step_of_a_proposal_is_as_old_as_the_step(tmp_path: Path) -> None:
    steps = [a_proposal(1, updated_at=OLD[0]), a_proposal(1, status="approved", revision=2, updated_at=YOUNG[0])]
    with TelemetryFiles(tmp_path) as files:
        files.append(steps)
    archive(tmp_path, YEAR_MS, NOW)
    assert [line["status"] for line in lines(tmp_path / PROPOSALS_FILE)] == ["approved"]
    assert list(monthly(tmp_path, "variant_proposals")) == ["2024-11"]


def test_a_dry_run_tells_the_same_and_touches_nothing(tmp_path: Path) -> None:
    fill(tmp_path, *OLD, *YOUNG)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    told = archive(tmp_path, YEAR_MS, NOW, dry_run=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert archive(tmp_path, YEAR_MS, NOW) == told


def test_a_later_run_adds_to_a_month_and_a_second_run_changes_no_byte(tmp_path: Path) -> None:
    fill(tmp_path, *OLD)
    archive(tmp_path, YEAR_MS, from_text("2025-11-15T00:00:00Z"))
    assert monthly(tmp_path)["2024-11"].count(b"\n") == 1
    archive(tmp_path, YEAR_MS, NOW)
    assert monthly(tmp_path)["2024-11"].count(b"\n") == 2
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.gz")}
    archive(tmp_path, YEAR_MS, NOW)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.gz")} == files


def test_an_archived_event_that_comes_again_is_not_written_again(tmp_path: Path) -> None:
    fill(tmp_path, *OLD, *YOUNG)
    archive(tmp_path, YEAR_MS, NOW)
    before = everything(tmp_path)
    fill(tmp_path, *OLD, *YOUNG)
    assert everything(tmp_path) == before


def test_lines_that_cannot_be_read_stay_where_they_are(tmp_path: Path) -> None:
    fill(tmp_path, OLD[0], YOUNG[0])
    live = tmp_path / ROLLBACKS_FILE
    live.write_bytes(b"a note of somebody's\n" + live.read_bytes())
    archive(tmp_path, YEAR_MS, NOW)
    assert live.read_bytes().startswith(b"a note of somebody's\n")
    assert live.read_bytes().count(b"\n") == 2


# -- interrupted -----------------------------------------------------------------------------------
def test_killed_before_any_line_of_the_archiver_nothing_is_lost_and_the_next_run_leaves_nothing_doubled(
    tmp_path: Path,
) -> None:
    template = tmp_path / "template"
    fill(template, OLD[0])
    archive(template, YEAR_MS, NOW)
    with TelemetryFiles(template) as files:
        files.append([a_rollback(n, timestamp=at) for n, at in enumerate([*OLD, *YOUNG[:2]])])
    whole = Counter(everything(template).keys())
    step = 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        shutil.copytree(template, folder)
        killed = killed_before(step, lambda folder=folder: _archive(folder), ("telemetry/archive.py",))
        assert Counter(everything(folder).keys()) == whole, f"killed before line {step}: nothing is lost"
        with TelemetryFiles(folder) as files:
            assert files.append([a_rollback(0, timestamp=OLD[0]), a_rollback(5, timestamp=YOUNG[1])]) == 0
            files.append([a_rollback(99, timestamp=YOUNG[2])])
        archive(folder, YEAR_MS, NOW)
        with TelemetryFiles(folder) as files:
            files.append([a_rollback(n, timestamp=at) for n, at in enumerate([*OLD, *YOUNG[:2]])])
        found = everything(folder)
        assert set(found.values()) == {1}, f"killed before line {step}: nothing is duplicated"
        assert len(found) == len(whole) + 1
        assert sorted(path.name for path in folder.glob("*.partial")) == []
        assert len(lines(folder / ROLLBACKS_FILE)) == 3
        shutil.rmtree(folder)
        if not killed:
            break
    assert step > 150, "the archiver's lines were traced"


def _archive(folder: Path) -> None:
    archive(folder, YEAR_MS, NOW)


lots = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["write", "archive", "restart"])), max_size=25)


@given(lots)
def test_in_any_order_of_writing_archiving_and_restarting_each_event_is_there_once(
    story: list[tuple[int, str]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, seen = Path(name), set[str]()
        files = TelemetryFiles(folder)
        for number, what in story:
            event = a_rollback(number * 600)
            if what == "write":
                files.append([event])
                seen.add(event.rollback_id)
            elif what == "archive":
                archive(folder, 0, from_text(event.timestamp))
            else:
                files.close()
                files = TelemetryFiles(folder)
        files.close()
        found = everything(folder)
        assert set(found.values()) <= {1}
        assert len(found) == len(seen)


def test_a_writer_at_work_loses_and_doubles_nothing_while_the_archiver_runs_again_and_again(tmp_path: Path) -> None:
    fill(tmp_path, *OLD)
    done = threading.Event()
    runs = 0

    def work() -> None:
        nonlocal runs
        while not done.is_set():
            archive(tmp_path, YEAR_MS, NOW)
            runs += 1

    with TelemetryFiles(tmp_path) as files:
        archiver = threading.Thread(target=work)
        archiver.start()
        try:
            for number in range(10, 110):
                # Each line appears twice with the same time, as after a crash.
                files.append([a_rollback(n, timestamp=OLD[n % 4] if n % 3 else YOUNG[0]) for n in (number - 1, number)])
        finally:
            done.set()
            archiver.join()
    archive(tmp_path, YEAR_MS, NOW)
    ids = Counter(line.split(b'"')[3] for line in everything(tmp_path).elements())
    assert runs > 1
    assert set(ids.values()) == {1}
    assert len(ids) == 4 + 101


def test_a_live_file_that_was_cut_while_it_was_read_is_not_replaced(tmp_path: Path) -> None:
    fill(tmp_path, *OLD, *YOUNG)
    live = tmp_path / ROLLBACKS_FILE
    whole = live.read_bytes()
    live.write_bytes(whole + b"nothing of ours\n")

    def progress(_: str, done: int, total: int) -> None:
        if done == total:
            # A writer starts: it cuts off the text that is not a line, and continues after the last complete line.
            fill(tmp_path, "2026-01-15T11:30:00Z", *OLD[1:], *YOUNG, "2026-01-15T11:40:00Z")

    with pytest.raises(Unavailable, match="in the meantime"):
        archive(tmp_path, YEAR_MS, NOW, progress=progress)
    assert live.read_bytes().startswith(whole)
    archive(tmp_path, YEAR_MS, NOW)
    assert set(everything(tmp_path).values()) == {1}
    assert len(everything(tmp_path)) == 8


def test_nobody_appends_between_the_last_look_at_the_live_file_and_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, *OLD, *YOUNG)
    real, held = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        with (tmp_path / TOUCH).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(target.name)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    archive(tmp_path, YEAR_MS, NOW)
    assert held == [ROLLBACKS_FILE], "the writer can continue while the monthly files are written"


# -- refused ---------------------------------------------------------------------------------------
def test_a_damaged_month_is_refused_by_name_and_nothing_is_changed(tmp_path: Path) -> None:
    fill(tmp_path, *OLD, *YOUNG)
    broken = tmp_path / "rollback_events-2024-12.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"event_id":"x"}\n')[:-9])
    before = (tmp_path / ROLLBACKS_FILE).read_bytes()
    with pytest.raises(ConfigError, match="2024-12") as caught:
        archive(tmp_path, YEAR_MS, NOW)
    assert "backup" in str(caught.value)
    assert (tmp_path / ROLLBACKS_FILE).read_bytes() == before
    assert list(tmp_path.glob("*.gz")) == [broken]
    broken.unlink()
    archive(tmp_path, YEAR_MS, NOW)
    assert len(everything(tmp_path)) == 7


def test_a_month_that_does_not_read_back_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, *OLD)
    before = (tmp_path / ROLLBACKS_FILE).read_bytes()
    real = gzip.GzipFile.write
    monkeypatch.setattr(gzip.GzipFile, "write", lambda self, data: real(self, bytes(data).replace(b"9", b"8")))
    with pytest.raises(Unavailable, match="does not read back"):
        archive(tmp_path, YEAR_MS, NOW)
    assert (tmp_path / ROLLBACKS_FILE).read_bytes() == before
    assert list(tmp_path.glob("*.gz")) == []


def test_two_archivers_do_not_work_in_one_folder(tmp_path: Path) -> None:
    fill(tmp_path, *OLD)
    lock = HeldLock(tmp_path / ARCHIVER, taken="taken", hint="wait")
    with pytest.raises(UsageError, match="Another crl archive"):
        archive(tmp_path, YEAR_MS, NOW)
    lock.release()
    archive(tmp_path, YEAR_MS, NOW)


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        archive(tmp_path / "no", YEAR_MS, NOW)


def test_the_progress_of_long_work_begins_at_nothing_and_ends_at_all_of_it(tmp_path: Path) -> None:
    fill(tmp_path, *[f"2024-{n % 12 + 1:02}-01T00:00:00Z" for n in range(2_500)])
    said: list[tuple[int, int]] = []
    archive(tmp_path, YEAR_MS, NOW, progress=lambda _, done, total: said.append((done, total)))
    size = said[0][1]
    assert said[0][0] == 0
    assert said[-1] == (size, size)
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    assert len(said) == 4
