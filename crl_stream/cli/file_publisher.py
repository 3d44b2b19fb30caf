"""Sends the messages of a file in their order, knows what Kafka has acknowledged, and goes on where a run ended.

Some hundred messages are under way at any time.  After a run that ended in the middle, those are looked for at the end
of the log before anything is sent: so nothing is doubled, however it ended.
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
"""Messages that are waited for together."""
CHUNKS: Final = 4
WINDOW: Final = CHUNK * (CHUNKS + 2)
"""Messages that may have been sent beyond what a journal says."""
_BATCH_BYTES: Final = 256 * 1_024
CONNECT_SECONDS: Final = 5.0
"""What connecting may take at least, whatever the limit for sending is."""
_LAST_WORDS: Final = 5.0
"""Seconds that an interrupted run waits for what is under way."""
_POLL_MS: Final = 300
T = TypeVar("T")


class Plan(NamedTuple):
    """A file that was read once, and found good."""

    file: str
    messages: int
    content: str


class Target(NamedTuple):
    """Where it goes."""

    id: str
    topic: str
    ends: dict[str, int]
    """By partition, before the first message."""


class Sent(NamedTuple):
    """What a run has come to."""

    sent: int
    """Acknowledged messages of the file from the first on, this run's and earlier ones'."""
    recognised: int
    """How many of them were found in the log, where an earlier run had ended."""
    trouble: str
    """Why it ended early; empty when it did not."""
    interrupted: bool = False


class Digest:
    """Hash of messages one after the other, whatever white space or packing is around them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, outcome: Outcome) -> None:
        """Take the next message in."""
        self._hash.update(outcome.value)
        self._hash.update(b"\n")

    def text(self) -> str:
        """Counts of everything that was taken in."""
        return self._hash.copy().hexdigest()


async def find_target(kafka: Kafka, timeout: float, silence: Callable[[float], None]) -> Target:
    """The topic of outcomes; ``Unavailable`` when Kafka has not answered after ``timeout`` seconds.

    ``silence`` hears for how many seconds it has not.
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
    """The result of ``work``; ``TimeoutError`` when there is none ``timeout`` seconds, at least one, after ``began``.

    ``silence`` hears for how long it has been waited for.
    """
    task, limit = asyncio.ensure_future(work), max(1.0, timeout)
    try:
        while not task.done():
            waited = time.monotonic() - began
            if waited >= limit:
                raise TimeoutError(f"no answer for {timeout:g} s")
            if waited >= 1.0:  # a first moment without an answer says nothing
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
    """Send all of it, or what ``after`` leaves; ends early when Kafka takes nothing for ``timeout`` seconds.

    ``silence`` hears for how many seconds it has taken nothing.
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
    """One attempt."""

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
        """Whether some of a chunk are sent and are not among those under way yet."""
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
        """Wait for the oldest chunk, and note that Kafka has it."""
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
        """Wait a little for what is under way, note what came of it, and let go of Kafka."""
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
        """Which of the messages behind the journal's are in the log: those that were under way when a run ended."""
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
