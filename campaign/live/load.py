"""The load of a round: continuous outcomes, bad records among them, and a ledger of what Kafka accepted."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from campaign.live.traffic import Draft, Traffic
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import Topics

TICK: Final = 0.05
"""Seconds between one portion of records and the next."""
IN_FLIGHT: Final = 4_000
"""Number of recent records that ``Load.newest`` keeps."""


class Sent(NamedTuple):
    """A record that the broker has acknowledged."""

    draft: Draft
    partition: int
    offset: int


class Load:
    """Sends ``rate`` records a second until it is paused; its ledger contains every record that the broker accepts."""

    def __init__(
        self, bootstrap_servers: str, names: Topics, partitions: int, rng: random.Random, ledger: Path, *, rate: int
    ) -> None:
        self.names, self.partitions, self.rate = names, partitions, rate
        self.traffic = Traffic(rng, partitions)
        self.acknowledged = 0
        self.unknown = 0
        """Number of records that were sent but never acknowledged, so they may or may not be in the log."""
        self.newest: deque[Sent] = deque(maxlen=IN_FLIGHT)
        self.last_acknowledged = 0.0
        """The time of the last acknowledgement (``time.monotonic``)."""
        self._servers = bootstrap_servers
        self._producer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._ledger = ledger.open("w", encoding="utf-8")
        self._waiting: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Connect, and begin."""
        await self._connect()
        self.go_on()

    def go_on(self) -> None:
        """Resume after a pause."""
        self._task = asyncio.create_task(self._run())

    async def pause(self) -> None:
        """Stop sending, and wait until every sent record has been acknowledged or has failed for good."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._waiting:
            await asyncio.gather(*self._waiting, return_exceptions=True)
        self._ledger.flush()
        if task is not None and not task.cancelled() and (error := task.exception()) is not None:
            raise RuntimeError(f"the load ended on its own: {error!r}") from error

    async def ended(self) -> None:
        """Raise the load's error if it ends on its own, which must not happen; wait until then."""
        while True:
            task = self._task
            if task is None:
                await asyncio.sleep(0.5)
            else:
                await asyncio.wait([task], timeout=5)
                if task.done() and not task.cancelled():
                    task.result()

    async def stop(self) -> None:
        """Stop sending for good, and close the producer."""
        with suppress(RuntimeError):
            await self.pause()
        if self._producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(self._producer.stop(), 15)
        self._ledger.close()

    async def burst(self, records: int) -> None:
        """Send this many records at once, and return when they are acknowledged."""
        # Draft the records one by one as they are sent, so that no repetition can overtake the record it repeats.
        await self._send(self.traffic.draft() for _ in range(records))
        if self._waiting:
            await asyncio.gather(*self._waiting, return_exceptions=True)

    async def send(self, *drafts: Draft) -> list[Sent]:
        """Send the given records, and wait for their acknowledgements; return those that Kafka accepted."""
        futures = await self._send(drafts)
        if futures:
            await asyncio.gather(*futures, return_exceptions=True)
        wanted = {id(draft) for draft in drafts}
        return [sent for sent in self.newest if id(sent.draft) in wanted]

    # -- sending -----------------------------------------------------------------------------------
    async def _connect(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            max_request_size=8_000_000,
        )
        await self._producer.start()

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            await self._send([self.traffic.draft() for _ in range(max(1, round(self.rate * TICK)))])
            due = max(due + TICK, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, drafts: Any) -> list[asyncio.Future[Any]]:
        futures: list[asyncio.Future[Any]] = []
        for draft in drafts:
            partition = draft.partition
            if partition is None:
                partition = partition_of(draft.key or b"", self.partitions)
            try:
                assert self._producer is not None
                topic, headers = self.names(draft.topic), list(draft.headers)
                future = await self._producer.send(
                    topic, draft.value, key=draft.key, partition=partition, headers=headers
                )
            except (KafkaError, OSError) as error:
                self.unknown += 1
                await self._recover(error)
                continue
            self._waiting.add(future)
            future.add_done_callback(lambda done, draft=draft: self._done(draft, done))
            futures.append(future)
        return futures

    def _done(self, draft: Draft, future: asyncio.Future[Any]) -> None:
        self._waiting.discard(future)
        if future.cancelled() or future.exception() is not None:
            self.unknown += 1
            return
        at = future.result()
        self.last_acknowledged = time.monotonic()
        self.note(Sent(draft, at.partition, at.offset))

    def note(self, sent: Sent) -> None:
        """Enter a record that Kafka has accepted into the ledger, even if another producer sent it."""
        self.acknowledged += 1
        self.newest.append(sent)
        draft = sent.draft
        entry = [draft.what, draft.topic, sent.partition, sent.offset, draft.task, draft.id]
        self._ledger.write(json.dumps(entry) + "\n")

    async def _recover(self, error: Exception) -> None:
        """Replace a producer that has given up on a record, because it might not keep the order of the next ones."""
        if getattr(error, "retriable", False):
            await asyncio.sleep(0.2)
        old = self._producer
        with suppress(KafkaError, OSError, TimeoutError):
            await asyncio.wait_for(old.stop(), 5)
        while True:
            try:
                await self._connect()
            except (KafkaError, OSError):
                await asyncio.sleep(0.5)
            else:
                return
