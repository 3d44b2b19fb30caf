"""Untrusted text has no effect on the operator's terminal, and JSON preserves it exactly."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cli.views import a_brief
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from source_tree import environment_of_this_checkout

from crl_stream.cli import talk
from crl_stream.cli.status import Health, Seen, screen_lines, task_lines
from crl_stream.cli.tail import line_of
from crl_stream.core import messages as m
from crl_stream.kafka.reader import Received
from crl_stream.visible import LINE, VisibleFormatter, escape_json, visible, visible_lines

EVIL = "\x1b]0;PWNED\x07\x1b[31mRED\x1b[2J\u202egnp.exe\u009b31m\u200b\r\x08\x0b\x0c\x7f\u2066\ufeff"
STYLES = re.compile("\x1b\\[[0-9;]*m")


def acting(text: str) -> set[str]:
    """Return the characters in a text that a terminal would act on, other than our own colours."""
    return {c for c in STYLES.sub("", text) if not c.isprintable()} - {"\n"}


def test_each_character_that_cannot_be_seen_is_shown_as_the_escape_that_names_it() -> None:
    assert visible("a\x1b[2Jb\u202ec\n\U000e0001") == r"a\x1b[2Jb\u202ec\n\U000e0001"
    assert visible_lines("one\ntwo\r\n") == "one\ntwo\\r\n"
    assert visible("naïve 宽 \u200d") == "naïve 宽 \\u200d"


@given(st.text())
def test_no_text_at_all_keeps_what_a_terminal_acts_on(text: str) -> None:
    assert visible(text).isprintable()
    assert acting(visible_lines(text)) == set()


@given(st.recursive(st.text() | st.integers() | st.none(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_json_says_exactly_the_same_and_has_nothing_in_it_that_a_terminal_acts_on(value: Any) -> None:
    document = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        document.decode()
    except UnicodeDecodeError:
        return  # a lone surrogate is not valid text; our encoder refuses it
    escaped = escape_json(document)
    assert json.loads(escaped) == value
    assert escaped.decode().isprintable()


@pytest.mark.parametrize("way", ["say", "complain", "show", "table", "folded", "json"])
def test_whatever_way_a_text_is_printed_it_does_nothing_on_the_terminal(
    way: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(open(1, "wb", closefd=False), "utf-8"))  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(open(2, "wb", closefd=False), "utf-8"))  # noqa: SIM115
    acts: dict[str, Any] = {
        "say": lambda: talk.say(EVIL),
        "complain": lambda: talk.complain(EVIL, EVIL),
        "show": lambda: talk.show(EVIL),
        "table": lambda: talk.show_table(["a", EVIL], [["x", EVIL]] * 600, empty=""),
        "folded": lambda: talk.show_table(["a", "b"], [["x" * 50, EVIL]], empty=""),
        "json": lambda: talk.show_json({"reason": EVIL}),
    }
    acts[way]()
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = capfdbinary.readouterr()
    assert acting(out.decode() + err.decode()) == set()
    assert b"PWNED" in out + err
    if way == "json":
        assert json.loads(out) == {"reason": EVIL}


@pytest.mark.parametrize("renderable", [Text(EVIL, style="red"), Panel(EVIL), Text.assemble(("x", "bold"), EVIL)])
def test_what_rich_draws_has_only_rich_s_own_escapes_in_it(renderable: Any) -> None:
    file = io.StringIO()
    console = talk.Terminal(file=file, force_terminal=True, width=60, highlight=False)
    console.print(renderable)
    table = Table()
    table.add_column(EVIL)
    table.add_row(EVIL)
    console.print(table)
    assert acting(file.getvalue()) == set()
    assert "\x1b[2J" not in file.getvalue()
    assert "PWNED" in file.getvalue()


# -- logs --------------------------------------------------------------------------------------------
@given(st.text(), st.text())
def test_no_text_acts_through_a_log_and_a_line_stays_one_line(message: str, argument: str) -> None:
    record = logging.LogRecord(EVIL, logging.ERROR, __file__, 1, "%s %s", (message, argument), None)
    line = VisibleFormatter(LINE).format(record)
    assert line.isprintable()


def test_a_traceback_in_a_log_keeps_its_lines_and_nothing_else_that_acts() -> None:
    try:
        int(EVIL)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    text = VisibleFormatter(LINE).format(record)
    assert text.count("\n") > 2
    assert acting(text) == set()
    assert "PWNED" in text


WORKER = """
import logging, sys, threading
from crl_stream.worker.log_lines import set_up_logging
evil = sys.argv[1]
set_up_logging()
logging.getLogger("crl_stream.alerts").error("%s%s", "RESOLVED ", evil)
logging.getLogger("aiokafka").warning("a library: %r %s", evil, evil)
try:
    raise RuntimeError(evil)
