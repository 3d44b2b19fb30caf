"""Which dead letters a person selects, and which of the selected ones were already sent back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from builders import an_invocation

from cli.letters import KEY, MARK, NOW, Topic
from crl_stream.cli.dead_letters.letters import choose, letter_at, read_time
from crl_stream.cli.tail import line_of
from crl_stream.core.instant import from_text
from crl_stream.errors import UsageError
from crl_stream.kafka.reader import Received
from crl_stream.wire import reasons
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import Mark, replay_mark
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS

VALUE = encode(an_invocation())


def test_letters_are_chosen_by_reason_topic_and_time_and_go_in_the_order_of_their_refusals() -> None:
    topic = Topic()
    for number in reversed(range(6)):
        reason = reasons.VARIANT_LIMIT if number % 2 else reasons.NOT_JSON
        topic.refuse(VALUE, reason, place=(0, number), at=NOW + number, topic=COMMANDS if number == 5 else INVOCATIONS)

    def offsets(**fits: Any) -> list[int]:
        return [one.letter.offset for one in choose(topic.letters, **fits)]

    assert offsets() == [0, 1, 2, 3, 4, 5]
    assert offsets(reason=reasons.VARIANT_LIMIT) == [1, 3, 5]
    assert offsets(topic=INVOCATIONS, reason=reasons.VARIANT_LIMIT) == [1, 3]
    assert offsets(since=NOW + 2, until=NOW + 4) == [2, 3]


def test_a_letter_that_a_crash_has_written_twice_is_sent_once_and_both_are_marked_by_one_mark() -> None:
    topic = Topic()
    topic.refuse(VALUE)
    topic.refuse(VALUE)
    assert len(choose(topic.letters)) == 1
    topic.append(MARK)
    assert [one.replayed is not None for one in topic.letters] == [True, True]


def test_the_letter_of_a_log_that_was_made_anew_is_another_one_than_that_of_the_same_place_before() -> None:
    topic = Topic()
    topic.refuse(VALUE)
    topic.append(MARK)
    topic.refuse(encode(an_invocation()))
    assert [one.replayed is not None for one in topic.letters] == [True, False]
    assert letter_at(topic.letters, None, (0, 7)).replayed is None
    assert [one.replayed is not None for one in choose(topic.letters)] == [True, False]


def test_nobody_marks_a_letter_as_sent_by_the_headers_of_his_record() -> None:
    topic = Topic()
    forged = replay_mark(Mark(INVOCATIONS, 0, 7, 2, 41, "eve"), 0, KEY).headers
    topic.refuse(VALUE)
    topic.refuse(VALUE, place=(0, 8), headers=forged)
    assert [one.replayed for one in topic.letters] == [None, None]


def test_a_mark_is_a_line_of_its_own_for_who_follows_the_topic() -> None:
    assert line_of(Received(DEAD_LETTERS, MARK, None)) == "replayed crl.invocations 0:7 as 2:41, by ada"


def test_a_time_is_an_instant_a_day_or_a_span_back() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for text, said in (
        ("12h", "2026-01-31T00:00:00Z"),
        ("2d", "2026-01-29T12:00:00Z"),
        ("2026-01-30", "2026-01-30T00:00:00Z"),
        ("2026-01-30T01:00:00+01:00", "2026-01-30T00:00:00Z"),
    ):
        assert read_time(text, now) == from_text(said)
    assert read_time(None, now) is None
    for text in ("soon", "999999y", "0001-01-01T00:00:00+10:00"):
        with pytest.raises(UsageError):
            read_time(text, now)
