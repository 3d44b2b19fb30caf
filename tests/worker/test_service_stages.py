"""When something is wrong, the services wait, start again, or hand their partitions over to another process."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types.tuples import TP

from crl_stream.errors import Unavailable, Unsafe
from crl_stream.kafka.log_consumer import Stretch
from crl_stream.settings import load_settings
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages.driver import Stored
from crl_stream.stages.partition import PartitionRow, encode_partition, record_hash
from crl_stream.wire.topics import ALERTS, ROLLBACKS, Topics
from crl_stream.worker import services
from crl_stream.worker.counters import Counters
from crl_stream.worker.member import Member
from crl_stream.worker.monitor_stages import InletStage, MonitorStage
from crl_stream.worker.service_stages import LONGEST_WAIT, OverviewStage, ProposerStage, SinkStage, TallyStage
from crl_stream.worker.stages import READ
from crl_stream.worker.transport.lanes import Batch

OUTLET: Any = SimpleNamespace(topics=Topics(""), counters=Counters())


async def deliver_nothing(_topic: str, _records: Any) -> None:
    """Accept everything."""


async def test_a_sink_asks_again_as_long_as_its_place_is_not_available(caplog: pytest.LogCaptureFixture) -> None:
    asked, slept = [], []

    async def deliver(topic: str, records: Any) -> None:
        asked.append((topic, list(records)))
        if len(asked) < 10:
            raise Unavailable("The disk is full.", hint="free some space")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    outlet: Any = SimpleNamespace(topics=Topics(""), counters=Counters())
    with caplog.at_level(logging.INFO):
        batch = Batch(TP(ROLLBACKS, 0), Stretch(0, ["a", "b"], 2))
        await SinkStage(ROLLBACKS, outlet, deliver, sleep=sleep).work(batch)
    assert asked == [(ROLLBACKS, ["a", "b"])] * 10
    assert slept == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
    assert outlet.counters.applied == 2, "counted once, after the delivery"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 5, "lines for the 1st, 2nd, 4th and 8th failures, and the recovery"
    assert "The disk is full. hint: free some space" in told[0]


@pytest.mark.parametrize("stage", [SinkStage(ROLLBACKS, OUTLET, deliver_nothing), TallyStage(ROLLBACKS, OUTLET)])
async def test_a_topic_that_was_made_anew_is_read_from_its_beginning_by_those_who_know_what_they_had(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert await stage.position(0, 900, 3, 12) == 3
    assert "recreated" in caplog.text
    assert await stage.position(0, 12, 3, 12) == 12
    assert await stage.position(0, 1, 3, 12) == 3


async def test_commands_that_were_made_anew_are_for_people_to_adopt() -> None:
    with pytest.raises(Unsafe) as refused:
        await InletStage(4, OUTLET).position(0, 900, 0, 12)
    assert "crl topics adopt" in (refused.value.hint or "")


class OneRecord:
    """A reader that returns the same record for every position."""

    def __init__(self, record: Any) -> None:
        self.record = record

    async def read(self, _topic: str, places: Any) -> dict[tuple[int, int], Any]:
        return dict.fromkeys(places, self.record)

    async def ids(self, topics: Any) -> dict[str, str]:
        return dict.fromkeys(topics, "")

    async def ends(self, places: Any) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 0)


def a_table(**state: Any) -> Any:
    row = encode_partition(PartitionRow(**state))
    return SimpleNamespace(partition_row=lambda _: row, last_record=lambda _: None, changelog_topic_name="a-changelog")


def stages_on(table: Any, record: Any) -> list[Any]:
    reader: Any = OneRecord(record)
    return [ProposerStage(table, OUTLET, reader, load_remedies()), OverviewStage(table, OUTLET, reader)]


async def test_a_source_that_was_made_anew_and_is_longer_than_the_state_is_known_by_its_records_and_refused() -> None:
    known, other = Stored(8, 5, b"a/b", b"known"), Stored(8, 6, b"a/b", b"other")
    table = a_table(next_offset=9, last_hash=record_hash(known))
    for stage in stages_on(table, known):
        assert await stage.position(0, None, 0, 100) == 9
    for stage in stages_on(table, other):
        with pytest.raises(Unsafe, match="has a different record at 8 than the one its state ends with") as refused:
            await stage.position(0, None, 0, 100)
        assert "delete the topic a-changelog" in (refused.value.hint or "")


async def test_a_last_record_that_is_gone_says_something_only_where_nothing_is_compacted() -> None:
    proposer, overview = stages_on(a_table(next_offset=9, last_hash=b"12345678"), None)
    assert await proposer.position(0, None, 0, 100) == 9
    with pytest.raises(Unsafe, match="has a different record at 8"):
        await overview.position(0, None, 0, 100)
    assert await overview.position(0, None, 9, 100) == 9, "retention has removed the record"


class Announcing(OverviewStage):
    """Remembers which offsets were reported as lost."""

    async def announce_gap(self, partition: int, expected: int, first: int) -> None:
        self.gaps = [(partition, expected, first)]


@pytest.mark.parametrize(
    ("read", "first", "gap"),
    [(None, 9, []), (None, 12, [(0, 9, 12)]), (b"12", 12, []), (b"12", 15, [(0, 12, 15)]), (b"x", 10, [(0, 9, 10)])],
)
async def test_offsets_that_had_no_record_are_not_announced_as_lost_when_retention_takes_them(
    read: bytes | None, first: int, gap: list[tuple[int, int, int]]
) -> None:
    """A transaction ends with a marker: the state ends before the marker, and the position after it."""
    row = encode_partition(PartitionRow(next_offset=9, last_hash=b"12345678"))
    headers = () if read is None else ((READ, read),)
    table: Any = SimpleNamespace(
        partition_row=lambda _: row, last_record=lambda _: 4, changelog_topic_name="a-changelog"
    )
    reader: Any = OneRecord(Stored(4, 0, b"!partition/0", row, headers))
    stage = Announcing(table, OUTLET, reader)
    stage.gaps = []
    assert await stage.position(0, 9, first, 100) == first
    assert stage.gaps == gap


async def test_a_position_that_moves_without_a_record_is_kept_beside_the_partition_row() -> None:
    """The position is kept even without task rows: the group's commit covers all records, so a state must exist."""
    written: list[Any] = []

    async def write(_partition: int, rows: Any, row: bytes, headers: Any) -> None:
        written.append((rows, row, dict(headers)[READ]))

    async def publish(outputs: Any) -> dict[Any, Any]:
        assert outputs == []
        return {}

    consumer = SimpleNamespace(check_pulse=lambda: None)
    outlet: Any = SimpleNamespace(
        topics=Topics(""), counters=Counters(), publish=publish, app=SimpleNamespace(consumer=consumer)
    )
    rows: dict[bytes, bytes] = {}
    table: Any = SimpleNamespace(
        partition_row=rows.get, rows=lambda _: rows, check_open=lambda _: None, write=write, width=1
    )
    stage = MonitorStage(table, outlet, Any)  # type: ignore[arg-type]
    await stage.work(Batch(TP("crl.invocations", 0), Stretch(0, [], 3)))
    assert written == [({}, encode_partition(PartitionRow()), b"3")]


