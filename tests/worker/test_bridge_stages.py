"""What a crash of a bridge can repeat: never more of one task than the engine recognises."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from bridges.otlp import agent_span, as_proto, span
from faust.types.tuples import TP

from crl_stream.bridges.kinds import KINDS
from crl_stream.bridges.mapping import Mapped
from crl_stream.core.policy import Limits
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.topics import DEAD_LETTERS
from crl_stream.worker.bridge_stages import REPEATABLE, BridgeStage, InboxStage
from crl_stream.worker.counters import Counters
from crl_stream.worker.transport.lanes import Batch

PLACE = TP("otlp_spans", 0)


class Member:
    """Records in which order a stage writes and commits."""

    def __init__(self, refuses: bool = False) -> None:
        self.done: list[tuple[str, Any]] = []
        self.counters = Counters()
        self.settings = SimpleNamespace(kafka=SimpleNamespace(partitions=4))
        self.outlet = self
        self.app = SimpleNamespace(consumer=self)
        self.refuses = refuses

    async def publish(self, outputs: list[Any]) -> None:
        if self.refuses:
            raise OSError("the broker did not accept it")
        self.done.append(("written", list(outputs)))

    async def commit_through(self, tp: TP, offset: int) -> None:
        self.done.append(("committed", offset))


def a_stage(member: Member, kind: type[BridgeStage] = BridgeStage, name: str = "otel") -> BridgeStage:
    options = KINDS["otlp"].options.model_validate({"kind": "otlp"})
    return kind(name, KINDS["otlp"], options, member, PLACE.topic)  # type: ignore[arg-type]


def a_batch(*values: bytes, key: bytes | None = None) -> Any:
    records = [SimpleNamespace(offset=n, timestamp=1, key=key, value=v, headers=()) for n, v in enumerate(values)]

    class Stretch(list):  # type: ignore[type-arg]
        start, end = 0, len(records) + 1  # the end of a transaction takes an offset

    return Batch(PLACE, Stretch(records))


def an_invocation(number: int, task: str = "task") -> bytes:
    return as_proto([agent_span(1, trace=f"{number + 1:032x}", own={"crl.task_type": task})])


async def test_nothing_is_committed_before_the_broker_has_it_and_little_of_one_task_lies_between_two_commits() -> None:
    member = Member()
    tasks = ["busy"] * 90 + [f"task-{n}" for n in range(60)] + ["busy"] * 60
    await a_stage(member).work(a_batch(*[an_invocation(n, task) for n, task in enumerate(tasks)]))
    committed, written = 0, 0
    for what, value in member.done:
        if what == "written":
            counts = Counter(output.key for output in value)
            assert max(counts.values()) <= REPEATABLE < Limits().duplicate_ids
            written += len(value)
        else:
            committed = value
            assert written == min(committed, len(tasks)), "what is committed is written, and nothing else is"
    assert committed == len(tasks) + 1
    assert [what for what, _ in member.done] == ["written", "committed"] * (len(member.done) // 2)
    assert written == len(tasks)


async def test_a_record_with_more_spans_of_a_task_than_that_is_still_one_step() -> None:
    member = Member()
    many = as_proto([agent_span(n, trace=f"{n:032x}") for n in range(1, 101)])
    await a_stage(member).work(a_batch(an_invocation(1), many, an_invocation(2)))
    assert [len(value) for what, value in member.done if what == "written"] == [1, 100, 1]
    assert [value for what, value in member.done if what == "committed"] == [1, 2, 4]


async def test_what_the_broker_refuses_is_not_committed() -> None:
    member = Member(refuses=True)
    with pytest.raises(OSError, match="did not accept"):
        await a_stage(member).work(a_batch(an_invocation(1)))
    assert member.done == []


async def test_a_mapping_that_fails_is_a_letter_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member()
    stage = a_stage(member)

    def broken(_options: Any, record: Any) -> Mapped:
        raise ZeroDivisionError("a bug")

    stage.kind = stage.kind._replace(map=broken)
    await stage.work(a_batch(b"anything"))
    [(_, [letter]), _] = member.done
    assert letter.topic == DEAD_LETTERS
    assert letter.value == b"anything"
    assert read_letter(letter.headers).reason == "fold_failure"


async def test_a_bridge_reads_only_its_own_records_of_the_inbox() -> None:
    for key, count in ((b"scores", 1), (b"other", 0), (None, 0)):
        member = Member()
        await a_stage(member, InboxStage, "scores").work(a_batch(an_invocation(1), key=key))
        assert sum(len(value) for what, value in member.done if what == "written") == count


class CountersOfOneThread(Counters):
    """Counters that refuse to be changed by another thread, which could lose a count."""

    def __setattr__(self, name: str, value: object) -> None:
        assert threading.current_thread() is threading.main_thread()
        super().__setattr__(name, value)


async def test_a_large_record_is_mapped_beside_the_event_loop_and_counted_in_it() -> None:
    member = Member()
    member.counters = CountersOfOneThread()
    stage = a_stage(member)
    large = as_proto([span(n, {"filler": "x" * 1_000}) for n in range(1, 150)] + [agent_span(150)])
    await stage.work(a_batch(large))
    assert sum(len(value) for what, value in member.done if what == "written") == 1
    assert (member.counters.applied, member.counters.ignored, member.counters.dead_letters) == (1, 149, 0)
