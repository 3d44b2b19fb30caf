"""Spaces out the requests for records to the broker.

The broker responds as soon as it has a record, so a single record arrives at once and an idle worker rarely sends a
request.  Two requests are at least ``GATHER_SECONDS`` apart, so that under load each fetches all the records that
arrived in between.  A request for every record would cost the broker and the worker more than the records themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP

from crl_stream.kafka.log_consumer import READ_COMMITTED, read_everything, whole_ends

GATHER_SECONDS: Final = 0.004
"""The shortest interval between two requests to one broker; under load a record waits half of it on average."""
WAIT_MS: Final = 50
"""How long the broker holds a request when there are no records. A partition that the request leaves out waits that
long."""


def pace(consumer: Any) -> None:
    """Space out the requests of a started aiokafka consumer."""
    fetcher = consumer._fetcher
    fetch, sent = fetcher._proc_fetch_request, dict[int, float]()

    async def fetch_later(assignment: Any, node: int, request: Any) -> bool:
        pause = sent.get(node, -inf) + GATHER_SECONDS - monotonic()
        if pause > 0.0:
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                return False  # the partitions have moved away; aiokafka returns False then, too
        sent[node] = monotonic()
        return bool(await fetch(assignment, node, request))

    fetcher._proc_fetch_request = fetch_later


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, changed to read everything, to space out its fetches and to fetch only what is used."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = WAIT_MS
        consumer._isolation_level = READ_COMMITTED
        return consumer

    async def on_start(self) -> None:
        """Start the thread, and space out its requests."""
        await super().on_start()
        read_everything(self._consumer)
        pace(self._consumer)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit the offsets of partitions that are still assigned.

        When there are none, stock Faust makes an empty commit, which aiokafka treats as an error.
        """
        assigned = self.assignment()
        still = {tp: offset for tp, offset in offsets.items() if tp in assigned}
        return bool(still) and await super()._commit(still)

    async def whole_ends(self, partitions: list[TP]) -> dict[TP, int]:
        """Return the end of each partition, including open transactions."""
        return {TP(*place): end for place, end in (await whole_ends(self._ensure_consumer(), partitions)).items()}

    def ends_seen(self, tp: TP) -> tuple[int | None, int | None]:
        """Return a partition's ends at its last fetch: for readers of committed records, and with open transactions."""
        consumer, place = self._ensure_consumer(), TopicPartition(*tp)
        if place not in consumer.assignment():
            return None, None
        return consumer.last_stable_offset(place), consumer.highwater(place)

    async def leave_unread(self, partitions: set[TP], rebalance: int) -> None:
        """Stop fetching these partitions until the next assignment; ``rebalance`` is the one that assigned them."""
        if self.app.rebalancing_count != rebalance or self.app.in_recovery:
            return  # the next recovery has to read them
        with suppress(IllegalStateError):  # revoked meanwhile
            self._ensure_consumer().pause(*(TopicPartition(*tp) for tp in partitions))
