"""Workers on a real broker cope with whatever a Kafka client may write: no record is lost, and no partition stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, an_invocation
from confluent_kafka import Producer
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation, keys_for
from raw_batches import Raw, batch_of, send_raw

from crl_stream.client import Resolver
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.kafka.adoption import adopt_log
from crl_stream.kafka.point_reader import PointReader
from crl_stream.settings import load_settings
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire import reasons
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import BATCH, read_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.record_batch import encode_name
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DEAD_LETTERS, DECISIONS, INVOCATIONS

pytestmark = pytest.mark.integration

KEY = f"{AGENT}/{TASK}".encode()
numbers = iter(range(1_000_000))


def outcome(prefix: str = "o") -> bytes:
    return encode(an_invocation(invocation_id=f"{prefix}-{next(numbers)}"))


class Librdkafka:
    """A third-party producer, running in the test's thread."""

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
    again = await installation.worker()  # the worker reads a changelog that the broker has compressed
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
    """Leave a transaction open; another producer with the same transactional id then aborts it."""
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
            plain.write(1)  # behind an open transaction, so it becomes visible only when the transaction ends
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


async def test_an_open_transaction_holds_back_what_lies_behind_it_and_the_worker_says_so(
    installation: Installation,
) -> None:
    worker, plain = await installation.worker(), Librdkafka(installation)
    plain.write(2)
    plain.flush()
    await installation.settled()
    sender = Librdkafka(installation, transactional_id=installation.id)
    await asyncio.to_thread(open_then_aborted, sender)
    plain.write(3)
    plain.flush()
    # The first record of a log is the reference to its first policy.
    assert await _standing(worker, plain.home, lambda p: p["end"] == 10) == {"position": 3, "stable_end": 3, "end": 10}
    assert await n_outcomes(worker) == 2
    worker.kill()
    worker = await installation.worker()  # the worker starts and serves its views although a transaction is open
    assert await n_outcomes(worker) == 2
    await asyncio.to_thread(sender.producer.abort_transaction, 20)
    assert await _standing(worker, plain.home, lambda p: p["position"] == 11) == dict.fromkeys(
        ("position", "stable_end", "end"), 11
    )
    assert await n_outcomes(worker) == 5
    await assert_topics_equal_the_fold(installation)
    assert await worker.stop() == 0


async def _standing(worker: Any, partition: int, true: Callable[[Any], bool]) -> dict[str, int]:
    """Wait until ``true`` accepts the worker's figures for a partition, and return them."""
    async with asyncio.timeout(60):
        while True:
            _, page = await worker.get("/api/worker")
            [found] = [entry for entry in page["partitions"] if entry["partition"] == partition]
            if None not in (found.get("end"), found.get("position")) and true(found):
                return {name: found[name] for name in ("position", "stable_end", "end")}
            await asyncio.sleep(0.1)


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
    # A replay keeps the headers of the dead letter.
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
    """Yield small batches that would unpack to 200 MB or more."""
    yield batch_of([Raw(b" " * 200_000_000, KEY)], codec="gzip")
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


