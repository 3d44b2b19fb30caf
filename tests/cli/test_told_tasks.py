"""While no worker responds, a task is described from the topics, just as a worker would describe it."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_collapse, a_command, invocations

from crl_stream.core import messages as m
from crl_stream.dashboard.task_states import brief
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.inspection import summary


@pytest.mark.parametrize(
    "history",
    [
        invocations("default", "S" * 12),
        a_collapse(),
        [*invocations("default", "F" * 12), a_command(m.HoldTask)],
        [*invocations("default", "S"), a_command(m.PinVariant)],
    ],
    ids=["well", "rolled back", "held", "pinned"],
)
def test_a_task_is_told_in_the_same_words_by_its_snapshot_and_by_its_row(history: list[Any]) -> None:
    driver = TopologyDriver()
    driver.pipe(*history)
    driver.fall_silent()
    [row] = driver.rows().values()
    [*_, snapshot] = driver.read("crl.tasks")
    assert brief(snapshot, driver.clock) == summary(0, row, driver.clock)
