"""A forked ``crl`` process behaves like one started with ``subprocess``, in every respect that tests rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import forked
import psutil
import pytest
from source_tree import OF_THIS_CHECKOUT

ENVIRONMENT = {"PATH": os.defpath, "HOME": "/nowhere"} | OF_THIS_CHECKOUT


def test_it_has_the_environment_and_the_folder_that_it_is_given_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "crl.toml").write_text('profile = "production"\n', encoding="utf-8")
    environment = ENVIRONMENT | {"CRL_KAFKA_PARTITIONS": "7"}
    done = forked.run(("crl_stream", "config", "show"), environment, tmp_path)
    assert (done.code, done.err) == (0, b"")
    assert b"partitions" in done.out and b"CRL_KAFKA_PARTITIONS" in done.out
    assert b"production" in done.out
    again = forked.run(("crl_stream", "config", "show"), ENVIRONMENT, tmp_path)
    assert b"CRL_KAFKA_PARTITIONS" not in again.out


def test_it_reads_what_it_is_told_and_says_its_exit_code(tmp_path: Path) -> None:
    done = forked.run(("crl_stream", "replay", "-"), ENVIRONMENT, tmp_path, b"no outcome\n")
    assert done.code == 2
    assert b"line 1" in done.err
    assert forked.run(("crl_stream", "no-such-command"), ENVIRONMENT, tmp_path).code == 2


def test_it_is_killed_like_any_process_and_a_wait_for_it_can_end_before(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never-ending")
    with (tmp_path / "said").open("wb") as said:
        process = forked.start(("crl_stream", "replay", "never-ending"), ENVIRONMENT, tmp_path, said, said)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL == process.poll()
        process.kill()  # a second kill() must not signal a new process with the same PID


def test_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never-ending")
    with (tmp_path / "said").open("wb") as said:
        process = forked.start(("crl_stream", "replay", "never-ending"), ENVIRONMENT, tmp_path, said, said)
        # open() returns when the command has opened its end, so the command is now waiting for input.
        with (tmp_path / "never-ending").open("wb"):
            process.send_signal(signal.SIGINT)
            assert process.wait() == 130
    assert (tmp_path / "said").read_text(encoding="utf-8") == "crl: Interrupted.\n"


def test_what_is_left_ends_with_the_one_who_asked_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never-ending")
    server = forked._Server(ENVIRONMENT, ["crl_stream.cli.application"])
    with (tmp_path / "said").open("wb") as said, Path(os.devnull).open("rb") as nothing:
        asked = {"words": ["crl_stream", "replay", "never-ending"], "environment": ENVIRONMENT, "folder": str(tmp_path)}
        process = server.start(asked, [nothing.fileno(), said.fileno(), said.fileno()])
        server.close()
        while psutil.pid_exists(process.pid) and psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert process.wait() < 0
