"""A repeated library line is shown once a minute; our own lines are never hidden."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import pkgutil
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mode import Service

import crl_stream.worker
from crl_stream.worker import log_lines
from crl_stream.worker.log_lines import AFTER_SECONDS, EVERY_SECONDS, HOLD_SECONDS, OWN, RETRIED, Calm, OncePerMinute
from crl_stream.worker.run import _hide_held


def a_line(name: str, message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, message, arguments, None)


def shown(lines: list[tuple[float, logging.LogRecord]]) -> list[str]:
    now = [0.0]
    only = OncePerMinute(lambda: now[0])
    found = []
    for at, line in lines:
        now[0] = at
        if only.filter(line):
            found.append(line.getMessage())
    return found


def test_a_flood_is_one_line_a_minute_with_a_count() -> None:
    flood = [
        (n / 10, a_line("aiokafka", "Unable connect to node with id %s: [Errno 111] ('127.0.0.1', %d)", n % 3, n))
        for n in range(1_500)
    ]
    said = shown(flood)
    assert len(said) == 3
    assert said[1].endswith("(and 599 like it in 60 s)")


def test_lines_of_other_kinds_and_other_levels_are_not_hushed_by_one_another() -> None:
    lines = [
        (0.0, a_line("aiokafka.client", "Unable to update metadata from %s", [1])),
        (0.1, a_line("aiokafka.client", "Topic %s not found", "x")),
        (0.2, a_line("aiokafka.client", "Unable to update metadata from %s", [1], level=logging.WARNING)),
        (0.3, a_line("faust.app", "Unable to update metadata from %s", [1])),
    ]
    assert len(shown(lines)) == 4


@given(st.lists(st.sampled_from(("stopped", "data gap 1", "data gap 2", "ready")), min_size=1))
def test_our_own_lines_and_what_is_critical_are_always_shown(messages: list[str]) -> None:
    ours = [(0.0, a_line("crl_stream.worker.run", message)) for message in messages]
    ours += [(0.0, a_line("faust.worker", message, level=logging.CRITICAL)) for message in messages]
    assert len(shown(ours)) == len(ours)


@given(st.lists(st.tuples(st.floats(0.0, 600.0), st.sampled_from(("a", "b", "c"))), max_size=60))
def test_every_line_is_shown_or_counted_and_none_of_a_kind_twice_in_a_minute(found: list[tuple[float, str]]) -> None:
    times: dict[str, list[float]] = {}
    now = [0.0]
    only = OncePerMinute(lambda: now[0])
    for at, message in sorted(found):
        now[0] = at
        if only.filter(a_line("mode.services", f"crashed {message}")):
            times.setdefault(message, []).append(at)
    assert times.keys() == {message for _, message in found}
    for moments in times.values():
        assert all(b - a >= EVERY_SECONDS for a, b in itertools.pairwise(moments))


def test_a_line_that_cannot_be_formatted_raises_nothing() -> None:
    only = OncePerMinute()
    assert only.filter(a_line("aiokafka", "%d and %d", "x"))


def test_kinds_without_number_do_not_fill_the_memory() -> None:
    only = OncePerMinute()
    for n in range(3_000):
        word = "".join(chr(97 + int(digit)) for digit in str(n))
        assert only.filter(a_line("aiokafka", f"kind {word}"))
    assert len(only._kinds) <= 1_000


def test_that_a_service_of_faust_starts_or_stops_is_not_a_line_also_where_its_class_is_ours() -> None:
    for module in pkgutil.iter_modules(crl_stream.worker.__path__, "crl_stream.worker."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds, found = [Service], set[str]()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found.add(kind.__module__)
    assert {name for name in found if name.startswith("crl_stream.")} <= set(OWN)


# -- while Kafka is away ---------------------------------------------------------------------------
class Terminal(logging.Handler):
    """The lines that a person sees, with their times."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lines: list[tuple[float, str]] = []
        self.calm = Calm(self, lambda: self.now)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((self.now, record.getMessage()))

    def at(self, now: float, line: logging.LogRecord | None = None) -> None:
        self.now = now
        if line is not None:
            self.calm.handle(line)

    @property
    def said(self) -> list[str]:
        return [line for _, line in self.lines]


LOUD = ("aiokafka", "aiokafka.conn", "faust.transport", "mode.timers", "asyncio", *OWN)


def a_retry() -> logging.LogRecord:
    line = a_line("crl_stream.worker.ticking", "no tick for partitions [1]", level=logging.WARNING)
    vars(line).update(RETRIED)
    return line


