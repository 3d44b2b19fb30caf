"""A progress bar on a terminal: no other output lands inside it, and the cursor is restored however the work ends."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from source_tree import environment_of_this_checkout

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def drawn(program: str) -> str:
    """Run a program on a terminal of 80 columns; return what the terminal receives."""
    ours, theirs = pty.openpty()
    environment = environment_of_this_checkout() | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        seen = b""
        try:
            while found := screen.read(65_536):
                seen += found
        except OSError:  # the program has ended, which closes its terminal
            pass
        process.wait()
    return seen.decode()


BEGIN = """
import logging, time
from crl_stream.cli.talk import LogLines, complain, progress_bar, say, share_terminal
progress = progress_bar()
progress("publishing", 0, 100)
progress("publishing", 30, 100)
"""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("say('Kafka has not answered')", "Kafka has not answered"),
        ("logging.getLogger().addHandler(LogLines()); logging.warning('from a library')", "from a library"),
        ("complain('Kafka accepted 30 of 100 messages.', None)", "crl: Kafka accepted 30 of 100 messages."),
    ],
    ids=["a message", "a log line", "an error"],
)
def test_a_line_that_comes_while_a_bar_is_drawn_has_a_line_of_its_own(line: str, words: str) -> None:
    seen = drawn(f"{BEGIN}{line}\ntime.sleep(0.3)\nfrom crl_stream.cli.talk import end_bars\nend_bars()")
    [found] = [text for text in seen.replace("\x1b[2K", "\r").replace("\n", "\r").split("\r") if words in text]
    assert "30/100" not in found
    assert "━" not in found


@pytest.mark.parametrize("end", ["complain('it ends', None)", "progress('publishing', 100, 100)"])
def test_the_cursor_is_given_back_however_the_work_ends(end: str) -> None:
    seen = drawn(BEGIN + end)
    assert HIDE in seen
    assert seen.rindex(SHOW) > seen.rindex(HIDE)


def test_a_terminal_that_other_processes_write_to_gets_lines_and_no_bar() -> None:
    seen = drawn(BEGIN.replace("progress =", "share_terminal()\nprogress ="))
    assert seen.split() == ["publishing", "..."]
