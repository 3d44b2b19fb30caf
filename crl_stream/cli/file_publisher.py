"""Sends the messages of a file in order, tracks what Kafka has acknowledged, and resumes where a run ended.

Several hundred messages are in flight at any time. After an interrupted run, these are looked up at the end of the log
before anything is sent, so no message is published twice, however the run ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import AuthenticationFailedError, KafkaError

from crl_stream.cli.clock import second_now
from crl_stream.cli.outcome_file import Outcome, OutcomeFile
from crl_stream.cli.publish_journal import Journal, Progress, target_of
from crl_stream.errors import Unavailable
from crl_stream.kafka.connection import connection_options, reaching
from crl_stream.kafka.log_consumer import READ_UNCOMMITTED
from crl_stream.kafka.positions import bounds, places_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings.model import Kafka
from crl_stream.wire.cloudevents import event_headers
from crl_stream.wire.topics import INVOCATIONS, Topics

CHUNK: Final = 500
"""Number of messages whose acknowledgements are awaited together."""
CHUNKS: Final = 4
WINDOW: Final = CHUNK * (CHUNKS + 2)
"""Maximum number of messages that may have been sent beyond what a journal records."""
_BATCH_BYTES: Final = 256 * 1_024
CONNECT_SECONDS: Final = 5.0
"""Seconds always allowed for connecting, even if the limit for sending is lower."""
_LAST_WORDS: Final = 5.0
"""Seconds that an interrupted run waits for messages in flight."""
_POLL_MS: Final = 300
T = TypeVar("T")


class Plan(NamedTuple):
    """A file that was read once and found valid."""

    file: str
    messages: int
    content: str


class Target(NamedTuple):
    """The topic and cluster to which the messages are sent."""

    id: str
    topic: str
    ends: dict[str, int]
    """End offset by partition, before the first message."""


class Sent(NamedTuple):
    """The result of one run of ``crl publish --file``."""

    sent: int
    """Number of acknowledged messages from the start of the file, including those of earlier runs."""
    recognised: int
    """How many of the acknowledged messages an earlier run had sent without recording them."""
    trouble: str
    """Why the run ended early; empty if it did not."""
    interrupted: bool = False


class Digest:
    """Running hash of messages, independent of white space and compression."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, outcome: Outcome) -> None:
        """Add the next message to the hash."""
        self._hash.update(outcome.value)
        self._hash.update(b"\n")

    def text(self) -> str:
        """Return the hash of everything added so far."""
        return self._hash.copy().hexdigest()


async def find_target(kafka: Kafka, timeout: float, silence: Callable[[float], None]) -> Target:
    """Find the topic of outcomes; raises ``Unavailable`` if Kafka has not answered after ``timeout`` seconds.

    ``silence`` is called with the seconds since Kafka's last answer.
    """
    began = time.monotonic()
    while True:
        try:
            found = await in_time(_described(kafka), began, max(CONNECT_SECONDS, timeout), silence)
        except (Unavailable, TimeoutError) as error:
            left = began + timeout - time.monotonic()
            if isinstance(error, Unavailable) and isinstance(error.__cause__, AuthenticationFailedError):
                raise
            if left <= 0.0:
                with reaching(kafka):
                    raise
            await asyncio.sleep(min(0.5, left))
        else:
            silence(0.0)
            return found


async def _described(kafka: Kafka) -> Target:
    topic = Topics(kafka.topic_prefix)(INVOCATIONS)
    async with KafkaSession(kafka) as session:
        async with session.reading(isolation_level=READ_UNCOMMITTED) as consumer:
            ends = await consumer.end_offsets(await places_of(consumer, [topic]))
        name = target_of(await TopicReader(session).cluster_id(), topic)
    return Target(name, topic, {str(place.partition): end for place, end in ends.items()})


async def in_time(
    work: Coroutine[Any, Any, T], began: float, timeout: float, silence: Callable[[float], None] = lambda _: None
) -> T:
    """Return the result of ``work``; raises ``TimeoutError`` when it takes too long.

    ``began`` is the monotonic time at which the wait began, ``timeout`` the seconds allowed from then on; at least one
    second is always allowed.  ``silence`` is called with the seconds waited so far.
    """
    task, limit = asyncio.ensure_future(work), max(1.0, timeout)
    try:
        while not task.done():
            waited = time.monotonic() - began
            if waited >= limit:
                raise TimeoutError(f"no answer for {timeout:g} s")
            if waited >= 1.0:  # do not report a shorter wait, because it is normal
                silence(waited)
            await asyncio.wait({task}, timeout=min(1.0, limit - waited))
        return task.result()
    finally:
        task.cancel()


async def publish_file(
    kafka: Kafka,
    source: OutcomeFile,
    plan: Plan,
    target: Target,
    *,
    after: Progress | None,
    journal: Journal | None,
    timeout: float,
    progress: Callable[[str, int, int], None],
    silence: Callable[[float], None],
) -> Sent:
    """Send the file, or the part of it that was not sent before; returns what was sent.

    ``source`` is the file, ``plan`` the result of reading it once, and ``target`` the topic to send it to.  ``after``
    is how far an earlier run got, or None.  ``journal`` records the progress; without one (None) nothing is recorded.
    The run ends early when Kafka accepts nothing for ``timeout`` seconds.  ``progress`` is called with a label, the
    messages sent and their total; ``silence`` with the seconds since Kafka last accepted something.
    """
    run = _Run(kafka, source, plan, target, after, journal, silence)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    trouble, interrupted = "", False
    try:
        with reaching(kafka):
            await run.send_all(timeout, progress)
    except asyncio.CancelledError:
        task.uncancel()
        interrupted = True
    except Unavailable as error:
        cause = error.__cause__
        trouble = str(cause or error.message).rstrip(".") or type(cause).__name__
    finally:
        await run.end()
    return Sent(run.acknowledged, run.recognised, trouble, interrupted)


