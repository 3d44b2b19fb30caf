"""Whatever a Kafka client may legally write, on a real broker: every record is accounted for, and nothing stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from builders import AGENT, TASK, an_invocation
from confluent_kafka import Producer
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation, keys_for
from raw_batches import Raw, batch_of, send_raw

from crl_stream.core.identity import TaskKey
from crl_stream.wire import reasons
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import BATCH, read_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.record_batch import encode_name
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS

pytestmark = pytest.mark.integration

KEY = f"{AGENT}/{TASK}".encode()
numbers = iter(range(1_000_000))


def outcome(prefix: str = "o") -> bytes:
    return encode(an_invocation(invocation_id=f"{prefix}-{next(numbers)}"))


class Librdkafka:
    """A producer that is not ours, in the test's thread."""

    def __init__(self, installation: Installation, **options: Any) -> None:
        self.topic = installation.names(INVOCATIONS)
        self.home = partition_of(KEY, installation.kafka.partitions)
        settings = {"bootstrap.servers": installation.kafka.bootstrap_servers, "linger.ms": 50}
        self.producer = Producer(settings | {name.replace("_", "."): value for name, value in options.items()})

    def write(self, count: int, partition: int | None = None) -> None:
        for _ in range(count):
            self.producer.produce(
                self.topic, outcome("rd"), key=KEY, partition=self.home if partition is None else partition
            )

    def flush(self) -> None:
        assert self.producer.flush(20) == 0

    def begin(self) -> None:
        self.producer.init_transactions(20)
        self.producer.begin_transaction()


async def n_outcomes(worker: Any) -> int:
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    return int(page["n_outcomes"])


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches_are_read_by_every_reader(installation: Installation, codec: str) -> None:
    await _compress_everything(installation, codec)
    worker = await installation.worker()
    sender = Librdkafka(installation, compression_codec=codec)
    sender.write(30)
    sender.write(5, partition=(sender.home + 1) % 4)  # is forwarded
    sender.flush()
    await installation.settled()
    assert await n_outcomes(worker) == 35
    worker.kill()
    again = await installation.worker()  # recovers a changelog that the broker has compressed
    sender.write(3)
    sender.flush()
    await installation.settled()
    assert await n_outcomes(again) == 38
    await assert_topics_equal_the_fold(installation)
    code, out, err = await installation.run_crl("dead-letters", "list", "--json")
    assert code == 0, out + err


async def _compress_everything(installation: Installation, codec: str) -> None:
    async with installation.admin._admin() as admin:
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        await admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, name, configs=spec.configs() | {"compression.type": codec})
                for name, spec in installation.admin.specs.items()
            ]
        )


def committed(sender: Librdkafka) -> int:
    sender.begin()
    sender.write(4)
    sender.producer.commit_transaction(20)
    return 4


def aborted(sender: Librdkafka) -> int:
    sender.begin()
    sender.write(4)
    sender.producer.flush(20)
    sender.producer.abort_transaction(20)
    return 0


def open_then_aborted(sender: Librdkafka) -> int:
    """Another producer takes the transactional id over, which ends the transaction of the first."""
    sender.begin()
    sender.write(4)
    sender.producer.flush(20)
    return 0


OUTCOMES: list[Callable[[Librdkafka], int]] = [committed, aborted, open_then_aborted]


@pytest.mark.parametrize("outcome_of", OUTCOMES, ids=[each.__name__ for each in OUTCOMES])
async def test_transactions_count_when_they_are_committed_and_their_ends_stop_nothing(
    installation: Installation, outcome_of: Callable[[Librdkafka], int]
) -> None:
    worker, plain, expected = await installation.worker(), Librdkafka(installation), 0
    for number in range(4):
        sender = Librdkafka(installation, transactional_id=f"{installation.id}-{number % 2}")
        expected += await asyncio.to_thread(outcome_of, sender)
        if outcome_of is open_then_aborted:
            plain.write(1)  # behind the open transaction: not to be seen before that has ended
            plain.flush()
            expected += 1
            taker = Librdkafka(installation, transactional_id=f"{installation.id}-{number % 2}")
            await asyncio.to_thread(taker.producer.init_transactions, 20)
        if number % 2:
            plain.write(2)
            plain.flush()
            expected += 2
        await installation.settled()
        assert await n_outcomes(worker) == expected if expected else True
        if number == 1:
            assert await worker.stop() == 0
            worker = await installation.worker()
        elif number == 2:
            worker.kill()
            worker = await installation.worker()
    await installation.settled()
    assert await n_outcomes(worker) == expected
    await assert_topics_equal_the_fold(installation)
    assert await installation.records(DEAD_LETTERS) == []
    code, out, err = await installation.run_crl("dead-letters", "list", "--json")
    assert code == 0, out + err
    assert await worker.stop() == 0


