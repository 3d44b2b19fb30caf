"""``crl`` in a shell: grouped help, matching hints, completion and a quiet exit."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from source_tree import environment_of_this_checkout

from cli.program import Program, commands
from cli.views import a_brief, serving
from crl_stream.cli.help_groups import GROUPS, OTHERS


def test_the_help_groups_every_command_by_what_one_wants_to_do(crl: Program) -> None:
    text = crl.run("--help").out
    sections = re.split(r"^(\w+):$", text, flags=re.MULTILINE)
    shown = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert [heading for heading in shown if heading != "Options"] == list(GROUPS)
    assert OTHERS not in shown, "a command is missing from help_groups.GROUPS"
    for path in commands():
        [home] = [heading for heading, names in GROUPS.items() if path[0] in names]
        assert re.search(rf"^  {path[0]} ", shown[home], re.MULTILINE), path


def test_no_line_of_the_help_is_cut_or_wider_than_80_columns(crl: Program) -> None:
    for words in ([], ["hold"], ["rollbacks"], ["register"]):
        lines = crl.run(*words, "--help").out.splitlines()
        assert max(map(len, lines)) <= 80
        if not words:
            assert [line for line in lines if line.rstrip().endswith("...") and "ARGS" not in line] == []


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        ("window a/t --fo", "crl window --help"),
        ("broker no-such-command", "crl broker --help lists its commands"),
        ("proposals list --nope", "crl proposals list --help"),
        ("rollbacks show", "crl rollbacks show --help"),
        ("no-such-command", "crl --help"),
    ],
)
def test_a_usage_error_names_the_help_of_the_very_command(crl: Program, call: str, hint: str) -> None:
    result = crl.run(*call.split())
    assert result.faults(2) == []
    assert hint in result.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_have_its_completion(crl: Program, shell: str) -> None:
    result = crl.run("--show-completion", shell)
    assert result.code == 0 and "complete" in result.out


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Yield a port that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_completion_is_silent_whatever_is_wrong(mute_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from crl_stream.cli import completing

    monkeypatch.setenv("CRL_WORKER_WEB_PORT", str(mute_port))
    assert completing.complete_task("a") == []
    monkeypatch.setenv("CRL_WORKER_WEB_PORT", "1")
    assert completing.complete_task("a") == []
    monkeypatch.setenv("CRL_WORKER_WEB_PORT", "not a port")
    assert completing.complete_task("a") == []


def test_tasks_are_completed_from_a_running_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    from crl_stream.cli import completing

    with serving([a_brief(), a_brief("review")]) as port:
        monkeypatch.setenv("CRL_WORKER_WEB_PORT", str(port))
        assert completing.complete_task("backend-architect/a") == ["backend-architect/api-design"]
        assert completing.complete_task("x") == []


HALF_DONE = """
import asyncio, os, signal
from crl_stream.cli.application import app, main

async def never():
    pass

class Late:
    def __del__(self):
        raise ValueError("during cleanup")

@app.command()
def half():
    async def work():
        left, late = never(), Late()
        os.kill(os.getpid(), signal.SIGTERM)
        await left
    asyncio.run(work())

main(["half"])
"""


def test_whatever_the_signal_leaves_half_done_nothing_is_said_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HALF_DONE],
        env=environment_of_this_checkout(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (143, b"")


def test_told_to_end_a_command_ends_quietly_with_143(crl: Program) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        reached = threading.Event()

        def accept() -> None:
            connection, _ = mute.accept()
            reached.set()
            connection.recv(1 << 16)
            released.wait(60)
            connection.close()

        released = threading.Event()
        thread = threading.Thread(target=accept)
        thread.start()
        crl.environment["CRL_WORKER_WEB_PORT"] = str(mute.getsockname()[1])
        process = crl.start("window", "a/t")
        assert reached.wait(60)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        released.set()
        thread.join()
    assert (process.returncode, err) == (143, b"")


def test_what_was_asked_for_goes_to_stdout_so_that_a_pipe_keeps_it(crl: Program) -> None:
    with serving([]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result = crl.run("quarantine", "list")
    assert (result.out, result.err) == ("Nothing is in quarantine.\n", "")
