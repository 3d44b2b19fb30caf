"""The time of a replay follows the messages, never runs backwards, and ignores a clock that is briefly ahead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crl_stream.cli.repeats import Repeats
from crl_stream.cli.replay_clock import LOOK_AHEAD, steady

DAY = 86_400_000
times = st.lists(st.integers(-DAY, 10 * DAY), max_size=300)


def clock(found: list[int], look_ahead: int = LOOK_AHEAD) -> list[int]:
    return [time for time, _ in steady(zip(found, found, strict=True), look_ahead)]


@given(times)
def test_times_that_never_fall_are_each_their_own(found: list[int]) -> None:
    assert clock(sorted(found)) == sorted(found)


@given(times, st.integers(1, 100))
def test_time_never_runs_backwards_and_every_message_comes_once_in_the_order_of_the_file(
    found: list[int], look_ahead: int
) -> None:
    assert clock(found, look_ahead) == sorted(clock(found, look_ahead))
    assert [one for _, one in steady(zip(found, range(len(found)), strict=True), look_ahead)] == list(range(len(found)))
    assert set(clock(found, look_ahead)) <= set(found)


@given(st.lists(st.integers(0, 1_000), min_size=2, max_size=200), st.data())
def test_one_timestamp_that_is_wrong_changes_no_other_time(gaps: list[int], data: st.DataObject) -> None:
    """The wrong timestamp is a day ahead or a year behind, and may be anywhere except at the end."""
    right = [sum(gaps[: n + 1]) + 400 * DAY for n in range(len(gaps))]
    at = data.draw(st.integers(0, len(right) - 2))
    ahead = [*right[:at], right[at] + DAY, *right[at + 1 :]]
    assert clock(ahead)[:at] + clock(ahead)[at + 1 :] == right[:at] + right[at + 1 :]
    assert clock(ahead)[at] == right[at + 1], "a message that is ahead gets the time of the next one"
    late = data.draw(st.integers(LOOK_AHEAD + 1, max(LOOK_AHEAD + 1, len(right) - 1)))
    if late < len(right):
        behind = [*right[:late], right[late] - 365 * DAY, *right[late + 1 :]]
        assert clock(behind)[:late] + clock(behind)[late + 1 :] == right[:late] + right[late + 1 :]


def test_a_clock_that_stays_ahead_is_believed() -> None:
    found = [0, *(DAY + n for n in range(200))]
    assert clock(found) == found


@given(st.lists(st.tuples(st.sampled_from([b"a/b", b"c/d"]), st.sampled_from("uvwxyz")), max_size=50))
def test_repeats_are_counted_by_task_and_id(found: list[tuple[bytes, str]]) -> None:
    repeats = Repeats()
    for key, identifier in found:
        repeats.add(key, identifier)
    assert repeats.count() == len(found) - len(set(found))
