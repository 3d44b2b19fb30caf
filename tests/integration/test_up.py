"""``crl up`` as a user runs it: it restarts dead processes, and never leaves a process running when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults.outage.lives import LIBRARY_LINE
from source_tree import environment_of_this_checkout

from crl_stream.broker.jars import MIRROR
from crl_stream.broker.ports import free_port
from crl_stream.settings.model import Client

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
PATIENCE = 120.0
"""Longest wait, in seconds, for an event that takes ten seconds on an idle machine."""
END_SECONDS = 5.0
"""Seconds within which ``crl up`` promises to end; on a loaded machine the tests allow three times as much."""


class Up:
    """A separate installation in a folder, run by ``crl up``."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.said = folder, folder / "said.txt"
        own = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "CRL_CLIENT_CACHE_DIR": str(Client().cache_dir)}
        own |= {"CRL_WORKER_WEB_PORT": str(free_port()), "TMPDIR": str(folder)}
        self.environment = environment_of_this_checkout() | own | environment
        self.programs: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with self.said.open("wb") as said:
            program = subprocess.Popen(
                [sys.executable, "-m", "crl_stream", *(words or ("up",))],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                # A test that runs in the background ignores Ctrl-C, and so do its children; a user's processes do not.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )
        self.programs.append(program)
        return program

    def run(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "crl_stream", *words],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def hear(self, text: str, times: int = 1) -> None:
        """Wait until the program has printed ``text`` this many times."""

        def is_said() -> bool:
            assert self.programs[-1].poll() is None or self.text().count(text) >= times, self.text()[-3_000:]
            return self.text().count(text) >= times

        wait_for(is_said, lambda: f"{text!r} was not said: {self.text()[-3_000:]}")

    def text(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")

    def note(self, path: str) -> Any:
        return json.loads((self.folder / "crl-stream" / path).read_text(encoding="utf-8"))

    def pid(self, name: str) -> int:
        if name == "kafka":
            return int(self.note("broker/starting.json")["pid"])
        return int(self.note("worker/up.json")["processes"][name][0])

    def pids(self) -> dict[str, int]:
        return {name: self.pid(name) for name in ("kafka", "monitor", "services", "notifier")}

    def left_behind(self, seconds: float = END_SECONDS) -> list[int]:
        """Return this folder's processes still running after ``seconds``; killed ones take a moment to disappear."""
        until = time.monotonic() + seconds
        while (found := self.family()) and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def family(self) -> list[int]:
        """Return every process that was started in this folder, whatever its parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("HOME") == str(self.folder):
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path)
    yield started
    for program in started.programs:
        if program.poll() is None:
            program.kill()
        program.wait()
    for pid in started.family():
        os.kill(pid, signal.SIGKILL)


def wait_for(true: Callable[[], bool], why: Callable[[], str]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, why()
        time.sleep(0.1)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def take_port(port: int) -> socket.socket:
    """Listen on a port as soon as it is free."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def is_bound() -> bool:
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            return False
        taken.listen()
        return True

    until = time.monotonic() + 30.0
    while not is_bound():
        assert time.monotonic() < until
        time.sleep(0.001)
    return taken


def end(program: subprocess.Popen[bytes], number: int = signal.SIGINT) -> float:
    """Send ``crl up`` a signal to end, and return the seconds that it took."""
    began = time.monotonic()
    program.send_signal(number)
    program.wait(PATIENCE)
    return time.monotonic() - began


def test_what_dies_comes_back_also_elsewhere_and_ctrl_c_ends_it_while_broker_and_monitor_are_paused(up: Up) -> None:
    program = up.start()
    up.hear("crl status shows the tasks")
    code, said = up.run("up")
    assert code == 0
    assert f"crl up has been running since {up.note('worker/up.json')['since']} (process {program.pid})" in said
    before = up.pids()

    os.kill(before["monitor"], signal.SIGKILL)
    up.hear("monitor was ended by signal 9; it will be restarted in 1 s")
    wait_for(lambda: up.pid("monitor") != before["monitor"], up.text)
    wait_for(lambda: up.run("status")[0] == 0, up.text)

    old, moved = up.note("broker/broker.json")["bootstrap_servers"], up.pids()
    os.kill(before["kafka"], signal.SIGKILL)
    with take_port(int(old.rpartition(":")[2])):
        up.hear("Kafka was terminated by SIGKILL")
        up.hear("Kafka has moved to")
    assert up.note("broker/broker.json")["bootstrap_servers"] != old
    assert up.note("worker/up.json")["kafka"] == up.note("broker/broker.json")["bootstrap_servers"]
    wait_for(lambda: up.pid("monitor") != moved["monitor"] and up.pid("notifier") != moved["notifier"], up.text)
    wait_for(lambda: up.run("status")[0] == 0, up.text)

    last = up.pids()
    os.kill(last["kafka"], signal.SIGSTOP)
    up.hear("is paused (SIGSTOP")
    os.kill(last["monitor"], signal.SIGSTOP)
    assert end(program) < 3 * END_SECONDS
    assert program.returncode == 0
    assert up.left_behind() == []
    assert "crl_stream/cli/" not in up.text(), "a traceback of ours"
    assert LIBRARY_LINE.findall(up.text()) == [], "the outage is reported in our own words"
    assert not (up.folder / "crl-stream" / "worker" / "up.json").exists()


def test_what_a_killed_crl_up_left_behind_is_taken_over_by_the_next_one_which_crl_down_ends(up: Up) -> None:
    first = up.start()
    up.hear("crl status shows the tasks")
    left = up.pids()
    first.kill()
    first.wait()
    assert not any(is_gone(pid) for pid in left.values())
    code, said = up.run("status", "--check")
    assert code == 1
    [line] = [line for line in said.splitlines() if line.startswith("supervision")]
    assert f"crl up (process {first.pid}, started" in line
    assert all(f"{name} ({pid})" in line for name, pid in left.items()), "the broker too"
    assert "unsupervised" in json.loads(up.run("status", "--json")[1])["trouble"][0]
    second = up.start()
    up.hear("crl status shows the tasks")
    assert "stopped processes left behind by an earlier run: monitor" in up.text()
    assert "unsupervised" not in up.run("status")[1]
    assert [name for name, pid in left.items() if not is_gone(pid)] == ["kafka"]
    pids = up.pids() | {"crl up": second.pid}
    code, said = up.run("down", "--json")
    assert code == 0
    assert {entry["name"]: entry["pid"] for entry in json.loads(said)["ended"]} == pids
    second.wait(PATIENCE)
    assert up.left_behind() == []
    code, said = up.run("down")
    assert (code, "nothing is running" in said) == (0, True)


@pytest.mark.parametrize(
    ("command", "number"), [("up", signal.SIGINT), ("up", signal.SIGTERM), ("demo", signal.SIGHUP)]
)
def test_a_signal_while_kafka_is_fetched_ends_it_at_once_and_quietly(
    tmp_path: Path, command: str, number: signal.Signals
) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        place = Up(tmp_path, CRL_CLIENT_CACHE_DIR=str(tmp_path / "cache"), NO_PROXY="127.0.0.1", **{MIRROR: address})
        program = place.start(command)
        place.hear("43 MB, once) ...")
        assert end(program, number) < 3 * END_SECONDS
        assert place.family() == []
        assert "crl_stream/cli/" not in place.text(), "a traceback of ours"


@pytest.mark.parametrize(
    ("command", "stage", "number"),
    [
        ("up", "Kafka 4.3.1 on Java", signal.SIGTERM),
        ("up", "topics: ", signal.SIGHUP),
        ("demo", "Kafka 4.3.1 on Java", signal.SIGINT),
        ("demo", "A worker is ready", signal.SIGTERM),
    ],
)
def test_a_signal_at_any_other_stage_leaves_no_process_behind(
    up: Up, command: str, stage: str, number: signal.Signals
) -> None:
    program = up.start(command)
    up.hear(stage)
    assert end(program, number) < 3 * END_SECONDS
    assert up.left_behind() == []
    assert "crl_stream/cli/" not in up.text(), "a traceback of ours"
