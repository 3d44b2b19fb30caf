"""The newest record of a key on a compacted topic is found, and so are possible stale writes."""

from __future__ import annotations

import msgspec
import pytest
from builders import AGENT, TASK, a_command, invocations
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.stale_writes import NewestRecords, may_cover, place_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, OVERVIEW, PROPOSALS, TASKS, VARIANTS


def a_value(incarnation: int, offset: int) -> bytes:
    return msgspec.json.encode({"incarnation": incarnation, "position": {"partition": 0, "offset": offset}})


@pytest.mark.parametrize("topic", [ACTIVE_VARIANTS, VARIANTS, TASKS])
def test_what_the_monitor_publishes_says_how_old_it_is(topic: str) -> None:
    driver = TopologyDriver()
    driver.pipe_each([*invocations("default", "S" * 5), a_command(m.RegisterVariant, variant_id="v9")])
    places = [place_of(topic, record.value) for record in driver.records(topic)]
    assert len(places) >= 1
    assert places == sorted(places, key=lambda place: place or (-1, -1))
    assert driver.snapshot(AGENT, TASK).as_of.offset == 5
    assert places[-1] == ((0, 0) if topic == ACTIVE_VARIANTS else (0, 5))


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff", b"[]", b"{}", b'{"position": 3}'])
def test_what_is_no_message_has_no_age_and_is_suspect(value: bytes | None) -> None:
    assert place_of(TASKS, value) is None
    assert may_cover(TASKS, Stored(0, 0, b"k", value), (0, 0))


def test_only_what_the_owner_will_publish_once_more_is_beyond_suspicion() -> None:
    folded = (1, 10)
    assert may_cover(OVERVIEW, Stored(0, 0, b"k", a_value(1, 9)), folded)
    assert may_cover(OVERVIEW, Stored(0, 0, b"k", a_value(0, 99)), folded)
    assert not may_cover(OVERVIEW, Stored(0, 0, b"k", a_value(1, 10)), folded)
    assert may_cover(PROPOSALS, Stored(0, 0, b"k", b'{"revision": 3}'), folded)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.integers(0, 5)), max_size=30))
def test_the_newest_is_written_again_exactly_when_something_else_is_last(
    records: list[tuple[bytes, int | None]],
) -> None:
    words = NewestRecords(TASKS)
    for offset, (key, age) in enumerate(records):
        words.take(key, Stored(offset, 0, key, None if age is None else a_value(0, age)))
    wanted = []
    for key in {key for key, _ in records}:
        own = [(age, offset) for offset, (k, age) in enumerate(records) if k == key]
        ages = [age for age, _ in own if age is not None]
        if ages and own[-1][0] != max(ages):
            wanted.append(max(offset for age, offset in own if age == max(ages)))
    assert words.covered() == sorted(wanted)
