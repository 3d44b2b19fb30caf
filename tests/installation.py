"""One installation under test: its own topics on a shared broker, real worker processes, and a producer."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import forked
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from forked import Forked
from source_tree import environment_of_this_checkout

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.kafka.reader import Received, TopicReader
from crl_stream.settings.model import Kafka
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.waiting import Waiting
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, POLICY_KEY, Topics

READY_SECONDS = 90.0


class WorkerProcess:
    """A real worker process."""

    def __init__(self, name: str, process: subprocess.Popen[bytes] | Forked, url: str, log: Path) -> None:
        self.name, self.process, self.url, self.log = name, process, url, log

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=headers) as response:
            return response.status, await response.json()

    async def ready(self) -> None:
        """Wait until the worker reports that it is ready; if it exits first, fail and show the end of its log."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
                try:
                    status, _ = await self.get("/readyz")
                except aiohttp.ClientError:
                    status = 0
                if status == 200:
                    return
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 60)


class Installation:
    """Topics with a separate prefix, and everything that a test does with them."""

    def __init__(self, bootstrap_servers: str, folder: Path, partitions: int = 4) -> None:
        self.folder, self.id = folder, uuid.uuid4().hex[:10]
        self.kafka = Kafka(bootstrap_servers=bootstrap_servers, topic_prefix=f"t{self.id}.", partitions=partitions)
        self.app_id = f"t{self.id}"
        self.names = Topics(self.kafka.topic_prefix)
        self.admin = TopicAdmin(self.kafka, self.app_id)
        self.reader = TopicReader(self.kafka)
        self.workers: list[WorkerProcess] = []
        self.producer: AIOKafkaProducer = None

    async def __aenter__(self) -> Self:
        await self.admin.apply()
        await self.restart_producer()
        return self

    async def restart_producer(self) -> None:
        """Start a new producer, which has no metadata of earlier topics."""
        self.producer = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers, acks="all")
        await self.producer.start()

    async def __aexit__(self, *_: object) -> None:
        await self.producer.stop()
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
        async with self.admin._admin() as admin:
            await admin.delete_topics(list(self.admin.specs))

    # -- workers -----------------------------------------------------------------------------------
    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a process of this installation, without the caller's settings."""
        own = {
            "CRL_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "CRL_KAFKA_TOPIC_PREFIX": self.kafka.topic_prefix,
            "CRL_KAFKA_PARTITIONS": str(self.kafka.partitions),
            "CRL_WORKER_APP_ID": self.app_id,
            "CRL_WORKER_DATA_DIR": str(self.folder / "worker"),
            "CRL_WORKER_WEB_PORT": "0",
            "CRL_WORKER_SESSION_TIMEOUT_SECONDS": "4",
            "CRL_WORKER_HEARTBEAT_SECONDS": "1",
            "XDG_DATA_HOME": str(self.folder),
        }
        return environment_of_this_checkout() | own | {f"CRL_{name.upper()}": value for name, value in settings.items()}

    def start_worker(
        self, program: Sequence[str] = ("-m", "crl_stream", "worker"), *, port: int = 0, **settings: str
    ) -> WorkerProcess:
        """Start a worker on a free port, or on the one of a worker that has ended."""
        with socket.socket() as probe:
            if not port:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        name = f"worker-{len(self.workers) + 1}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            environment = self.environment(worker_web_port=str(port), **settings)
            process = forked.start_python(program, environment, self.folder, output)
        worker = WorkerProcess(name, process, f"http://127.0.0.1:{port}", log)
        self.workers.append(worker)
        return worker

    async def worker(self, **settings: str) -> WorkerProcess:
        """Start a worker and wait until it is ready."""
        worker = self.start_worker(**settings)
        await worker.ready()
        return worker

    async def run_crl(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Run ``crl`` and return its exit code, stdout and stderr."""
        words = ("crl_stream", *arguments)
        done = await asyncio.to_thread(forked.run, words, self.environment(**settings), self.folder)
        return done.code, done.out.decode(), done.err.decode()

    # -- writing -----------------------------------------------------------------------------------
    async def publish(self, *messages: m.Invocation | m.Feedback) -> Any:
        """Publish messages in order and return the position of the last one."""
        last = None
        for message in messages:
            key = TaskKey(message.agent_name, message.task_type).encode()
            last = await self.send(encode(message), key)
        return last

    async def send(
        self, value: bytes | None, key: bytes | None, topic: str = INVOCATIONS, partition: int | None = None
    ) -> Any:
        """Send raw bytes and wait for the broker to acknowledge them."""
        if partition is None and key is not None:
            partition = partition_of(key, self.kafka.partitions)
        return await self.producer.send_and_wait(self.names(topic), value, key=key, partition=partition)

    async def order(self, command: Any) -> Any:
        """Send a command."""
        key = POLICY_KEY
        if isinstance(command, m.TaskCommand):
            key = TaskKey(command.agent_name, command.task_type).encode()
        return await self.send(encode(command), key, COMMANDS)

    # -- reading -----------------------------------------------------------------------------------
    async def messages(self, topic: str) -> list[Any]:
        """Return the distinct messages of a topic."""
        found = {received.record.value: received.message for received in await self.reader.read(topic)}
        return list(found.values())

    async def records(self, topic: str) -> list[Received]:
        return await self.reader.read(topic)

    async def changelog(self) -> dict[int, dict[bytes, bytes]]:
        """Return the last record per key of each changelog partition: the state."""
        plain = TopicReader(self.kafka.model_copy(update={"topic_prefix": ""}))
        found: dict[int, dict[bytes, bytes]] = {p: {} for p in range(self.kafka.partitions)}
        for received in await plain.read(self.names.changelog(self.app_id)):
            found[received.record.partition][received.record.key] = received.record.value
        return found

    async def lag(self) -> dict[int, int]:
        """Count the records of each log partition that the state does not cover yet; offsets may have gaps."""
        found = dict.fromkeys(range(self.kafka.partitions), 0)
        # Read the log first: records that arrive while the state is read are counted next time.
        log = [received.record for received in await self.records(INVOCATIONS)]
        state = await self.changelog()
        folded = {p: decode_partition(state[p].get(partition_key(p))).next_offset for p in found}
        for record in log:
            found[record.partition] += record.offset >= folded[record.partition]
        return found

    async def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of each partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.bootstrap_servers)
        await consumer.start()
        try:
            places = [TopicPartition(self.names(topic), p) for p in range(self.kafka.partitions)]
            return {place.partition: end for place, end in (await consumer.end_offsets(places)).items()}
        finally:
            await consumer.stop()

    async def settled(self, seconds: float = 120.0) -> None:
        """Wait until every command is referenced and the whole log is folded."""
        async with asyncio.timeout(seconds):
            while True:
                referenced = {
                    (r.message.partition, r.message.offset)
                    for r in await self.records(INVOCATIONS)
                    if isinstance(r.message, m.CommandRef)
                }
                there = await self.records(COMMANDS)
                rejected = {(r.record.partition, r.record.offset) for r in there if r.message is None}
                commands = {(r.record.partition, r.record.offset) for r in there}
                # A recreated log has lost the references, but the state still includes the commands that they named.
                rows = [decode_partition(state.get(partition_key(p))) for p, state in (await self.changelog()).items()]
                known = {(p, o) for row in rows for p, last in row.commanded.items() for o in range(last + 1)}
                if commands <= referenced | rejected | known and not any((await self.lag()).values()):
                    return
                await asyncio.sleep(0.1)

    async def silent(self, seconds: float = 60.0) -> None:
        """Wait until no row needs a tick soon, so that nothing more is written.

        Returns at once if no worker is running.
        """
        async with asyncio.timeout(seconds):
            while any(worker.process.poll() is None for worker in self.workers):
                wakes = [Waiting.of(rows).next for rows in (await self.changelog()).values()]
                soon = min([wake for wake in wakes if wake is not None], default=None)
                if soon is None or soon > (time.time() + 10.0) * 1_000:
                    return
                await asyncio.sleep(0.2)

    async def wait_for(self, topic: str, kind: type, true: Any = lambda _: True, seconds: float = 30.0) -> Any:
        """Wait until the topic has a message of this kind that ``true`` accepts, and return the first one."""
        async with asyncio.timeout(seconds):
            async with self.reader.following([topic], from_beginning=True) as stream:
                async for received in stream:
                    if isinstance(received.message, kind) and true(received.message):
                        return received.message
        raise AssertionError("the stream ended")


def keys_for(partition: int, partitions: int, count: int) -> Iterable[TaskKey]:
    """Yield ``count`` tasks whose home is ``partition``."""
    found, number = 0, 0
    while found < count:
        key = TaskKey("agent", f"task-{number}")
        number += 1
        if partition_of(key.encode(), partitions) == partition:
            found += 1
            yield key
