"""There is a drill task for every partition, so that every owner can be tested."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core.drills import is_drill, is_silent_drill
from crl_stream.core.identity import TaskKey
from crl_stream.wire.drill_tasks import drill_tasks
from crl_stream.wire.partitioner import partition_of


@settings(max_examples=20)
@given(st.integers(1, 1_024))
def test_every_partition_has_two_tasks_of_its_own_one_silent_and_one_not(partitions: int) -> None:
    silent, notifying = drill_tasks(partitions), drill_tasks(partitions, notify=True)
    for tasks in (silent, notifying):
        assert [partition_of(key.encode(), partitions) for key in tasks] == list(range(partitions))
        assert [TaskKey.parse(str(key)) for key in tasks] == list(tasks)
        assert all(is_drill(key.agent_name) for key in tasks)
    assert {is_silent_drill(*key) for key in silent} == {True}
    assert {is_silent_drill(*key) for key in notifying} == {False}
