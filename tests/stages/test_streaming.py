"""A driver that forgets its log gives the same outputs and rows as one that keeps it, whatever the batches."""

from __future__ import annotations

from builders import invocations
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.identity import TaskKey
from crl_stream.settings import load_remedies
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.streaming import KeptLog, StreamingDriver
from crl_stream.wire.codec import encode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import INVOCATIONS, TASKS

STORY = [
    *invocations("default", "S" * 60, reward=0.5),
    *invocations("v2", "S" * 30, reward=1.0),
    *invocations("default", "F" * 30, reward=-1.0),
    *invocations("default", "S" * 3, task_type="other"),
]


@given(st.integers(1, 60))
def test_a_driver_that_forgets_says_and_keeps_the_same_as_one_that_does_not(size: int) -> None:
    whole = TopologyDriver(partitions=3, remedies=load_remedies())
    streaming = StreamingDriver(partitions=3, remedies=load_remedies())
    expected, found = [], []
    for first in range(0, len(STORY), size):
        batch = STORY[first : first + size]
        for number, message in enumerate(batch, start=first):
            key = TaskKey(message.agent_name, message.task_type).encode()
            time = 1_763_562_600_000 + 1_000 * number
            whole.append(INVOCATIONS, encode(message), key, timestamp=time)
            streaming.put(key, encode(message), message, time)
        expected += whole.pipe()
        found += streaming.pipe()
    assert [as_published(output) for output in found if output.topic != TASKS] == [
        output for output in expected if output.topic != TASKS
    ]
    assert [output.key for output in found if output.topic == TASKS] == [
        output.key for output in expected if output.topic == TASKS
    ]
    assert (streaming.rows(), streaming.proposal_rows()) == (whole.rows(), whole.proposal_rows())
    assert streaming.total.applied == len(STORY)
    assert sum(len(list(log)) for logs in streaming.topics.values() for log in logs) <= 3 * len(streaming.topics)


def as_published(output: Output) -> Output:
    return output if isinstance(output.value, bytes) else output._replace(value=encode(output.value))


def test_offsets_go_on_where_records_are_forgotten() -> None:
    log = KeptLog()
    driver = TopologyDriver()
    for number in range(5):
        log.append(driver.append("a-topic", b"%d" % number, b"k"))
    log.forget()
    assert (len(log), log[-1].value, log[4].offset, log[1].offset, log[1].value) == (5, b"4", 4, 1, None)
    assert [record.value for record in log[3:]] == [b"4"] and log[5:] == []
