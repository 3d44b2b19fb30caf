"""Data goes to stdout and everything else to stderr; a reader that stops early is not an error."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cli.program import Program
from cli.test_replay import a_file

CALLS = [["--help"], ["--version"], ["config", "show"], ["config", "show", "--json"], ["replay", "outcomes.jsonl"]]


def pipe_without_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_reader_of_the_output_that_has_left_is_no_error(crl: Program, call: list[str]) -> None:
    a_file(crl.folder)
    writing = pipe_without_reader()
    process = crl.start(*call, stdout=writing)
    os.close(writing)
    _, err = process.communicate()
    assert process.returncode == 0
    assert b"Error" not in err and b"crl:" not in err


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_terminal_that_hangs_up_is_a_reader_that_has_left(crl: Program, call: list[str]) -> None:
    a_file(crl.folder)
    ours, theirs = os.openpty()
    process = crl.start(*call, stdout=theirs)
    os.close(theirs)
    os.close(ours)
    _, err = process.communicate()
    assert process.returncode == 0
    assert b"Error" not in err and b"crl:" not in err


def test_an_error_said_to_a_terminal_that_has_hung_up_has_its_exit_code(crl: Program) -> None:
    ours, theirs = os.openpty()
    process = crl.start("config", "validate", "nowhere.toml", stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.close(ours)
    assert process.wait() == 2


@pytest.mark.parametrize("call", [["config", "validate"], ["replay", "outcomes.jsonl"]], ids=" ".join)
def test_a_reader_of_the_talk_that_has_left_takes_no_data_away(crl: Program, call: list[str]) -> None:
    a_file(crl.folder)
    writing = pipe_without_reader()
    process = crl.start(*call, stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out.decode() == crl.run(*call).out != ""


def test_an_error_that_nobody_reads_has_its_exit_code_all_the_same(crl: Program) -> None:
    writing = pipe_without_reader()
    process = crl.start("config", "validate", "nowhere.toml", stdout=subprocess.DEVNULL, stderr=writing)
    os.close(writing)
    assert process.wait() == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_the_caller_has_closed_is_no_error(crl: Program, closed: str) -> None:
    for call in ("config show", "config show --json"):
        command = " ".join([*crl.command(*call.split()), closed])
        done = subprocess.run(["sh", "-c", command], cwd=crl.folder, env=crl.environment, check=False)
        assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_finds_no_room_is_said_in_a_sentence(crl: Program) -> None:
    with Path("/dev/full").open("wb") as full:
        process = crl.start("config", "show", "--json", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.decode().startswith("crl: A write failed: ")
    assert b"bug" not in err


def test_nothing_but_data_is_on_stdout_and_no_colour_reaches_a_pipe(crl: Program) -> None:
    a_file(crl.folder)
    for call in (["config", "show", "--json"], ["replay", "outcomes.jsonl", "--json"]):
        result = crl.run(*call)
        assert all(json.loads(line) for line in result.out.splitlines())
        assert "\x1b" not in result.out + result.err
    assert "\x1b" not in crl.run("no-such-command").err


def test_the_version_is_one_line(crl: Program) -> None:
    result = crl.run("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("crl ") and result.out.count("\n") == 1
