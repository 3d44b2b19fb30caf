"""The processes of ``crl up``: a failed one is restarted after growing pauses, and none outlives ``crl up``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from source_tree import environment_of_this_checkout

from cli.program import Program
from crl_stream.broker.recorded import Recorded, recorded, spawn
from crl_stream.cli import processes
from crl_stream.cli.processes import running
from crl_stream.cli.run_record import forget, is_held, read, take
from crl_stream.cli.session import Session
from crl_stream.errors import ConfigError
from crl_stream.worker_views import views_url

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
UP = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from crl_stream.cli import processes
from crl_stream.cli.run_record import take

processes._command = lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"]
folder = Path(sys.argv[1])
worker = SimpleNamespace(web_host="127.0.0.1", data_dir=folder)
settings = SimpleNamespace(worker=worker, kafka=SimpleNamespace(bootstrap_servers=""), bridges={})
session = SimpleNamespace(at=lambda *_, **__: settings)
record = take(folder, "crl up")
print([process.pid for process in record.ended.values()], flush=True)
with processes.running(session, settings, wait=False, record=record) as installation:
    for kept in installation.kept.values():
        print(kept.process.pid, flush=True)
    print("up", flush=True)
    time.sleep(60)
"""


# -- records of processes --------------------------------------------------------------------------
@pytest.fixture
def a_process() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []

    def make() -> subprocess.Popen[bytes]:
        made.append(subprocess.Popen(SLEEP))
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.wait()


def test_a_number_that_has_a_new_owner_is_left_alone(a_process: Callable[[], subprocess.Popen[bytes]]) -> None:
    stranger = a_process()
    now = recorded(stranger.pid)
    for other in (now._replace(created=now.created - 3_600.0), now._replace(created=now.created + 60.0)):
        other.send(signal.SIGKILL)
        assert not other.lives()
    assert stranger.poll() is None
    assert now.lives()


def test_what_a_killed_program_left_behind_is_ended_by_the_next_one_and_strangers_with_its_numbers_are_not(
    tmp_path: Path, a_process: Callable[[], subprocess.Popen[bytes]]
) -> None:
    left, stranger = a_process(), a_process()
    record = take(tmp_path, "crl up")
    assert record is not None
    record.note_process("monitor", recorded(left.pid))
    record.note_process("services", recorded(stranger.pid)._replace(created=1.0))
    record.note_process("notifier", Recorded(2**22 - 3, 1.0))
    record._lock.close()  # as a kill -9 does
    following = take(tmp_path, "crl up")
    assert following is not None
    assert {name: process.pid for name, process in following.ended.items()} == {"monitor": left.pid}
    assert left.wait(20) == -signal.SIGTERM
    assert stranger.poll() is None
    following.release()


def test_one_program_at_a_time_runs_an_installation_in_a_folder_and_the_next_one_can_read_which(
    tmp_path: Path,
) -> None:
    assert not is_held(tmp_path / "nothing")
    record = take(tmp_path, "crl up")
    assert record is not None
    record.note(kafka="127.0.0.1:9092", views="http://127.0.0.1:6066")
    assert take(tmp_path, "crl up") is None
    found = read(tmp_path)
    assert found is not None and found.program.pid == os.getpid()
    assert (found.kafka, is_held(tmp_path)) == ("127.0.0.1:9092", True)
    record.release()
    assert (read(tmp_path), is_held(tmp_path)) == (None, False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"command": 1}', '{"program": [1], "processes": {}}', "\x00" * 64])
def test_a_note_that_was_torn_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "up.json").write_text(text, encoding="utf-8")
    assert read(tmp_path) is None
    record = take(tmp_path, "crl up")
    assert record is not None
    record.release()
    forget(tmp_path)


def test_a_data_folder_that_cannot_be_written_is_named_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        take(tmp_path / "file" / "worker", "crl up")
    assert "worker.data_dir" in (caught.value.hint or "")


