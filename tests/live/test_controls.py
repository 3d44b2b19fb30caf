"""The recount of the controls must report exactly what is in their topics, neither more nor less."""

from __future__ import annotations

import json
from typing import NamedTuple

from campaign.controls.__main__ import CONTROLS
from campaign.controls.recount import Event, Recount, last_values, recount

EVENTS = [Event("e1", "a"), Event("e2", "a"), Event("e3", "b")]


class Row(NamedTuple):
    key: bytes
    value: bytes | None


def test_what_was_counted_and_answered_once_is_nothing_to_report() -> None:
    assert recount(EVENTS, {"a": 2, "b": 1}, ["e1", "e2", "e3"], 0) == Recount(events=3, outputs=3)


def test_a_record_that_the_table_has_not_counted_is_lost_and_one_more_is_doubled() -> None:
    found = recount(EVENTS, {"a": 1, "b": 3}, ["e1", "e2", "e3"], 0)
    assert (found.lost, found.doubled) == (1, 2)


def test_a_key_that_nobody_sent_is_counted_as_doubled() -> None:
    assert recount(EVENTS, {"a": 2, "b": 1, "c": 4}, ["e1", "e2", "e3"], 0).doubled == 4


def test_an_output_that_never_came_is_silence_and_one_that_comes_again_is_a_repetition() -> None:
    found = recount(EVENTS, {"a": 2, "b": 1}, ["e1", "e3", "e3", "e3"], 7)
    assert (found.silent, found.repeated, found.lag) == (1, 2, 7)


def test_each_control_is_counted_by_the_rows_that_its_changelog_really_has() -> None:
    faust, quix = CONTROLS
    rows = [Row(b'"a"', b"1"), Row(b'"b"', b"7"), Row(b'"a"', b"2"), Row(b'"b"', None)]
    assert last_values(rows, faust.key_of) == {"a": 2}
    rows = [Row(b'a|"n"', b"1"), Row(b'a|"n"', b"2"), Row(b'a|"other"', json.dumps("x").encode())]
    assert last_values(rows, quix.key_of) == {"a": 2}
