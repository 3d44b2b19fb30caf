"""Texts of strangers on the operator's terminal do nothing there, and JSON says exactly what they were."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from crl_stream.cli import talk
from crl_stream.visible import escape_json, visible, visible_lines

EVIL = "\x1b]0;PWNED\x07\x1b[31mRED\x1b[2J\u202egnp.exe\u009b31m\u200b\r\x08\x0b\x0c\x7f\u2066\ufeff"
STYLES = re.compile("\x1b\\[[0-9;]*m")


def acting(text: str) -> set[str]:
    """What is left in a text that a terminal would act on, beside our own colours."""
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
        return  # a lone surrogate is no text; our encoder refuses it
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
