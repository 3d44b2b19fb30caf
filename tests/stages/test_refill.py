"""The contents of compacted topics can be rebuilt from the rows alone, whatever has happened before."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from builders import a_collapse, a_command, invocations
from core.histories import histories
from hypothesis import given

from crl_stream.core import messages as m
from crl_stream.core.overview import Ledger, make_page
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages import refill
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import partition_key
from crl_stream.stages.stale_writes import place_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, OVERVIEW, PROPOSALS, TASKS, VARIANTS

WHEN_IT_WAS_SAID = {"timestamp", "position", "policy_hash"}
OF_THE_MONITOR = (ACTIVE_VARIANTS, VARIANTS, TASKS)


def said_again(driver: TopologyDriver) -> dict[tuple[str, bytes | None], bytes | None]:
    found = {}
    for partition, rows in enumerate(driver.changelog):
        if (state := rows.get(partition_key(partition))) is not None:
            for output in refill.tasks(partition, state, rows.items()):
                assert output.partition == partition
                found[output.topic, output.key] = output.value
    return found


def said_last(driver: TopologyDriver, *topics: str) -> dict[tuple[str, bytes | None], bytes | None]:
    return {(topic, record.key): record.value for topic in topics for record in driver.records(topic)}


def meaning(topic: str, value: bytes | None) -> Any:
    """Return a message's content, without its position and the remaining outcomes of a pin or hold."""
    fields = msgspec.json.decode(value or b"")
    if topic != TASKS:
        fields = {name: given for name, given in fields.items() if name not in WHEN_IT_WAS_SAID}
        for order in ("held", "pinned"):
            if fields.get(order):
                fields[order].pop("outcomes_left", None)
    return fields


def assert_said_again(driver: TopologyDriver) -> None:
    again, last = said_again(driver), said_last(driver, *OF_THE_MONITOR)
    assert again.keys() == last.keys()
    for (topic, key), value in again.items():
        assert meaning(topic, value) == meaning(topic, last[topic, key])
        # A reader that keeps the newest record accepts this one, and any later one after it.
        assert (place_of(topic, value) or (-1, -1)) >= (place_of(topic, last[topic, key]) or (-1, -1))


@given(histories)
def test_rows_say_all_that_their_topics_have_said(history: list[Any]) -> None:
    driver = TopologyDriver(partitions=2)
    driver.pipe(*history)
    driver.fall_silent()
    assert_said_again(driver)


@pytest.mark.parametrize("order", [m.HoldTask, m.HoldAll])
def test_a_rollback_its_quarantine_and_standing_orders_are_said_again(order: type) -> None:
    driver = TopologyDriver(partitions=4)
    driver.pipe(*a_collapse(), a_command(order))
    driver.fall_silent()
    assert_said_again(driver)
    [active] = [msgspec.json.decode(v or b"") for (t, _), v in said_again(driver).items() if t == ACTIVE_VARIANTS]
    assert (active["variant_id"], active["quarantined"], active["cause"]) == ("default", ["api-optimized"], "rollback")
    assert active["held"]["actor"] == "ada"


def test_saying_it_again_changes_no_row_and_a_row_that_cannot_be_read_keeps_back_no_other() -> None:
    driver = TopologyDriver()
    driver.pipe(*invocations("default", "S" * 3), *invocations("default", "S" * 3, task_type="other"))
    rows = driver.changelog[0]
    before = dict(rows)
    assert len(said_again(driver)) == 6
    assert rows == before
    rows[next(key for key in rows if key.endswith(b"other"))] = b"\xc1"
    assert len(said_again(driver)) == 3


def test_open_proposals_are_said_again_byte_for_byte() -> None:
    driver = TopologyDriver(partitions=2, remedies=load_remedies())
    driver.pipe_each(invocations("default", "FFFS" * 20))
    driver.fall_silent()
    last = said_last(driver, PROPOSALS)
    assert last
    again = {
        (output.topic, output.key): output.value
        for partition, rows in enumerate(driver.proposals_changelog)
        for output in refill.proposals(partition, rows.items())
    }
    assert again == last


def test_the_page_of_the_system_is_said_again() -> None:
    [output] = refill.overview([(b"!partition/0", b"")])
    assert (output.topic, output.partition) == (OVERVIEW, 0)
    assert output.value == msgspec.json.encode(make_page(Ledger({}), 0))