except RuntimeError:
    logging.getLogger("crl_stream.worker").exception("failed")
def fails():
    raise RuntimeError(evil)
thread = threading.Thread(target=fails)
thread.start()
thread.join()
"""


def test_no_text_of_a_topic_reaches_the_terminal_of_a_worker_as_it_is() -> None:
    """Covers logged alerts, a library's warning, a traceback, and a thread that fails."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, EVIL], capture_output=True, check=False, env=environment_of_this_checkout()
    )
    assert done.returncode == 0
    said = done.stderr.decode()
    assert acting(said) == set()
    assert said.count("PWNED") >= 5
    assert done.stdout == b""


def test_what_crl_shows_of_libraries_with_v_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys, logging; from crl_stream.cli import application as a; import crl_stream.cli.tail as t\n"
    program += "def boom(*_): logging.getLogger('aiokafka').warning(sys.argv[1]); raise SystemExit(0)\n"
    program += "t.asyncio.run = boom; a.main(['-v', 'tail'])"
    command = [sys.executable, "-W", "ignore", "-c", program, EVIL]
    done = subprocess.run(command, capture_output=True, check=False, env=environment_of_this_checkout())
    said = done.stderr.decode()
    assert "PWNED" in said
    assert acting(said) == set()


# -- the other ways ----------------------------------------------------------------------------------
def test_a_record_of_a_topic_is_one_line_of_crl_tail_whatever_its_texts_say() -> None:
    result = msgspec.convert(
        {
            "result_id": "cmdr-1",
            "timestamp": "2025-11-19T14:30:00.000Z",
            "agent_name": "a",
            "task_type": "t",
            "command_id": "cmd-1",
            "command": "HoldTask",
            "actor": f"ada\n2025-11-19T14:31:00.000Z  ROLLBACK everything {EVIL}",
            "reason": "",
            "outcome": "applied",
            "detail": EVIL,
            "epoch": 1,
            "position": {"partition": 0, "offset": 1},
            "policy_hash": "0" * 16,
            "engine_version": "2",
        },
        m.CommandResult,
    )
    record = SimpleNamespace(value=b"{}", headers=())
    assert line_of(Received("crl.decisions", record, result)).isprintable()


@pytest.mark.parametrize("width", [40, 80, None])
def test_the_lines_of_crl_status_are_harmless_however_narrow_the_terminal_is(width: int | None) -> None:
    task = a_brief(
        EVIL, active_variant=EVIL, quarantined=[EVIL], held=True, held_by=EVIL, reason=EVIL, no_rollback=EVIL
    )
    finding = {"name": "lag", "subject": EVIL, "since": None, "text": EVIL, "action": EVIL, "trouble": True}
    page = {"tasks": [task, a_brief()], "partial": True, "silent": []}
    seen = Seen(page, [finding], Health("STABLE", [EVIL]), "a worker", None)
    said = [*task_lines(page["tasks"], width), *seen.trouble, *screen_lines(seen, EVIL, "http://a:1", 40, width or 80)]
    assert all(line.isprintable() for line in said)


def test_a_file_for_other_programs_is_harmless_on_a_terminal_and_whole_in_a_pipe(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(open(1, "wb", closefd=False), "utf-8"))  # noqa: SIM115
    data = f"id,reasoning\r\n1,{EVIL}\r\n".encode()
    talk.show_file(data)
    assert capfdbinary.readouterr().out == data
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    talk.show_file(data)
    assert acting(capfdbinary.readouterr().out.decode()) == set()
    for document in (
        json.dumps({"reason": EVIL}, ensure_ascii=False),
        json.dumps([EVIL], ensure_ascii=False, indent=2),
    ):
        talk.show_file(document.encode())
        said = capfdbinary.readouterr().out
        assert acting(said.decode()) == set()
        assert json.loads(said) == json.loads(document)
