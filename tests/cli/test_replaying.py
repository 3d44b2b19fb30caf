"""``crl dead-letters replay`` from the call to its last line, with topics in memory that fail as Kafka does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import typer
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from builders import an_invocation

from cli.letters import KEY, MARK, Topic
from crl_stream.cli.application import app
from crl_stream.cli.dead_letters import replaying
from crl_stream.errors import Unavailable, UsageError
from crl_stream.kafka.reader import Received
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import read_mark
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS

HOME = partition_of(KEY, 4)


class Placed(NamedTuple):
    """A broker's answer to a record."""

    partition: int
    offset: int


class Broker:
    """Topics with four partitions; ``failures[n]`` is the error that answers record ``n``."""

    def __init__(self) -> None:
        self.letters = Topic()
        self.taken: list[Output] = []
        self.failures: dict[int, Exception] = {}
        self.marks_fail: Exception | None = None
        self.running = 0
        self.options: dict[str, Any] = {}

    # -- reading
    async def read(self, topic: str) -> list[Received]:
        assert topic == DEAD_LETTERS
        return [Received(topic, record, None) for record in self.letters.records]

    async def partitions(self, _: str) -> int:
        return 4

    # -- writing
    async def start(self) -> None:
        self.running += 1

    async def stop(self) -> None:
        self.running -= 1

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, partition: int, headers: Any
    ) -> asyncio.Future[Placed]:
        answer: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        failure = self.marks_fail if topic == DEAD_LETTERS else self.failures.pop(len(self.records), None)
        if failure is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(Placed(partition, len(self.taken)))
        self.taken.append(Output(topic, partition, key, value if failure is None else None, tuple(headers)))
        return answer

    @property
    def records(self) -> list[Output]:
        return [output for output in self.taken if output.topic == INVOCATIONS]

    @property
    def marked(self) -> list[int]:
        """Return the offsets that the marks name."""
        return [mark.offset for o in self.taken if o.topic == DEAD_LETTERS and (mark := read_mark(o.headers))]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()

    def producer(**options: Any) -> Broker:
        broker.options = options
        return broker

    monkeypatch.setattr(replaying, "TopicReader", lambda _: broker)
    monkeypatch.setattr(replaying, "AIOKafkaProducer", producer)
    return broker


def call(*arguments: str) -> int:
    """Run a call and return its exit code; errors are raised."""
    words = ["--set", "kafka.bootstrap_servers=nowhere:1", "dead-letters", "replay", *arguments]
    return int(app(args=words, standalone_mode=False) or 0)


def refuse(broker: Broker, numbers: Sequence[int]) -> list[bytes]:
    values = [encode(an_invocation(invocation_id=f"i-{number}")) for number in numbers]
    for number, value in zip(numbers, values, strict=True):
        broker.letters.refuse(value, place=(0, number))
    return values


def test_many_are_sent_and_marked_in_their_order_by_a_producer_that_loses_and_doubles_nothing(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    values = refuse(broker, range(1_203))
    assert call("--reason", "variant_limit", "--yes", "--actor", "ada", "--json") == 0
    assert [(r.partition, r.value) for r in broker.records] == [(HOME, value) for value in values]
    assert broker.marked == list(range(1_203))
    assert (broker.options["acks"], broker.options["enable_idempotence"], broker.running) == ("all", True, 0)
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["sent"], said["refused"], len(said["letters"])) == (1_203, 0, 1_203)
    assert "replaying ..." in err


def test_a_person_reads_what_became_of_each_letter_and_how_many_there_were(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(broker, [3])
    broker.letters.refuse(b"not json", "not_json", place=(1, 4))
    broker.letters.refuse(b"{}", "not_json", place=(0, 7))
    broker.letters.append(MARK)
    assert call("--since", "2000-01-01") == 1
    out, err = capsys.readouterr()
    rows = [line.split(maxsplit=3) for line in out.splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["0:3", INVOCATIONS, "variant_limit"],
        ["1:4", INVOCATIONS, "not_json"],
    ]
    assert rows[0][3].strip() == f"sent to {HOME}:0"
    assert "refused" in rows[1][3]
    assert rows[1][3].endswith("; --force sends it")
    assert "1 already replayed, skipped" in err
    assert err.splitlines()[-1] == "1 sent, 1 refused"


def test_a_dry_run_sends_nothing(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(broker, range(3))
    assert call("--reason", "variant_limit", "--dry-run") == 0
    assert broker.taken == []
    out, err = capsys.readouterr()
    assert out.count(f"would be sent to partition {HOME}") == 3
    assert err.splitlines()[-1] == "3 would be sent"


@pytest.mark.parametrize("agrees", [True, False])
def test_at_a_terminal_more_than_one_is_asked_about(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    asked: list[str] = []

    def answer(question: str, **_: Any) -> bool:
        asked.append(question)
        return agrees

    monkeypatch.setattr(replaying, "_can_ask", lambda: True)
    monkeypatch.setattr(typer, "confirm", answer)
    refuse(broker, range(3))
    assert call("0:1") == 0
    assert (len(broker.records), asked) == (1, [])
    broker.taken.clear()
    assert call("--reason", "variant_limit") == (0 if agrees else 1)
    assert len(asked) == 1
    assert "Send 3 records back to crl.invocations?" in asked[0]
    assert len(broker.records) == (3 if agrees else 0)


def test_where_nobody_can_be_asked_more_than_one_needs_a_yes(broker: Broker) -> None:
    refuse(broker, range(2))
    with pytest.raises(UsageError, match="2 records would be sent") as caught:
        call("--reason", "variant_limit")
    assert "--yes" in (caught.value.hint or "")
    assert broker.taken == []


def test_what_kafka_does_not_confirm_is_not_marked_and_what_comes_after_that_batch_is_not_tried(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(broker, range(700))
    broker.failures[1] = KafkaTimeoutError()
    with pytest.raises(Unavailable, match="499 of 700 were sent"):
        call("--reason", "variant_limit", "--yes", "--json")
    letters = json.loads(capsys.readouterr().out)["letters"]
    assert [letter["outcome"] for letter in letters] == ["sent", "unconfirmed", *["sent"] * 498, *["not tried"] * 200]
    assert "may or may not have arrived" in letters[1]["detail"]
    assert broker.marked == [0, *range(2, 500)]
    assert broker.running == 0


def test_a_mark_that_may_not_be_written_is_said_when_the_record_is_sent_already(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(broker, [1])
    broker.marks_fail = TopicAuthorizationFailedError(DEAD_LETTERS)
    with pytest.raises(Unavailable, match="1 of 1 were sent, 1 of them without a mark"):
        call("0:1", "--json")
    [letter] = json.loads(capsys.readouterr().out)["letters"]
    assert letter["outcome"] == "sent"
