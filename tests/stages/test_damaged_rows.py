"""A row that cannot be read affects only its own task, not other tasks or the partition."""

from __future__ import annotations

import pytest
from builders import AGENT, TASK, an_invocation

from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS

KEY = f"{AGENT}/{TASK}".encode()
DAMAGED = [b'{"x":1}', b"", b"\xc1", b"\x91\xa1\xff"]


@pytest.mark.parametrize("data", DAMAGED)
def test_an_outcome_of_a_task_whose_row_cannot_be_read_is_a_dead_letter_and_the_others_count(data: bytes) -> None:
    driver = TopologyDriver()
    driver.pipe(an_invocation(), an_invocation(task_type="other"))
    driver.changelog[0][KEY] = data
    driver.pipe(an_invocation(task_type="other"), an_invocation(), an_invocation(task_type="other"))
    assert driver.snapshot(AGENT, "other").n_outcomes == 3
    [letter] = driver.records(DEAD_LETTERS)
    assert read_letter(letter.headers).reason == "fold_failure"
    assert [(alert.kind, alert.subject) for alert in driver.read(ALERTS)] == [("fold_failure", KEY.decode())]
    assert driver.changelog[0][KEY] == data, "the row is not replaced before a person has seen it"


@pytest.mark.parametrize("data", DAMAGED)
def test_a_task_whose_damaged_row_was_deleted_counts_again(data: bytes) -> None:
    driver = TopologyDriver()
    driver.changelog[0][KEY] = data
    driver.pipe(an_invocation())
    del driver.changelog[0][KEY]
    driver.pipe(an_invocation())
    assert driver.snapshot(AGENT, TASK).n_outcomes == 1
