"""`crl status` reports an installation whose `crl up` is gone or paused while its processes keep running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from source_tree import environment_of_this_checkout

from cli.program import Program
from cli.views import a_brief, serving
from crl_stream.broker.recorded import wait_for_end
from crl_stream.cli.run_record import read

UP = """
import sys, time
from pathlib import Path
from crl_stream.broker.recorded import spawn
from crl_stream.cli.run_record import take

record = take(Path(sys.argv[1]), "crl up")
for name in ("monitor", "services"):
    spawn([sys.executable, "-c", "import time; time.sleep(600)"], lambda _, p, name=name: record.note_process(name, p))
print("up", flush=True)
time.sleep(600)
"""


class Up:
    """A program that runs two processes, as ``crl up`` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", UP, str(folder)], stdout=subprocess.PIPE, env=environment_of_this_checkout()
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end_its_processes(self) -> None:
        found = read(self.folder)
        assert found is not None
        for process in found.processes.values():
            process.send(signal.SIGKILL)
        assert wait_for_end(found.processes.values(), 30.0) == []


@pytest.fixture
def up(crl: Program) -> Iterator[Up]:
    started = Up(crl.folder / "home" / "data" / "crl-stream" / "worker")
    yield started
    started.end_its_processes()
    started.kill()
    assert started.process.stdout is not None
    started.process.stdout.close()


def look(crl: Program) -> tuple[int, list[str], list[dict[str, Any]]]:
    """Return the exit code and lines of ``crl status --check``, and the findings about supervision from ``--json``."""
    with serving([a_brief()]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        check = crl.run("status", "--check")
        page = json.loads(crl.run("status", "--json").out)
    lines = [line for line in check.out.splitlines() if line.startswith("supervision")]
    return check.code, lines, [found for found in page["findings"] if found["name"] == "supervision"]


def test_while_it_runs_nothing_is_said_of_it(crl: Program, up: Up) -> None:
    _, lines, found = look(crl)
    assert (lines, found) == ([], [])


def test_a_killed_crl_up_is_named_with_what_lives_on_and_what_to_do(crl: Program, up: Up) -> None:
    up.kill()
    there = read(up.folder)
    assert there is not None
    code, [line], [found] = look(crl)
    assert code == 1
    assert f"crl up (process {up.process.pid}, started" in line
    for name, process in there.processes.items():
        assert f"{name} ({process.pid})" in line
    assert "run unsupervised" in line
    assert "`crl down`" in line
    assert found["trouble"] is True
    assert found["text"] in line


def test_one_of_two_that_lives_on_is_named_alone(crl: Program, up: Up) -> None:
    up.kill()
    there = read(up.folder)
    assert there is not None
    there.processes["monitor"].send(signal.SIGKILL)
    assert wait_for_end([there.processes["monitor"]], 30.0) == []
    _, [line], _ = look(crl)
    assert f"services ({there.processes['services'].pid}) runs unsupervised" in line
    assert "monitor (" not in line


def test_after_a_restart_of_the_machine_there_is_nothing_left_to_name(crl: Program, up: Up) -> None:
    up.kill()
    up.end_its_processes()
    _, lines, found = look(crl)
    assert (lines, found) == ([], [])


def test_numbers_that_other_processes_have_now_are_not_taken_for_what_it_started(crl: Program, up: Up) -> None:
    up.kill()
    up.end_its_processes()
    note = up.folder / "up.json"
    page = json.loads(note.read_text())
    page["processes"] = {"monitor": [os.getpid(), 1.0]}
    note.write_text(json.dumps(page))
    _, lines, _ = look(crl)
    assert lines == []


def test_a_paused_crl_up_is_named_with_the_way_to_wake_it_up(crl: Program, up: Up) -> None:
    os.kill(up.process.pid, signal.SIGSTOP)
    try:
        code, [line], _ = look(crl)
    finally:
        os.kill(up.process.pid, signal.SIGCONT)
    assert code == 1
    assert "is paused" in line
    assert f"kill -CONT {up.process.pid}" in line


@pytest.mark.parametrize("text", ["", "{", "[]", '{"command": "crl up"}'])
def test_a_note_that_cannot_be_read_ends_no_look(crl: Program, up: Up, text: str) -> None:
    note = (up.folder / "up.json").read_text()
    (up.folder / "up.json").write_text(text)
    try:
        _, lines, found = look(crl)
    finally:
        (up.folder / "up.json").write_text(note)
    assert (lines, found) == ([], [])