HEADERS: dict[str, list[tuple[bytes, bytes | None]]] = {
    "null": [(b"h", None)],
    "empty": [(b"", b"x"), (b"", None)],
    "repeated": [(b"h", b"1"), (b"h", None), (b"h", b"")],
    "not UTF-8": [(b"\xff\xfe", b"x"), (b"ok", b"y"), (b"\xc3", None)],
    "60,000": [(b"h%d" % number, b"x") for number in range(60_000)],
    "of an origin": [(b"crl-origin-partition", None), (b"crl-origin-offset", b"9" * 18), (b"baggage", None)],
}


async def test_no_headers_stop_anything_and_dead_letters_and_forwards_keep_them(installation: Installation) -> None:
    worker = await installation.worker()
    topic, servers = installation.names(INVOCATIONS), installation.kafka.bootstrap_servers
    home = partition_of(KEY, 4)
    for name, headers in HEADERS.items():
        good, bad = Raw(outcome(), KEY, headers), Raw(f"bad {name}".encode(), KEY, headers)
        await send_raw(servers, topic, home, batch_of([good]), batch_of([bad]), batch_of([Raw(outcome(), KEY)]))
        await send_raw(servers, topic, (home + 1) % 4, batch_of([Raw(outcome(), KEY, headers)]))
    await installation.settled()
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert page["n_outcomes"] == 3 * len(HEADERS)
    own = {name.encode(): headers for name, headers in HEADERS.items()}
    letters = [r.record for r in await installation.records(DEAD_LETTERS)]
    assert len(letters) == len(HEADERS)
    for letter in letters:
        kept = [(encode_name(name), value) for name, value in letter.headers[:-5]]
        assert kept == own[letter.value.removeprefix(b"bad ")]
    forwards = [r.record for r in await installation.records(INVOCATIONS) if len(r.record.headers) > 2]
    assert any(len(record.headers) == 60_002 for record in forwards)
    await assert_topics_equal_the_fold(installation)
    # A letter goes back with the headers that it has.
    code, out, err = await installation.run_crl(
        *("dead-letters", "replay", "--reason", reasons.NOT_JSON, "--force", "--yes", "--json")
    )
    assert code == 0, out + err
    await installation.settled()
    names = {encode_name(n) for r in await installation.records(INVOCATIONS) for n, _ in r.record.headers}
    assert {b"\xff\xfe", b"\xc3", b""} <= names
    letters = [r.record for r in await installation.records(DEAD_LETTERS)]
    assert len([r for r in letters if r.value]) == 2 * len(HEADERS)
    worker.kill()
    worker = await installation.worker()
    await assert_topics_equal_the_fold(installation)


def bombs() -> Iterator[bytes]:
    """Small batches that would unpack to 900 MB and more."""
    yield batch_of([Raw(b" " * 300_000_000, KEY)], codec="gzip")
    yield batch_of([Raw(b" " * 300_000_000, KEY)] * 3, codec="zstd")
    yield batch_of([Raw(b" " * 200_000_000, KEY)], codec="lz4")


async def test_a_batch_that_unpacks_beyond_all_bounds_is_a_dead_letter_and_the_partition_goes_on(
    installation: Installation,
) -> None:
    topic, servers = installation.names(INVOCATIONS), installation.kafka.bootstrap_servers
    key = next(iter(keys_for(2, 4, 1)))
    batches = list(bombs())
    await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    places = [await send_raw(servers, topic, 2, b, records=3 if n == 1 else 1) for n, b in enumerate(batches)]
    await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    worker = await installation.worker()
    await installation.settled()
    await _applied(worker, key, 2)
    letters = [r.record for r in await installation.records(DEAD_LETTERS)]
    assert [read_letter(letter.headers).reason for letter in letters] == [reasons.BATCH_TOO_LARGE] * 3
    assert [read_letter(letter.headers).offset for letter in letters] == [1, 4, 5]
    assert [offset for (offset,) in places] == [1, 2, 5]
    assert dict(letters[1].headers)[BATCH] == b"offsets 2 to 4, 3 records, zstd"
    for letter, batch in zip(letters, batches, strict=True):
        assert letter.value[61:] == batch[61:], "the batch as it was sent"
    worker.kill()
    worker = await installation.worker()
    await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    await installation.settled()
    await _applied(worker, key, 3)
    await assert_topics_equal_the_fold(installation)


async def _applied(worker: Any, key: TaskKey, count: int) -> None:
    _, page = await worker.get(f"/api/tasks/{key}")
    assert page["n_outcomes"] == count
