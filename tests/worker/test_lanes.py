"""A lane passes on polled records in order, each once, merged up to a limit, and none after the lane is closed."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest
from faust.types.tuples import TP
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.errors import Unsafe
from crl_stream.kafka.log_consumer import Stretch
from crl_stream.worker.transport.lanes import MERGE, Batch, Lane

PLACE = TP("crl.invocations", 3)


class Record(NamedTuple):
    offset: int


def a_batch(first: int, size: int) -> Batch:
    return Batch(PLACE, Stretch(first, [Record(offset) for offset in range(first, first + size)], first + size))


def batches(start: int, sizes: list[int]) -> list[Batch]:
    found = []
    for size in sizes:
        found.append(a_batch(start, size))
        start += size
    return found


def offsets(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [record.offset for record in batch.records]


sizes = st.lists(st.integers(1, 40) | st.integers(MERGE // 2, MERGE), min_size=1, max_size=12)


@given(st.integers(0, 1_000_000), sizes, st.data())
def test_whatever_is_polled_is_handed_over_in_order_and_exactly_once(
    start: int, sizes: list[int], data: st.DataObject
) -> None:
    async def story() -> list[int]:
        lane, polled = Lane(PLACE, start), batches(start, sizes)
        admitted = put = 0
        taken: list[int] = []
        while len(taken) < sum(sizes):
            possible = ["admit"] * (admitted < len(polled)) + ["put"] * (put < admitted)
            possible += ["take"] * (len(taken) < sum(sizes[:put]))
            step = data.draw(st.sampled_from(possible))
            if step == "admit":
                lane.admit(polled[admitted])
                admitted += 1
            elif step == "put":
                lane.put(polled[put])
                put += 1
            else:
                batch = await lane.take()
                assert batch is not None and lane.busy
                assert len(batch.records) <= MERGE
                taken += offsets(batch)
                lane.finish(batch)
                assert not lane.busy
            assert lane.backlog == sum(sizes[:admitted]) - len(taken)
        assert lane.next == lane.expected == start + sum(sizes)
        return taken

    assert asyncio.run(story()) == list(range(start, start + sum(sizes)))


@given(sizes)
def test_what_waits_is_merged_as_far_as_the_bound_allows_and_no_further(sizes: list[int]) -> None:
    async def story() -> list[int]:
        lane, found = Lane(PLACE, 0), []
        for batch in batches(0, sizes):
            lane.admit(batch)
            lane.put(batch)
        while sum(found) < sum(sizes):
            batch = await lane.take()
            assert batch is not None
            found.append(len(batch.records))
            lane.finish(batch)
        return found

    expected = [0]
    for size in sizes:
        if expected[-1] + size <= MERGE:
            expected[-1] += size
        else:
            expected.append(size)
    assert asyncio.run(story()) == expected


async def test_a_batch_larger_than_the_bound_is_handed_over_whole_and_alone() -> None:
    lane = Lane(PLACE, 0)
    for batch in batches(0, [3 * MERGE, 1]):
        lane.admit(batch)
        lane.put(batch)
    assert len(offsets(await lane.take())) == 3 * MERGE
    assert offsets(await lane.take()) == [3 * MERGE]


@given(st.integers(0, 1000), st.integers(-1000, 1000).filter(bool), st.integers(1, 5))
def test_a_poll_that_does_not_begin_where_the_last_one_ended_is_unsafe(start: int, gap: int, size: int) -> None:
    lane = Lane(PLACE, start)
    with pytest.raises(Unsafe, match=rf"partition 3: read up to {start}, then from {start + gap}"):
        lane.admit(a_batch(start + gap, size))
    assert (lane.expected, lane.backlog) == (start, 0)


def test_a_batch_that_got_lost_on_its_way_through_faust_is_unsafe() -> None:
    lane = Lane(PLACE, 0)
    lost, arrived = batches(0, [2, 2])
    lane.admit(lost)
    lane.admit(arrived)
    with pytest.raises(Unsafe, match="a batch before 2 was dropped on the way") as caught:
        lane.put(arrived)
    assert caught.value.hint


def test_a_batch_that_arrives_twice_is_unsafe() -> None:
    lane, batch = Lane(PLACE, 0), a_batch(0, 2)
    lane.admit(batch)
    lane.put(batch)
    with pytest.raises(Unsafe):
        lane.put(batch)


async def test_a_closed_lane_ignores_a_late_batch_and_gives_nothing_more() -> None:
    lane = Lane(PLACE, 0)
    waiting, late = batches(0, [2, 2])
    for batch in (waiting, late):
        lane.admit(batch)
    lane.put(waiting)
    lane.close()
    lane.put(late)
    assert await lane.take() is None
    assert lane.next == 2


async def test_closing_wakes_whoever_waits_for_a_batch() -> None:
    lane = Lane(PLACE, 0)
    waiting = asyncio.create_task(lane.take())
    await asyncio.sleep(0)
    lane.close()
    assert await waiting is None


async def test_putting_wakes_whoever_waits_for_a_batch() -> None:
    lane, batch = Lane(PLACE, 7), a_batch(7, 2)
    waiting = asyncio.create_task(lane.take())
    await asyncio.sleep(0)
    lane.admit(batch)
    lane.put(batch)
    assert offsets(await waiting) == [7, 8]


async def test_a_batch_of_an_old_assignment_cannot_reach_the_lane_of_the_new_one() -> None:
    old, new = Lane(PLACE, 0), Lane(PLACE, 0)
    batch = a_batch(0, 2)
    old.admit(batch)
    old.close()
    assert batch.lane is old
    batch.lane.put(batch)
    assert new.next == 0
    assert await old.take() is None


async def test_a_batch_in_flight_when_its_lane_closes_can_still_be_finished() -> None:
    lane, batch = Lane(PLACE, 0), a_batch(0, 2)
    lane.admit(batch)
    lane.put(batch)
    taken = await lane.take()
    assert taken is not None
    lane.close()
    assert lane.busy
    lane.finish(taken)
    assert not lane.busy and lane.backlog == 0


steps = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5), st.integers(0, 50)), min_size=1, max_size=10)
"""For each poll: how many offsets are empty before its records, how many records it has, and how many offsets are empty
after."""


def polls(start: int, steps: list[tuple[int, int, int]]) -> list[Batch]:
    """Return polls with gaps before, between and after the records, as left by transactions and compaction."""
    found = []
    for before, size, behind in steps:
        records = [Record(start + before + 2 * number) for number in range(size)]
        end = start + before + 2 * size + behind
        found.append(Batch(PLACE, Stretch(start, records, end)))
        start = end
    return found


@given(st.integers(0, 1_000), steps, st.integers(0, 9))
def test_offsets_may_have_gaps_everywhere_and_still_no_poll_is_lost_on_the_way(
    start: int, steps: list[tuple[int, int, int]], lost: int
) -> None:
    steps = [(before, size, behind) for before, size, behind in steps if before + size + behind]
    lane, polled = Lane(PLACE, start), polls(start, steps)
    for batch in polled:
        lane.admit(batch)
    missing = lost if lost < len(polled) - 1 else None
    for number, batch in enumerate(polled):
        if number == missing:
            continue
        if missing is not None and number > missing:
            with pytest.raises(Unsafe, match="was dropped on the way"):
                lane.put(batch)
            return
        lane.put(batch)
    assert lane.next == lane.expected == start + sum(b + 2 * s + e for b, s, e in steps)


@given(st.integers(0, 1_000), steps)
def test_what_is_done_is_counted_up_to_the_position_and_past_the_last_record(
    start: int, steps: list[tuple[int, int, int]]
) -> None:
    async def story() -> None:
        lane, polled, taken = Lane(PLACE, start), polls(start, steps), 0
        for batch in polled:
            lane.admit(batch)
            lane.put(batch)
        while lane.done < polled[-1].end or taken < len([b for b in polled if b.records]):
            batch = await lane.take()
            assert batch is not None
            taken += len([b for b in polled if b.records and batch.start <= b.start and b.end <= batch.end])
            lane.finish(batch)
            assert lane.done == batch.end
        assert lane.done == polled[-1].end

    asyncio.run(story())


async def test_an_open_lane_that_nobody_works_on_is_not_alive_and_a_closed_one_needs_nobody() -> None:
    lane = Lane(PLACE, 0)
    assert not lane.alive
    lane.driver = asyncio.create_task(asyncio.sleep(0))
    assert lane.alive
    await lane.driver
    assert not lane.alive
    lane.close()
    assert lane.alive


@given(st.integers(1, 5_000), st.integers(1, 5_000))
def test_a_lane_is_full_from_as_many_waiting_records_on_as_it_may_have(most: int, size: int) -> None:
    lane = Lane(PLACE, 0, most=most)
    lane.admit(a_batch(0, size))
    assert lane.full == (size >= most)