AN_HOUR = datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp()


class Reviewer:
    """A member that owns the overview, and whose partitions are being moved for a while."""

    def __init__(self, *, moving: int, has_overview: bool = True) -> None:
        self.settings, self.moving = load_settings(environment={}), moving
        self.published: list[Any] = []
        self.app, self.outlet = self, self
        self.table: Any = SimpleNamespace(rows=lambda _: {}, partition_row=lambda _: b"row" if has_overview else None)
        self.review: Any = None

    @property
    def recovered(self) -> bool:
        self.moving -= 1
        return self.moving < 0

    def crontab(self, *_: Any, **__: Any) -> Any:
        return lambda task: setattr(self, "review", task)

    async def publish(self, outputs: Any) -> None:
        self.published += outputs


@pytest.mark.parametrize(("has_overview", "topics"), [(True, [ALERTS]), (False, [])])
async def test_a_review_whose_hour_comes_while_partitions_move_is_published_when_they_have_moved(
    monkeypatch: pytest.MonkeyPatch, *, has_overview: bool, topics: list[str]
) -> None:
    monkeypatch.setattr(services, "SETTLE_SECONDS", 0.0)
    reviewer: Any = Reviewer(moving=5, has_overview=has_overview)
    clock = iter((AN_HOUR - 3_600.0, AN_HOUR - 1.0, AN_HOUR + 1.0, AN_HOUR + 1.0))
    monkeypatch.setattr(services, "time", SimpleNamespace(time=lambda: next(clock)))
    services._schedule_review(reviewer, reviewer.table)
    await reviewer.review()
    assert reviewer.published == [], "the review is not due yet"
    await reviewer.review()
    assert [output.topic for output in reviewer.published] == topics


async def test_a_member_that_does_not_poll_is_no_dead_member() -> None:
    settings = load_settings(environment={}, flags={"kafka.bootstrap_servers": "127.0.0.1:9"})
    member = Member(settings, "a-group")
    assert member.app.conf.broker_max_poll_interval > 365 * 86_400
