"""Libraries that repeat themselves are heard once a minute; nothing of ours is hidden."""

from __future__ import annotations

import importlib
import itertools
import logging
import pkgutil

from hypothesis import given
from hypothesis import strategies as st
from mode import Service

import crl_stream.worker
from crl_stream.worker.log_lines import EVERY_SECONDS, OWN, OncePerMinute


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
