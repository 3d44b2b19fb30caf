"""Sends outcomes in the background: never raises into the agent, never blocks it, and counts what it could not do."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from crl_stream.client.address import kafka_of
from crl_stream.client.background import Background
from crl_stream.connection import connection_options
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier, suggest_identifier
from crl_stream.errors import InvalidMessage
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.cloudevents import event_headers
from crl_stream.wire.codec import Rejected, decode, encode, not_finite
from crl_stream.wire.topics import INVOCATIONS, Topics

log = logging.getLogger(__name__)

QUEUE_SIZE: Final = 10_000
"""Messages that may wait while Kafka does not answer; later ones are dropped and counted."""
_AT_ONCE: Final = 500
_LONGEST_PAUSE: Final = 5.0


class PublisherStats(NamedTuple):
    """What has become of what was published."""

    sent: int
    """Acknowledged by Kafka."""
    queued: int
    dropped: int
    """Lost because the queue was full, or at the end because Kafka did not answer."""
    rejected: int
    """Refused locally, with a log line that says how to put it right."""


class _Item(NamedTuple):
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def utc_now() -> str:
    """This instant as the contract writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def default_runtime_id() -> str:
    """A name for this process: host and process id."""
    return suggest_identifier(f"{socket.gethostname()}-{os.getpid()}")


def checked(message: m.Invocation | m.Feedback) -> tuple[bytes, bytes]:
    """(key, value) of a message, proven readable; ``InvalidMessage`` says what to write instead."""
    for name in ("agent_name", "task_type", "variant_id", "invocation_id", "runtime_id", "feedback_id"):
        text = getattr(message, name, None)
        if isinstance(text, str) and not is_identifier(text):
            raise InvalidMessage(
                f"{name} {text[:128]!r} is not an identifier.",
                hint=f"write {suggest_identifier(text)!r}: letters, digits and . _ : - only, 1 to 128 of them",
            )
    if (wrong := not_finite(message)) is not None:
        raise InvalidMessage(
            f"{wrong} is {getattr(message, wrong)}, not a number.", hint="leave it out when it is unknown"
        )
    key, value = TaskKey(message.agent_name, message.task_type).encode(), encode(message)
    decoded = decode(INVOCATIONS, value, key)
    if isinstance(decoded, Rejected):
        raise InvalidMessage(f"The message does not fit its schema: {decoded.detail}", hint="see topics/README.md")
    return key, value