class _Run:
    """One attempt to publish a file."""

    def __init__(
        self,
        kafka: Kafka,
        source: OutcomeFile,
        plan: Plan,
        target: Target,
        after: Progress | None,
        journal: Journal | None,
        silence: Callable[[float], None],
    ) -> None:
        self._silence = silence
        self._kafka, self._source, self._plan, self._target = kafka, source, plan, target
        self._after, self._journal = after, journal
        self.acknowledged = after.sent if after is not None else 0
        self.recognised = 0
        self._content = after.sent_content if after is not None else Digest().text()
        self._offsets = dict(after.offsets if after is not None and not after.settled else target.ends)
        self._under_way: deque[tuple[int, str, list[asyncio.Future[Any]]]] = deque()
        self._sending = False
        """Whether part of a chunk is sent but not yet counted as in flight."""
        self._producer: AIOKafkaProducer = None

    async def send_all(self, timeout: float, progress: Callable[[str, int, int], None]) -> None:
        arrived = await self._arrived()
        digest, number = Digest(), 0
        outcomes = self._source.outcomes()
        for outcome in islice(outcomes, self.acknowledged):
            digest.add(outcome)
        number = self.acknowledged
        self._note(settled=False)
        options = connection_options(self._kafka)
        self._producer = AIOKafkaProducer(
            **options,
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            linger_ms=0,
            request_timeout_ms=max(1_000, int(timeout * 1_000)),
        )
        await self._producer.start()
        progress("publishing", number, self._plan.messages)
        left = islice(outcomes, self._plan.messages - number)
        while chunk := list(islice(left, CHUNK)):
            self._sending = True
            futures = await self._in_time(self._send(chunk, arrived), timeout)
            for outcome in chunk:
                digest.add(outcome)
            number += len(chunk)
            self._under_way.append((number, digest.text(), futures))
            self._sending = False
            while len(self._under_way) >= CHUNKS:
                await self._settle(timeout)
            progress("publishing", number, self._plan.messages)
        while self._under_way:
            await self._settle(timeout)

    async def _send(self, chunk: list[Outcome], arrived: set[tuple[bytes, str]]) -> list[asyncio.Future[Any]]:
        futures = []
        for outcome in chunk:
            identity = outcome.key, _id_of(outcome.message)
            if identity in arrived:
                arrived.discard(identity)
                self.recognised += 1
                continue
            headers = event_headers(outcome.message, outcome.key)
            futures.append(
                await self._producer.send(self._target.topic, outcome.value, key=outcome.key, headers=list(headers))
            )
        return futures

    async def _settle(self, timeout: float) -> None:
        """Wait for the oldest chunk and record that Kafka has it."""
        number, content, futures = self._under_way[0]
        if futures:
            done, _ = await self._in_time(asyncio.wait(futures), timeout)
            for future in done:
                sent = future.result()
                place = str(sent.partition)
                self._offsets[place] = max(self._offsets.get(place, 0), sent.offset + 1)
        self._under_way.popleft()
        self.acknowledged, self._content = number, content
        self._note(settled=False)

    async def _in_time(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        found = await in_time(work, time.monotonic(), timeout, self._silence)
        self._silence(0.0)
        return found

    async def end(self) -> None:
        """Wait briefly for messages in flight, record the result, and disconnect."""
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                while self._under_way:
                    await self._settle(_LAST_WORDS)
        settled = not self._under_way and not self._sending
        for _, _, futures in self._under_way:
            for future in futures:
                future.cancel()
        self._note(settled=settled)
        if self._producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._producer.stop()

    def _note(self, *, settled: bool) -> None:
        if self._journal is not None:
            self._journal.write(
                Progress(
                    file=self._plan.file,
                    target=self._target.id,
                    messages=self._plan.messages,
                    content=self._plan.content,
                    sent=self.acknowledged,
                    sent_content=self._content,
                    at=second_now(),
                    offsets={} if settled else self._offsets,
                    settled=settled,
                )
            )

    async def _arrived(self) -> set[tuple[bytes, str]]:
        """Return which messages after the journal's last one are in the log: they were in flight when a run ended."""
        if self._after is None or self._after.settled:
            return set()
        following = islice(self._source.outcomes(), self.acknowledged, self.acknowledged + WINDOW)
        wanted = {(outcome.key, _id_of(outcome.message)) for outcome in following}
        found: set[tuple[bytes, str]] = set()
        async with KafkaSession(self._kafka).reading(isolation_level=READ_UNCOMMITTED) as consumer:
            places = await places_of(consumer, [self._target.topic])
            first, end = await bounds(consumer, places)
            starts = {place: max(first[place], self._offsets.get(str(place.partition), 0)) for place in places}
            left = {place for place in places if starts[place] < end[place]}
            consumer.assign(list(left))
            for place in left:
                consumer.seek(place, starts[place])
            while left and len(found) < len(wanted):
                for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                    found |= {identity for r in records if (identity := _identity_of(r.key, r.value)) in wanted}
                left = {place for place in left if await consumer.position(place) < end[place]}
        return found


class _Ids(msgspec.Struct, gc=False):
    invocation_id: str
    feedback_id: str | None = None


_ids_of: Final = msgspec.json.Decoder(_Ids).decode


def _id_of(message: Any) -> str:
    return str(getattr(message, "feedback_id", None) or message.invocation_id)


def _identity_of(key: bytes | None, value: bytes | None) -> tuple[bytes, str]:
    try:
        ids = _ids_of(value or b"")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return b"", ""
    return key or b"", ids.feedback_id or ids.invocation_id
