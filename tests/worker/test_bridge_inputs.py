"""Polling another system: what is fetched is written in order with its place, and a failure is seen and survived."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Self

import pytest
from joins.langfuse_double import PASSWORD, USER, Langfuse, langfuse

from crl_stream.bridges.kinds import KINDS
from crl_stream.bridges.polling import Cursor, cursor_header, cursor_in
from crl_stream.worker import bridge_inputs
from crl_stream.worker.bridge_inputs import Poller
from crl_stream.worker.counters import Counters

KIND = KINDS["langfuse"]
START = "2026-11-28T10:00:00Z"


class Inbox:
    """Keeps what a poller writes, one list for each write."""

    def __init__(self) -> None:
        self.name, self.member = "scores", SimpleNamespace(stalled={})
        self.cursor: Cursor | None = None
        self.writes: list[list[Any]] = []
        self.kept: Cursor | None = None
        self.is_ours = True

    async def last_cursor(self) -> Cursor | None:
        return self.kept

    async def append(self, records: list[Any]) -> None:
        self.writes.append(records)
        [headers] = [headers for _, headers in records[-1:]]
        self.kept = cursor_in(headers) or self.kept

    def ids(self) -> list[str]:
        return [json.loads(value)["id"] for records in self.writes for value, _ in records if value]


def a_poller(double: Langfuse, inbox: Inbox, **changes: Any) -> Poller:
    given = {
        "kind": "langfuse",
        "url": double.url,
        "public_key": USER,
        "secret_key": PASSWORD,
        "evaluator": "helpful",
        "start": START,
    }
    return Poller(inbox, KIND, KIND.options.model_validate(given | changes))  # type: ignore[arg-type]


async def test_scores_are_written_oldest_first_and_the_place_is_in_the_same_write() -> None:
    async with langfuse(per_page=2) as double:
        for minute in (5, 1, 3, 2, 4):
            double.add("helpful", 1, f"2026-11-28T10:0{minute}:00Z")
        inbox = Inbox()
        poller = a_poller(double, inbox)
        await poller.poll([0])
        assert inbox.ids() == ["score-2", "score-4", "score-3", "score-5", "score-1"]
        assert [len(records) for records in inbox.writes] == [1, 5], "the first start, then all of them at once"
        assert inbox.kept == inbox.cursor != Cursor(0)
        await poller.poll([0])
        assert len(inbox.writes) == 2, "nothing new, nothing written"


async def test_a_restart_continues_from_the_inbox_and_another_process_does_not_poll() -> None:
    async with langfuse() as double:
        double.add("helpful", 1, "2026-11-28T10:01:00Z")
        inbox = Inbox()
        await a_poller(double, inbox).poll([])
        assert double.asked == []
        await a_poller(double, inbox).poll([0])
        inbox.cursor = None
        double.add("helpful", 1, "2026-11-28T10:00:30Z")
        await a_poller(double, inbox).poll([0])
        assert inbox.ids() == ["score-1", "score-2"]


async def test_without_a_start_the_first_poll_fixes_it_even_if_the_system_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge_inputs, "time", lambda: 1_795_860_000.0)
    async with langfuse() as double:
        double.fails = 1
        inbox = Inbox()
        poller = a_poller(double, inbox, start="")
        await poller.poll([0])
        assert inbox.kept == Cursor(1_795_860_000_000)
        assert poller.failures == 1


@pytest.mark.parametrize("wrong", [{"secret_key": "wrong"}, {"url": "http://127.0.0.1:1"}])
async def test_a_system_that_refuses_is_noted_and_asked_less_and_less_often(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(bridge_inputs, "monotonic", lambda: now[0])
    async with langfuse() as double:
        inbox = Inbox()
        poller = a_poller(double, inbox, **wrong)
        for seconds, failures in ((0.0, 1), (1.0, 1), (2.0, 2), (5.0, 2), (6.0, 3), (100.0, 4)):
            now[0] = seconds
            await poller.poll([0])
            assert poller.failures == failures
        [(subject, stalled)] = inbox.member.stalled.items()
        assert subject == "bridges.scores"
        assert "cannot fetch scores from" in stalled.text
        assert len([line for line in caplog.messages if "cannot fetch" in line]) == 3, "attempts 1, 2 and 4"
        assert "wrong" not in caplog.text
        now[0] = 1_000.0
        poller.options = a_poller(double, inbox).options
        await poller.poll([0])
        assert (poller.failures, inbox.member.stalled) == (0, {})


async def test_a_poll_that_never_comes_to_an_end_is_ended_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bridge_inputs, "MOST_GROUPS", 2)
    monkeypatch.setattr(bridge_inputs, "GROUP", 1)
    async with langfuse(per_page=2) as double:
        for minute in range(1, 7):
            double.add("helpful", 1, f"2026-11-28T10:0{minute}:00Z")
        inbox = Inbox()
        await a_poller(double, inbox).poll([0])
        assert len(inbox.ids()) == 4
        assert any("has more than 2 pages of scores" in line for line in caplog.messages)


async def test_large_pages_are_written_before_more_of_them_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_inputs, "MOST_GROUP_BYTES", 1)
    async with langfuse(per_page=2) as double:
        for minute in range(1, 6):
            double.add("helpful", 1, f"2026-11-28T10:0{minute}:00Z")
        inbox = Inbox()
        await a_poller(double, inbox).poll([0])
        assert [len(records) for records in inbox.writes] == [1, 2, 2, 1], "the first start, then page by page"
        assert len(set(inbox.ids())) == 5


async def test_a_process_that_loses_the_inbox_while_it_fetches_writes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_inputs, "GROUP", 1)
    async with langfuse(per_page=2) as double:
        for minute in range(1, 6):
            double.add("helpful", 1, f"2026-11-28T10:0{minute}:00Z")
        first, second = Inbox(), Inbox()
        append = first.append

        async def lose(records: list[Any]) -> None:
            await append(records)
            first.is_ours = len(first.writes) < 2

        monkeypatch.setattr(first, "append", lose)
        await a_poller(double, first).poll([0])
        assert len(first.ids()) == 2
        second.kept = first.kept
        await a_poller(double, second).poll([0])
        assert sorted(first.ids() + second.ids()) == [f"score-{number}" for number in range(1, 6)]


@pytest.mark.parametrize(("others", "reads"), [(10, 1), (600, 3), (20_000, 4)])
async def test_the_place_is_found_however_much_other_bridges_have_written_since(
    others: int, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def a_record(name: bytes, since: int) -> Any:
        return SimpleNamespace(record=SimpleNamespace(key=name, headers=(cursor_header(Cursor(since)),)))

    there = [a_record(b"scores", 1), a_record(b"scores", 2), *[a_record(b"other", 3)] * others]
    asked: list[int] = []

    class Reader:
        def __init__(self, _: Any) -> None: ...
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...
        async def read_last(self, _topic: str, _partition: int, count: int) -> list[Any]:
            asked.append(count)
            return there[-count:]

        async def each(self, _topic: str, _partition: int) -> AsyncIterator[Any]:
            asked.append(0)
            for one in there:
                yield one

    monkeypatch.setattr(bridge_inputs, "TopicReader", Reader)
    settings = SimpleNamespace(kafka=SimpleNamespace(partitions=4))
    member: Any = SimpleNamespace(settings=settings, counters=Counters())
    options: Any = None
    inbox = bridge_inputs.Inbox("scores", KIND, options, member, "crl.bridge-inbox")
    assert await inbox.last_cursor() == Cursor(2)
    assert len(asked) == reads
    assert max(asked) <= 4_096
