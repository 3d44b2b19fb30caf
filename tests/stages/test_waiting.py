"""The index of waiting rows gives the same answers as a scan of all rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crl_stream.stages.waiting import Waiting

keys = st.sampled_from([b"a/b", b"a/c", b"d/e", b"f/g"])
changes = st.lists(st.dictionaries(keys, st.integers(0, 20), max_size=4), max_size=40)


@given(changes, st.integers(0, 25))
def test_what_is_due_is_what_the_rows_say_whatever_has_changed_before(
    batches: list[dict[bytes, int]], now: int
) -> None:
    waiting, rows = Waiting(), dict[bytes, int]()
    for changed in batches:
        waiting.settle(changed)
        rows |= changed
        assert list(waiting.due(now)) == sorted((wake, key) for key, wake in rows.items() if 0 < wake <= now)
        assert waiting.next == min([wake for wake in rows.values() if wake], default=None)


@given(changes, st.integers(0, 25), st.integers(1, 5))
def test_a_bounded_look_ends_at_the_time_of_the_last_row_that_it_may_take(
    batches: list[dict[bytes, int]], now: int, count: int
) -> None:
    waiting, rows = Waiting(), dict[bytes, int]()
    for changed in batches:
        waiting.settle(changed)
        rows |= changed
    due = sorted(wake for wake in rows.values() if 0 < wake <= now)
    assert waiting.until(now, count) == (due[count - 1] if len(due) >= count else None)


def test_a_row_that_comes_and_goes_a_thousand_times_takes_no_more_room_than_one() -> None:
    waiting = Waiting()
    for number in range(1_000):
        waiting.settle({b"held": 86_400_000 if number % 2 else 1_000 + number})
    assert len(waiting._times) < 100
    assert len(waiting._keys) == 1
    assert waiting.next == 86_400_000


def test_a_million_rows_that_wait_for_nothing_are_not_in_it() -> None:
    waiting = Waiting()
    waiting.settle({b"%d" % number: 0 for number in range(1_000_000)})
    assert (len(waiting.wakes), waiting.next, list(waiting.due(2**62))) == (0, None, [])


def test_a_row_that_cannot_be_read_waits_for_nothing() -> None:
    assert Waiting.of({b"a/b": b"\xff", b"a/c": b""}).next is None