def test_a_process_runs_only_when_it_is_on_record(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    kept: list[subprocess.Popen[bytes]] = []

    def refuse(process: subprocess.Popen[bytes], _: Recorded) -> None:
        kept.append(process)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        spawn(["/bin/sh", "-c", f"echo > {witness}"], refuse)
    assert kept[0].poll() is not None
    assert not witness.exists()
    done = spawn(["/bin/sh", "-c", f"echo > {witness}"], lambda *_: None)
    assert done.wait(20) == 0
    assert witness.exists()


def test_a_process_whose_starter_is_killed_before_it_was_written_down_ends_by_itself(tmp_path: Path) -> None:
    program = (
        "import os, signal; from crl_stream.broker.recorded import spawn\n"
        f"spawn(['/bin/sh', '-c', 'echo > {tmp_path / 'ran'}'], lambda child, _: "
        "(print(child.pid, flush=True), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment_of_this_checkout(), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not lives(int(done.stdout))
    assert not (tmp_path / "ran").exists()


def test_services_are_asked_at_their_own_address_wherever_the_monitor_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[list[str]] = []

    def spawn_nothing(command: list[str], record: Any, **_: Any) -> Any:
        calls.append(command)
        process = SimpleNamespace(poll=lambda: 0, pid=0)
        record(process, Recorded(2**22 - 3, 1.0))
        return process

    monkeypatch.setattr(processes, "spawn", spawn_nothing)
    monkeypatch.setenv("CRL_WORKER_ADVERTISED_URL", "http://crl.example.com")
    session = Session(None, ["kafka.bootstrap_servers=127.0.0.1:9", f"worker.data_dir={tmp_path}"])
    with running(session, session.settings, wait=False) as installation:
        assert views_url(installation.settings) == "http://crl.example.com"
        beside = [views_url(installation.settings_of(kept.name)) for kept in installation.beside]
    assert len(set(beside)) == len(beside) == 2
    assert all(url.startswith("http://127.0.0.1:") for url in beside)
    said = [[a for a in call if a.startswith("worker.advertised_url=")] for call in calls]
    assert said == [["worker.advertised_url=http://crl.example.com"], *[["worker.advertised_url="]] * 2]


def start_up(folder: Path) -> tuple[subprocess.Popen[bytes], list[int], list[int]]:
    """Start a program that runs three processes; return it with the ids of the processes that it ended and started."""
    command, here = [sys.executable, "-c", UP, str(folder)], environment_of_this_checkout()
    program = subprocess.Popen(command, env=here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert program.stdout is not None
    ended = [int(word) for word in program.stdout.readline().decode().strip("[]\n").split(",") if word]
    pids = [int(program.stdout.readline()) for _ in range(3)]
    assert program.stdout.readline() == b"up\n"
    return program, ended, pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_is_told_to_end_leaves_no_process_behind_also_none_that_is_paused(
    number: signal.Signals, tmp_path: Path
) -> None:
    program, _, pids = start_up(tmp_path)
    with program:
        os.kill(pids[0], signal.SIGSTOP)
        program.send_signal(number)
        program.wait(20)
    try:
        assert [pid for pid in pids if lives(pid)] == []
    finally:
        for pid in filter(lives, pids):
            os.kill(pid, signal.SIGKILL)


def test_a_program_that_nohup_has_made_deaf_to_hangups_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with processes.leaving_in_order():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_after_a_kill_of_the_program_the_next_one_ends_what_it_left_behind(tmp_path: Path) -> None:
    first, _, left = start_up(tmp_path)
    with first:
        first.kill()
        first.wait(20)
    try:
        assert all(lives(pid) for pid in left)
        second, ended, pids = start_up(tmp_path)
        with second:
            assert sorted(ended) == sorted(left)
            assert [pid for pid in left if lives(pid)] == []
            second.send_signal(signal.SIGTERM)
            second.wait(20)
        assert [pid for pid in pids if lives(pid)] == []
    finally:
        for pid in filter(lives, left):
            os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    """Return whether the process is running; one that has ended but still waits for its parent is not."""
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


def test_crl_down_ends_what_was_left_behind_by_its_number_and_start_time_and_says_so_as_json(
    tmp_path: Path, a_process: Callable[[], subprocess.Popen[bytes]]
) -> None:
    crl = Program(tmp_path)
    folder = Path(crl.environment["XDG_DATA_HOME"]) / "crl-stream" / "worker"
    left, stranger = a_process(), a_process()
    record = take(folder, "crl up")
    assert record is not None
    record.note_process("monitor", recorded(left.pid))
    record.note_process("services", recorded(stranger.pid)._replace(created=1.0))
    record._lock.close()  # as a kill -9 does
    done = crl.run("down", "--json")
    assert (done.code, json.loads(done.out)) == (0, {"ended": [{"name": "monitor", "pid": left.pid}]})
    assert left.wait(20) == -signal.SIGTERM
    assert stranger.poll() is None
    again = crl.run("down")
    assert (again.code, again.err.startswith("nothing is running")) == (0, True)


def test_a_second_crl_up_says_what_runs_and_where_and_another_installation_is_refused(tmp_path: Path) -> None:
    crl = Program(tmp_path)
    folder = Path(crl.environment["XDG_DATA_HOME"]) / "crl-stream" / "worker"
    record = take(folder, "crl up")
    assert record is not None
    starting = crl.run("up")
    assert (starting.code, "still starting" in starting.err) == (0, True)
    record.note(kafka="127.0.0.1:9092", views="http://127.0.0.1:6066")
    same = crl.run("up")
    assert same.code == 0
    assert f"(process {os.getpid()})" in same.err and "127.0.0.1:9092" in same.err and "crl down" in same.err
    for other in ("kafka.topic_prefix=b.", "kafka.bootstrap_servers=127.0.0.1:1"):
        assert crl.run("--set", other, "up").faults(2) == []
    record.release()