@given(
    st.lists(
        st.tuples(st.floats(0.0, 300.0), st.sampled_from(("line", "retry", "ours", "silent", "answered"))), max_size=80
    )
)
def test_no_detail_is_shown_between_a_silent_look_and_a_while_after_the_next_answer_and_nothing_of_ours_waits(
    events: list[tuple[float, str]],
) -> None:
    terminal = Terminal()
    away, quiet_until, ours = False, float("-inf"), []
    for at, what in sorted(events):
        terminal.at(at)
        before = len(terminal.lines)
        if what == "silent":
            terminal.calm.silent()
            away = True
            assert len(terminal.lines) == before, "the held lines belong to the outage, so they are not shown"
        elif what == "answered":
            terminal.calm.answered(at)
            if away:
                quiet_until = at + AFTER_SECONDS
            away = False
        elif what == "ours":
            terminal.calm.handle(a_line("crl_stream.worker.run", "ours %s", at))
            ours.append((at, f"ours {at}"))
        else:
            terminal.calm.handle(a_retry() if what == "retry" else a_line("aiokafka.conn", "lost %s", at))
            if away or at < quiet_until:
                assert not [line for line in terminal.lines[before:] if line[0] == at and str(at) in line[1]]
    assert [line for line in terminal.lines if line[1].startswith("ours")] == ours


@given(st.lists(st.sampled_from(LOUD), min_size=1, max_size=200), st.floats(30.0, 600.0))
def test_an_outage_of_any_length_shows_no_line_of_a_library_and_counts_them(names: list[str], seconds: float) -> None:
    terminal = Terminal()
    step = seconds / len(names)
    terminal.calm.answered(0.0)
    for number, name in enumerate(names):
        terminal.at(1.0 + number * step, a_line(name, "cannot reach %s", number))
        if number % 3 == 0:
            terminal.calm.silent()
    terminal.at(seconds + 2.0)
    terminal.calm.silent()
    assert terminal.calm.answered(terminal.now) == len(names)
    terminal.at(seconds + 3.0, a_line("aiokafka.consumer.group_coordinator", "joined late"))
    terminal.calm.flush()
    assert terminal.said == []


def test_a_line_of_a_library_that_is_not_about_an_outage_is_shown_once_kafka_was_asked() -> None:
    terminal = Terminal()
    terminal.at(10.0, a_line("mode.services", "crashed"))
    assert terminal.said == []
    terminal.at(10.5)
    terminal.calm.answered(9.0)  # this check began before the line was logged
    assert terminal.said == []
    terminal.at(13.0)
    terminal.calm.answered(12.0)
    assert terminal.said == ["crashed"]


def test_the_lines_held_when_a_worker_stops_without_an_answer_are_hidden_and_counted() -> None:
    terminal = Terminal()
    for number in range(3):
        terminal.at(1.0, a_line("aiokafka.conn", "lost %s", number))
    terminal.at(1.0, a_line("aiokafka", "cannot fetch"))
    assert _hide_held(terminal.calm) == "; libraries wrote 4 lines in the last few seconds; crl -v shows them"
    assert _hide_held(terminal.calm) == ""
    assert _hide_held(None) == ""
    terminal.calm.flush()
    assert terminal.said == []


def test_a_line_waits_for_a_bounded_time_when_nothing_asks_kafka_and_is_there_at_the_end() -> None:
    terminal = Terminal()
    terminal.at(0.0, a_line("aiokafka", "first"))
    terminal.at(HOLD_SECONDS + 1.0, a_line("aiokafka", "second kind"))
    assert terminal.said == ["first"]
    terminal.calm.flush()
    assert terminal.said == ["first", "second kind"]


def test_what_led_to_a_critical_line_stands_before_it() -> None:
    terminal = Terminal()
    terminal.at(0.0, a_line("aiokafka", "cause"))
    terminal.at(0.1, a_line("crl_stream.worker.transport.consumer", "leaving", level=logging.CRITICAL))
    assert terminal.said == ["cause", "leaving"]


def test_a_flood_that_nothing_asks_about_takes_bounded_memory() -> None:
    terminal = Terminal()
    for number in range(5_000):
        terminal.at(0.0, a_line("aiokafka", "lost %d", number))
    assert len(terminal.calm._held) <= 1_000
    assert len(terminal.said) <= 1, "of one kind"


def test_a_flood_that_comes_before_the_outage_is_known_is_counted_and_not_shown() -> None:
    terminal = Terminal()
    for number in range(5_000):
        terminal.at(number / 1_000, a_line("aiokafka", "Unable connect to node with id 1: attempt %d", number))
        terminal.at(number / 1_000, a_line("aiokafka", "Unable to update metadata from [%d]", number))
    terminal.calm.silent()
    terminal.calm.flush()
    assert terminal.said == []
    assert terminal.calm.hushed == 10_000


def test_a_flood_that_was_about_no_outage_is_one_line_a_kind_and_the_next_one_says_how_many() -> None:
    terminal = Terminal()
    for number in range(500):
        terminal.at(number / 1_000, a_line("aiokafka", "lost %d", number))
    terminal.calm.answered(1.0)
    assert terminal.said == ["lost 0"]
    terminal.at(EVERY_SECONDS + 2.0, a_line("aiokafka", "lost 7"))
    terminal.calm.flush()
    assert terminal.said[-1].startswith("lost 7 (and 499 like it in ")


def test_a_thread_that_is_cancelled_while_it_stops_is_no_news_and_one_that_fails_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for error in (asyncio.CancelledError(), SystemExit()):
        log_lines._log_end_of_thread(threading.ExceptHookArgs((type(error), error, None, None)))
    assert caplog.records == []
    log_lines._log_end_of_thread(threading.ExceptHookArgs((ValueError, ValueError("a bug"), None, None)))
    assert "a bug" in caplog.text