class Publisher:
    """Publishes invocations and late feedback.

    Thread-safe.  A message is in memory until Kafka has it: ``close`` waits for that, up to its timeout.
    """

    def __init__(self, settings: Settings | None = None, *, runtime_id: str | None = None) -> None:
        self.settings = settings or load_settings()
        self.runtime_id = runtime_id or self.settings.client.runtime_id or default_runtime_id()
        self._topic = Topics(self.settings.kafka.topic_prefix)(INVOCATIONS)
        self._waiting: deque[_Item] = deque()
        self._lock = threading.Condition()
        self._in_flight = self._sent = self._dropped = self._rejected = 0
        self._closing = False
        self.trouble = ""
        """Why the last attempt that failed did so; empty when none has."""
        self._wake: asyncio.Event | None = None
        self._background = Background("crl-publisher", self._run)
        self._background.start()

    def __enter__(self) -> Self:
        """Start has happened already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Send what waits, then close."""
        self.close()

    def publish(self, message: m.Invocation | m.Feedback, *, traceparent: str | None = None) -> bool:
        """Queue a message; False, with a log line, when it is not valid or there is no room.  Never raises."""
        try:
            key, value = checked(message)
            item = _Item(key, value, event_headers(message, key, traceparent=traceparent))
        except Exception as error:
            with self._lock:
                self._rejected += 1
            log.error("not published: %s", error)  # noqa: TRY400 - a sentence for the user, no traceback
            return False
        with self._lock:
            if self._closing or len(self._waiting) + self._in_flight >= QUEUE_SIZE:
                self._dropped += 1
                return False
            self._waiting.append(item)
        self._background.call(self._notify)
        return True

    def invocation(
        self, agent_name: str, task_type: str, variant_id: str, status: m.inputs.Status, **fields: Any
    ) -> bool:
        """Publish one finished invocation; ``fields`` are those of the contract, ids and time are filled in."""
        fields.setdefault("invocation_id", uuid.uuid4().hex)
        fields.setdefault("timestamp", utc_now())
        fields.setdefault("runtime_id", self.runtime_id)
        try:
            message = m.Invocation(
                schema_version=m.SCHEMA_VERSION,
                agent_name=agent_name,
                task_type=task_type,
                variant_id=variant_id,
                status=status,
                **fields,
            )
        except TypeError as error:
            with self._lock:
                self._rejected += 1
            log.error("not published: %s", error)  # noqa: TRY400 - a sentence for the user, no traceback
            return False
        return self.publish(message)

    def feedback(
        self,
        agent_name: str,
        task_type: str,
        invocation_id: str,
        *,
        reward: float | None = None,
        quality: float | None = None,
        source: str | None = None,
    ) -> bool:
        """Publish a reward in [-1, 1] or a quality in [0, 1] that became known after its invocation."""
        return self.publish(
            m.Feedback(
                schema_version=m.SCHEMA_VERSION,
                feedback_id=uuid.uuid4().hex,
                timestamp=utc_now(),
                agent_name=agent_name,
                task_type=task_type,
                invocation_id=invocation_id,
                reward=reward,
                quality=quality,
                source=source,
            )
        )

    @property
    def stats(self) -> PublisherStats:
        """Figures since the start."""
        with self._lock:
            return PublisherStats(self._sent, len(self._waiting) + self._in_flight, self._dropped, self._rejected)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until Kafka has everything; False when it has not within ``timeout`` seconds."""
        until = time.monotonic() + timeout
        with self._lock:
            while self._waiting or self._in_flight:
                if (left := until - time.monotonic()) <= 0:
                    return False
                self._lock.wait(left)
        return True

    def close(self, timeout: float = 10.0) -> PublisherStats:
        """Send what waits for at most ``timeout`` seconds; what Kafka then does not have is counted as dropped."""
        with self._lock:
            self._closing = True
        self.flush(timeout)
        self._background.stop()
        with self._lock:
            self._dropped += len(self._waiting) + self._in_flight
            self._waiting.clear()
            self._in_flight = 0
        return self.stats

    # -- in the background -------------------------------------------------------------------------
    def _notify(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def _run(self) -> None:
        self._wake = asyncio.Event()
        producer = await self._connected()
        try:
            while True:
                with self._lock:
                    batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                    self._in_flight = len(batch)
                if batch:
                    await self._send(producer, batch)
                    continue
                self._wake.clear()
                if not self._waiting:
                    await self._wake.wait()
        finally:
            await producer.stop()

    async def _connected(self) -> AIOKafkaProducer:
        pause = 0.1
        while True:
            try:
                return await self._connect()
            except (KafkaError, OSError) as error:
                self.trouble = str(error)
                log.warning("Kafka does not answer (%s); outcomes wait", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _connect(self) -> AIOKafkaProducer:
        options = connection_options(kafka_of(self.settings))
        producer = AIOKafkaProducer(**options, acks="all", enable_idempotence=True, linger_ms=0)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _send(self, producer: AIOKafkaProducer, batch: list[_Item]) -> None:
        """Send until Kafka has all of it: a repeated message is recognised by its invocation_id."""
        pause = 0.1
        while batch:
            results = await asyncio.gather(*(self._send_one(producer, item) for item in batch))
            left = [item for item, sent in zip(batch, results, strict=True) if not sent]
            with self._lock:
                self._sent += len(batch) - len(left)
                self._in_flight = len(left)
                self._lock.notify_all()
            batch = left
            if batch:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _send_one(self, producer: AIOKafkaProducer, item: _Item) -> bool:
        try:
            await producer.send_and_wait(self._topic, item.value, key=item.key, headers=list(item.headers))
        except (KafkaError, OSError) as error:
            self.trouble = str(error)
            log.warning("outcome not sent yet: %s", error)
            return False
        return True