async def test_readers_of_a_topic_that_ends_with_control_records_find_what_there_is_and_wait_for_nothing_else(
    installation: Installation,
) -> None:
    """A reader must wait for its position to reach the end, because these topics do not end with a record."""
    names, key = installation.names, next(iter(keys_for(1, 4, 1)))
    active = await _active_variant(key)
    for ending in (committed_end, aborted_end):
        await asyncio.to_thread(ending, installation, names(ACTIVE_VARIANTS), active, key.encode())
        await asyncio.to_thread(ending, installation, names(INVOCATIONS), b"{}", key.encode())
    reader = installation.reader
    async with asyncio.timeout(60):
        assert [r.record.offset for r in await reader.read(INVOCATIONS)] == [0]
        assert [r.record.offset for r in await reader.read_last(INVOCATIONS, 1, 1)] == [0]
        assert [r.record.offset for r in await reader.read_last(INVOCATIONS, 1, 5)] == [0]
        assert [await reader.read_at(INVOCATIONS, 1, offset) for offset in (1, 2, 3, 4)] == [None] * 4
        points = PointReader({"bootstrap_servers": installation.kafka.bootstrap_servers})
        try:
            wanted = [(1, offset) for offset in range(6)]
            found = await points.read(names(INVOCATIONS), wanted)
            assert [offset for (_, offset), record in found.items() if record is not None] == [0]
            [(place, end)] = (await points.ends([(names(INVOCATIONS), 1)])).items()
            assert (place, end) == ((names(INVOCATIONS), 1), 4)
            passed = [record.offset async for record in points.between(names(INVOCATIONS), 1, 0, end)]
            assert passed == [0]
            assert [record async for record in points.between(names(INVOCATIONS), 1, 1, end)] == []
        finally:
            await points.close()
        settings = load_settings(environment=installation.environment())
        with Resolver(settings) as resolver:
            assert await asyncio.to_thread(resolver.wait_until_ready, 30)
            found_variant = resolver.resolve(key.agent_name, key.task_type)
            assert found_variant is not None
            assert (found_variant.variant_id, found_variant.source) == ("default", "live")
        adopted = await adopt_log(settings, dry_run=True)
        assert [entry["adopted"] for entry in adopted] == [False] * 4


async def _active_variant(key: TaskKey) -> bytes:
    driver = TopologyDriver(partitions=4)
    driver.pipe(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    [record] = driver.records(ACTIVE_VARIANTS)
    assert record.value is not None
    return record.value


def _transaction(installation: Installation, topic: str, value: bytes, key: bytes) -> Any:
    producer = Producer(
        {"bootstrap.servers": installation.kafka.bootstrap_servers, "transactional.id": f"{installation.id}-{topic}"}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, value, key=key, partition=1)
    producer.flush(20)
    return producer


def committed_end(installation: Installation, topic: str, value: bytes, key: bytes) -> None:
    _transaction(installation, topic, value, key).commit_transaction(20)


def aborted_end(installation: Installation, topic: str, value: bytes, key: bytes) -> None:
    _transaction(installation, topic, value, key).abort_transaction(20)


async def test_a_changelog_that_somebody_wrote_to_in_a_transaction_is_recovered_once_that_has_ended(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    key = next(iter(keys_for(1, 4, 1)))
    await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    await installation.settled()
    assert await worker.stop() == 0
    changelog = installation.names.changelog(installation.app_id)
    producer = await asyncio.to_thread(_transaction, installation, changelog, b"\xc1 no row", key.encode())
    refused = installation.start_worker()
    assert await asyncio.to_thread(refused.process.wait, 60) == 70
    assert "partition 1 has an open transaction from offset" in refused.log.read_text()
    await asyncio.to_thread(producer.abort_transaction, 20)
    worker = await installation.worker()
    await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    await installation.settled()
    await _applied(worker, key, 2)
    await assert_topics_equal_the_fold(installation)
    assert await worker.stop() == 0


async def test_commands_in_transactions_take_effect_when_they_are_committed(installation: Installation) -> None:
    worker = await installation.worker()
    await installation.publish(an_invocation("default"))
    ordered: list[tuple[Any, bool]] = [
        (a_command(m.RegisterVariant, variant_id="v2"), True),
        (a_command(m.HoldTask, reason="never"), False),
        (a_command(m.RegisterVariant, variant_id="v3"), True),
    ]

    def order() -> None:
        sender = Librdkafka(installation, transactional_id=f"{installation.id}-c", compression_codec="zstd")
        sender.producer.init_transactions(20)
        for command, commit in ordered:
            sender.producer.begin_transaction()
            sender.producer.produce(installation.names(COMMANDS), encode(command), key=KEY, partition=sender.home)
            sender.flush()
            end = sender.producer.commit_transaction if commit else sender.producer.abort_transaction
            end(20)

    await asyncio.to_thread(order)
    await installation.settled()
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert {variant["variant_id"] for variant in page["variants"]} == {"default", "v2", "v3"}
    assert page.get("held") is None
    results = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult)]
    assert [r.outcome for r in results if r.command == "RegisterVariant"] == ["applied", "applied"]
    await assert_topics_equal_the_fold(installation)
