"""Records in the wrong partition are forwarded and counted once, and forged records cannot suppress them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from builders import AGENT, TASK, an_invocation, invocations

from crl_stream.core import messages as m
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.forwards import REMEMBERED
from crl_stream.wire import topics
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import ORIGIN_OFFSET, ORIGIN_PARTITION
from crl_stream.wire.partitioner import partition_of
from stages.oracle import assert_exact

KEY = f"{AGENT}/{TASK}".encode()


def test_a_record_in_the_wrong_partition_is_counted_in_its_task() -> None:
    driver = TopologyDriver(partitions=4)
    home = partition_of(KEY, 4)
    driver.append(topics.INVOCATIONS, encode(an_invocation()), KEY, partition=(home + 1) % 4)
    driver.pipe()
    assert driver.snapshot(AGENT, TASK).n_outcomes == 1
    assert_exact(driver)


def misplace(driver: TopologyDriver, outcomes: Sequence[m.Invocation]) -> list[Stored]:
    """Send outcomes of one task to the wrong partition; return the forwarded records."""
    home = partition_of(KEY, 4)
    for outcome in outcomes:
        driver.append(topics.INVOCATIONS, encode(outcome), KEY, partition=(home + 1) % 4)
    driver.pipe()
    return driver.topics[topics.INVOCATIONS][home][-len(outcomes) :]


def forge(driver: TopologyDriver, outcome: m.Invocation, source: int, offset: int) -> None:
    """Append a record with a forged origin."""
    headers = ((ORIGIN_PARTITION, b"%d" % source), (ORIGIN_OFFSET, b"%d" % offset))
    driver.append(topics.INVOCATIONS, encode(outcome), KEY, partition=partition_of(KEY, 4), headers=headers)
    driver.pipe()


def again(driver: TopologyDriver, forwards: Sequence[Stored]) -> None:
    """Forward the records a second time, as after a crash."""
    for record in forwards:
        driver.append(topics.INVOCATIONS, record.value, KEY, partition=partition_of(KEY, 4), headers=record.headers)
    driver.pipe()


def test_records_forwarded_twice_by_a_crash_are_counted_once() -> None:
    driver = TopologyDriver(partitions=4)
    # A task does not remember the ids of this many outcomes, so only their origins can reveal the repetition.
    forwards = misplace(driver, invocations("default", "S" * 200))
    again(driver, forwards)
    assert driver.snapshot(AGENT, TASK).n_outcomes == 200
    assert sum(counts.duplicates for counts in driver.counts) == 200
    assert_exact(driver)


def test_an_origin_that_somebody_makes_up_hides_no_record() -> None:
    driver = TopologyDriver(partitions=4)
    [forged, *true] = invocations("default", "S" * 101)
    source = (partition_of(KEY, 4) + 1) % 4
    misplace(driver, true[:50])
    forge(driver, forged, source, 10**17)
    # Forged in advance, with the origin that the next genuine record will have.
    forge(driver, msgspec.structs.replace(forged, invocation_id="another"), source, 50)
    misplace(driver, true[50:])
    assert driver.snapshot(AGENT, TASK).n_outcomes == 102
    assert list(driver.records(topics.DEAD_LETTERS)) == []
    assert_exact(driver)


def test_a_made_up_origin_is_forgotten_with_those_that_came_beside_it() -> None:
    driver = TopologyDriver(partitions=4)
    [forged, *true] = invocations("default", "S" * (3 * REMEMBERED + 1))
    misplace(driver, true[:10])
    forge(driver, forged, (partition_of(KEY, 4) + 1) % 4, 10**17)
    misplace(driver, true[10:])
    assert driver.snapshot(AGENT, TASK).n_outcomes == len(true) + 1
    assert list(driver.records(topics.DEAD_LETTERS)) == []


def test_a_forward_from_too_far_back_to_be_known_is_a_dead_letter_and_not_counted_twice() -> None:
    driver = TopologyDriver(partitions=4)
    forwards = misplace(driver, invocations("default", "S" * (REMEMBERED + 20)))
    again(driver, forwards)
    assert driver.snapshot(AGENT, TASK).n_outcomes == len(forwards)
    dead = list(driver.records(topics.DEAD_LETTERS))
    assert [record.value for record in dead] == [record.value for record in forwards[:20]]
    assert {dict(record.headers)["__streams.errors.exception"] for record in dead} == {b"forwarded_before"}
    assert_exact(driver)


def test_a_record_misplaced_after_one_hop_is_a_dead_letter() -> None:
    driver = TopologyDriver(partitions=4)
    home = partition_of(KEY, 4)
    driver.append(topics.INVOCATIONS, encode(an_invocation()), KEY, partition=(home + 1) % 4)
    driver.pipe()
    [forwarded] = driver.topics[topics.INVOCATIONS][home]
    driver.append(topics.INVOCATIONS, forwarded.value, KEY, partition=(home + 2) % 4, headers=forwarded.headers)
    driver.pipe()
    [dead] = driver.records(topics.DEAD_LETTERS)
    assert dead.value == forwarded.value
    assert b"misplaced_twice" in dict(dead.headers)["__streams.errors.exception"]
