"""The processes of ``crl up``: what fails is started again with patience, and nothing outlives the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from source_tree import environment_of_this_checkout

from crl_stream.cli import processes
from crl_stream.cli.processes import LONGEST_PAUSE, STEADY_SECONDS, Patience, running
from crl_stream.cli.session import Session
from crl_stream.worker_views import views_url

UP = """
import subprocess, sys
from types import SimpleNamespace
from crl_stream.cli import processes

def start(*_, **__):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    print(process.pid, flush=True)
    return process

processes._start = start
settings = SimpleNamespace(worker=SimpleNamespace(web_host="127.0.0.1"), kafka=SimpleNamespace(bootstrap_servers=""))
session = SimpleNamespace(at=lambda *_, **__: settings)
with processes.running(session, settings, wait=False):
    print("up", flush=True)
    import time
    time.sleep(60)
"""


def test_what_fails_at_its_start_stays_down_longer_each_time_and_what_has_lived_does_not() -> None:
    patience = Patience()
    assert [patience.pause_after(2.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE]
    assert [patience.pause_after(lived) for lived in (STEADY_SECONDS, 0.5, 2 * STEADY_SECONDS)] == [1, 2, 1]


def test_services_that_cannot_start_are_not_started_every_moment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    started: list[str] = []

    def start(_session: Any, _settings: Any, role: str, *, quiet: bool, program: Any) -> subprocess.Popen[bytes]:
        assert (quiet, program) == (False, processes.CRL)
        started.append(role)
        # Only the monitor and the notifier live.
        code = "raise SystemExit(78)" if role == "services" else "import time; time.sleep(1.5)"
        return subprocess.Popen([sys.executable, "-c", code], env=environment_of_this_checkout())

    monkeypatch.setattr(processes, "_start", start)
    monkeypatch.setattr(processes, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.4)
    settings: Any = SimpleNamespace(
        worker=SimpleNamespace(web_host="127.0.0.1", data_dir=tmp_path), kafka=SimpleNamespace(bootstrap_servers="")
    )
    session: Any = SimpleNamespace(at=lambda *_, **__: settings)
    with running(session, settings, wait=False) as installation:
        assert installation.wait_for_end() == 0
    assert 2 <= started.count("services") <= 3
    assert (started.count("monitor"), started.count("notifier")) == (1, 1)
    assert "ended with code 78" in capsys.readouterr().err


def test_services_are_asked_at_their_own_address_wherever_the_monitor_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[list[str]] = []

    def spawn(command: list[str], **_: Any) -> Any:
        calls.append(command)
        return SimpleNamespace(poll=lambda: 0)

    monkeypatch.setattr(processes.subprocess, "Popen", spawn)
    monkeypatch.setenv("CRL_WORKER_ADVERTISED_URL", "http://crl.example.com")
    session = Session(None, ["kafka.bootstrap_servers=127.0.0.1:9"])
    with running(session, session.settings, wait=False) as installation:
        assert views_url(installation.settings) == "http://crl.example.com"
        beside = [views_url(kept.settings) for kept in installation.beside]
    assert len(set(beside)) == len(beside) == 2
    assert all(url.startswith("http://127.0.0.1:") for url in beside)
    said = [[a for a in call if a.startswith("worker.advertised_url=")] for call in calls]
    assert said == [["worker.advertised_url=http://crl.example.com"], *[["worker.advertised_url="]] * 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_is_told_to_end_while_it_starts_leaves_no_process_behind(number: signal.Signals) -> None:
    command, here = [sys.executable, "-c", UP], environment_of_this_checkout()
    with subprocess.Popen(command, env=here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout is not None
        pids = [int(program.stdout.readline()) for _ in range(3)]
        assert program.stdout.readline() == b"up\n"
        program.send_signal(number)
        program.wait(20)
    try:
        assert [pid for pid in pids if lives(pid)] == []
    finally:
        for pid in filter(lives, pids):
            os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    """Whether it runs; what ended a moment ago and waits for its parent does not."""
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
