"""Sends the messages in the outbox for as long as its client exists.

One producer is used as long as it works: it is idempotent and resends unacknowledged messages, so an outage duplicates
nothing. The producer is discarded if it cannot continue: its sender has ended, its state at the broker is gone, or the
broker has moved. Messages in flight are then resent through a new one, and the monitor recognises duplicates by their
invocation_id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import BrokerResponseError, KafkaConnectionError, KafkaError

from crl_stream.client.address import kafka_of, reason_of
from crl_stream.client.event_loop import LEAVING
from crl_stream.client.outbox import Item, Outbox
from crl_stream.client.troubles import Troubles, utc_now
from crl_stream.kafka.connection import connection_options, wait_through_outages
from crl_stream.wire.partitioner import partition_of

if TYPE_CHECKING:
    from crl_stream.settings.runtime_sections import RuntimeSettings

REQUEST_SECONDS: Final = 10.0
"""Seconds after which an unanswered request is repeated."""
CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 3.0
"""Seconds without an acknowledgement after which the silence is reported and the address is checked."""
STUCK_SECONDS: Final = 10.0
"""Seconds of silence after which a new connection is tried; it replaces the old one if the silence continues."""
_LOOK_SECONDS: Final = 1.0
_DISCARD_SECONDS: Final = 2.0
_BATCH_BYTES: Final = 262_144
_REFUSED: Final = frozenset({2, 10, 18, 32, 43, 44, 87})
"""Broker error codes for a record or batch that will never be accepted: corrupt, message too large, batch too large,
bad timestamp, unsupported format, policy violation, invalid record."""


class Sending:
    """Sends waiting messages; each attempt lasts until something fails."""

    def __init__(self, settings: RuntimeSettings, topic: str, outbox: Outbox, troubles: Troubles) -> None:
        self.settings, self._topic, self._outbox, self._troubles = settings, topic, outbox, troubles
        self.connected_since: str | None = None
        """The time since which Kafka has been accepting messages; None while it does not."""
        self.trouble = ""
        """The reason for the last failed attempt to send; empty if none has failed."""
        self._awake: asyncio.Event | None = None
        self._discarding: set[asyncio.Future[Any]] = set()
        self._spare: AIOKafkaProducer | None = None
        self._alone: set[bytes] = set()
        """Values of messages from refused batches; each is resent in a batch of its own."""
        self._heard = 0.0

    def awake(self) -> None:
        """Wake the sender because a message is waiting; called in the event loop."""
        if self._awake is not None:
            self._awake.set()

    def failed(self, error: BaseException) -> None:
        """Record that an attempt to send has failed."""
        self._silent(reason_of(error))

    async def attempt(self) -> None:
        """Connect and send until something fails."""
        self._awake = asyncio.Event()
        address = kafka_of(self.settings).bootstrap_servers
        producer, self._spare = self._spare or await self._connected(), None
        try:
            self._goes_on()
            while True:
                items = self._outbox.take()
                if not items:
                    await self._awake.wait()
                    self._awake.clear()
                elif not await self._send(producer, address, items):
                    # A refused batch has left a gap in the producer's sequence numbers, so a new producer is needed.
                    self._discard(producer)
                    producer = await self._connected()
        finally:
            self.connected_since = None
            self._discard(producer)

    # -- a connection ------------------------------------------------------------------------------
    async def _connected(self) -> AIOKafkaProducer:
        options = connection_options(kafka_of(self.settings))
        producer = AIOKafkaProducer(
            **options,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=round(REQUEST_SECONDS * 1_000),
            metadata_max_age_ms=60_000,
        )
        wait_through_outages(producer)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await producer.start()
        except BaseException:
            self._discard(producer)
            raise
        return producer

    def _discard(self, producer: AIOKafkaProducer) -> None:
        """Close a producer in the background, because a broken one may take a long time to close."""

        async def discard() -> None:
            with suppress(Exception, asyncio.CancelledError):
                if (sender := producer._sender.sender_task) is not None:  # noqa: SLF001 - otherwise stopping it waits
                    sender.cancel()
                async with asyncio.timeout(_DISCARD_SECONDS):
                    await producer.stop()
            producer._closed = True  # noqa: SLF001 - it sets this itself only if stopping succeeded

        task = asyncio.get_running_loop().create_task(discard(), name=LEAVING)
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    # -- sending -----------------------------------------------------------------------------------
    async def _send(self, producer: AIOKafkaProducer, address: str, items: list[Item]) -> bool:
        """Send one round of messages and wait until Kafka has all of them; return False if Kafka refused a batch.

        If sending fails, all messages that are not known to have arrived return to the outbox.
        """
        flight = _Flight(self._outbox, items)
        self._heard = time.monotonic()
        work: list[asyncio.Future[Any]] = []
        try:
            partitions = sorted(await self._in_time(producer, address, producer.partitions_for(self._topic)))
            of_partition: dict[int, list[int]] = {}
            for number, item in enumerate(items):
                of_partition.setdefault(partitions[partition_of(item.key, len(partitions))], []).append(number)
            for partition, numbers in of_partition.items():
                work.append(asyncio.ensure_future(self._send_to(producer, partition, numbers, flight)))
            await self._in_time(producer, address, asyncio.gather(*work))
        finally:
            for task in work:
                task.cancel()
            flight.end()
        self._goes_on()
        return not flight.refusals

    async def _send_to(
        self, producer: AIOKafkaProducer, partition: int, numbers: Sequence[int], flight: _Flight
    ) -> None:
        handed: list[tuple[asyncio.Future[Any], list[int]]] = []

        async def hand_over(builder: Any, batch: list[int]) -> None:
            if batch:
                handed.append((await producer.send_batch(builder, self._topic, partition=partition), batch))

        batch: list[int] = []
        builder = producer.create_batch()
        for number in numbers:
            item = flight.left[number]
            alone = item.value in self._alone
            taken = None
            if not (alone and batch):
                taken = builder.append(timestamp=None, key=item.key, value=item.value, headers=item.headers)
            if taken is None:
                await hand_over(builder, batch)
                builder, batch = producer.create_batch(), []
                builder.append(timestamp=None, key=item.key, value=item.value, headers=item.headers)
            batch.append(number)
            if alone:
                await hand_over(builder, batch)
                builder, batch = producer.create_batch(), []
        await hand_over(builder, batch)
        for acknowledged, sent in handed:
            try:
                await acknowledged
            except BrokerResponseError as error:
                if error.errno not in _REFUSED:
                    raise
                self._refused(flight, sent, error)
                return
            self._heard = time.monotonic()
            if self._alone:
                self._alone.difference_update(flight.left[number].value for number in sent)
            flight.arrived(sent)

    def _refused(self, flight: _Flight, numbers: list[int], error: BrokerResponseError) -> None:
        """Handle a batch that Kafka will never accept: send each message separately to find the bad one."""
        flight.refusals += 1
        if len(numbers) > 1:
            self._alone.update(flight.left[number].value for number in numbers)
            return
        [number] = numbers
        self._alone.discard(flight.left[number].value)
        self._troubles.say(
            "refused", f"Kafka has refused an outcome of {flight.left[number].key.decode()}: {reason_of(error)}"
        )
        flight.refused(numbers)

    async def _in_time(self, producer: AIOKafkaProducer, address: str, work: Awaitable[Any]) -> Any:
        """Return the result of ``work``; raise an error if the producer will never complete it."""
        task = asyncio.ensure_future(work)
        try:
            probed = self._heard
            while True:
                await asyncio.wait({task}, timeout=_LOOK_SECONDS)
                if task.done():
                    return task.result()
                if producer._sender.sender_task.done():  # noqa: SLF001 - the sender ends without failing what waits for it
                    raise KafkaConnectionError("aiokafka's sender has ended")
                silent = time.monotonic() - self._heard
                if silent >= SILENT_SECONDS:
                    self._silent(f"no acknowledgement for {silent:.0f} s")
                    with suppress(KafkaConnectionError):
                        if kafka_of(self.settings).bootstrap_servers != address:
                            raise _Moved("the broker's address has changed")
                if silent >= STUCK_SECONDS and time.monotonic() - probed >= STUCK_SECONDS:
                    probed = time.monotonic()
                    await self._look_for_a_better_way(task)
        finally:
            task.cancel()

    async def _look_for_a_better_way(self, task: asyncio.Future[Any]) -> None:
        """Try a new connection, because a cut-off producer never learns that the advertised address has changed."""
        try:
            found = await self._connected()
        except (KafkaError, OSError, TimeoutError):
            return
        # Kafka is reachable. Give the producer's own retries time to succeed, so that nothing is sent twice.
        await asyncio.wait({task}, timeout=SILENT_SECONDS)
        if task.done():
            self._discard(found)
            return
        self._spare = found
        raise KafkaConnectionError("a new connection works, but nothing is acknowledged over the old one")

    def _goes_on(self) -> None:
        if self.connected_since is None:
            self.connected_since = utc_now()
            self._troubles.over("kafka", "Kafka accepts outcomes again")

    def _silent(self, why: str) -> None:
        self.connected_since, self.trouble = None, why
        self._troubles.say("kafka", f"Kafka does not answer: {why}; outcomes wait in memory")


class _Moved(Exception):
    """Raised when the broker's address has changed."""


class _Flight:
    """The messages of one round that Kafka has neither accepted nor refused, by number."""

    def __init__(self, outbox: Outbox, items: Sequence[Item]) -> None:
        self._outbox = outbox
        self.left = dict(enumerate(items))
        self.refusals = 0

    def arrived(self, numbers: Iterable[int]) -> None:
        """Settle messages that Kafka has accepted."""
        self._outbox.settle(sent=self._remove(numbers))

    def refused(self, numbers: Iterable[int]) -> None:
        """Settle messages that Kafka will never accept."""
        self._outbox.settle(rejected=self._remove(numbers))

    def end(self) -> None:
        """Return the unsettled messages to the outbox."""
        if self.left:
            self._outbox.put_back(self.left.values())

    def _remove(self, numbers: Iterable[int]) -> int:
        return sum(self.left.pop(number, None) is not None for number in numbers)
