"""Says which variant to use: from memory, at once, whatever the state of Kafka.

Follows ``crl.active-variants`` and ``crl.variants`` in the background.  Of two records of a task it keeps the one with
the highest (incarnation, epoch, offset), so that a late or repeated record changes nothing.  What was known before,
from a file or from before a lost connection, is used until both topics were read to their ends, and then gives way
whatever its epoch: it may be of a cluster that was made anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from crl_stream.client.address import kafka_of
from crl_stream.client.background import Background
from crl_stream.client.keeping import keep, read_kept
from crl_stream.connection import connection_options, partitions_of
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.inputs import VariantSource
from crl_stream.log_consumer import LogConsumer
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.codec import Rejected, decode
from crl_stream.wire.topics import ACTIVE_VARIANTS, VARIANTS, Topics

log = logging.getLogger(__name__)

STALE_SECONDS: Final = 30.0
"""Without an answer from Kafka for this long, what is known is called stale."""
_POLL_SECONDS: Final = 1.0
_PAUSE: Final = 1.0
_SAVE_SECONDS: Final = 5.0


class Resolution(NamedTuple):
    """Which variant to use for one invocation."""

    variant_id: str
    epoch: int | None
    """Of the active-variant record; give it back in the outcome as ``active_epoch``."""
    source: VariantSource
    configuration: m.RegisteredVariant | None
    """What was registered for the variant: parent, model, temperature, modifications."""


class Resolver:
    """Follows the active variants.  Thread-safe; ``resolve`` never waits."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        rng: random.Random | None = None,
        exploration: float | None = None,
    ) -> None:
        self.settings = settings or load_settings()
        self.exploration = exploration
        """Share of invocations that explore; None follows the task's policy."""
        self._rng = rng or random.Random()
        self._topics = Topics(self.settings.kafka.topic_prefix)
        self._active: dict[TaskKey, m.ActiveVariant] = {}
        self._known: dict[TaskKey, m.VariantCatalogue] = {}
        self._from_file: set[TaskKey] = set()
        self._heard = 0.0
        self._caught_up = threading.Event()
        self._changed = threading.Condition()
        self._listeners: list[Callable[[m.ActiveVariant], None]] = []
        self._unsaved = False
        self._load()
        self._background = Background("crl-resolver", self._run)
        self._background.start()

    def __enter__(self) -> Self:
        """Start has happened already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop following."""
        self.close()

    def resolve(self, agent_name: str, task_type: str, default: str | None = None) -> Resolution | None:
        """The variant for the next invocation; None when nothing is known of the task and there is no default."""
        key = TaskKey(agent_name, task_type)
        active = self._active.get(key)
        if active is None:
            return None if default is None else Resolution(default, None, "default", self._configuration(key, default))
        share = active.exploration if self.exploration is None else self.exploration
        if share > 0.0 and self._rng.random() < share and (others := self._explorable(key, active)):
            chosen = self._rng.choice(others)
            return Resolution(chosen, active.epoch, "explore", self._configuration(key, chosen))
        return Resolution(
            active.variant_id, active.epoch, self._source(key), self._configuration(key, active.variant_id)
        )

    def wait_until_ready(self, timeout: float = 10.0) -> bool:
        """Wait until all that was published before is known; False when Kafka did not answer in time."""
        return self._caught_up.wait(timeout)

    def wait_for_epoch(self, agent_name: str, task_type: str, epoch: int, timeout: float = 10.0) -> bool:
        """Wait until the task's active variant is of ``epoch`` or later."""
        key = TaskKey(agent_name, task_type)
        with self._changed:
            return self._changed.wait_for(
                lambda: (active := self._active.get(key)) is not None and active.epoch >= epoch, timeout
            )

    def on_change(self, listener: Callable[[m.ActiveVariant], None]) -> None:
        """Call ``listener`` with every new active variant, in the resolver's thread; it must not block."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Stop following; what is known stays."""
        self._background.stop()
        self._save()

    # -- looking up --------------------------------------------------------------------------------
    def _source(self, key: TaskKey) -> VariantSource:
        if key in self._from_file:
            return "file"
        return "live" if time.monotonic() - self._heard < STALE_SECONDS else "stale"

    def _configuration(self, key: TaskKey, variant_id: str) -> m.RegisteredVariant | None:
        known = self._known.get(key)
        return next((v for v in known.variants if v.variant_id == variant_id), None) if known is not None else None

    def _explorable(self, key: TaskKey, active: m.ActiveVariant) -> list[str]:
        known = self._known.get(key)
        if known is None:
            return []
        barred = {active.variant_id, *active.quarantined}
        return [
            v.variant_id
            for v in known.variants
            if v.variant_id not in barred and v.state != "retired" and not v.quarantined
        ]

    # -- following ---------------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                log.warning("Kafka does not answer (%s); the last known variants are used", error)
                await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        names = {self._topics(name): name for name in (ACTIVE_VARIANTS, VARIANTS)}
        consumer = LogConsumer(**connection_options(kafka_of(self.settings)), auto_offset_reset="earliest")
        saving = asyncio.ensure_future(asyncio.sleep(0))
        try:
            await consumer.start()
            places = await self._places(consumer, names)
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            view, saved, answered, heard = _View({}, {}), 0.0, 0, time.monotonic()
            while True:
                if ends and all([await consumer.position(p) >= end for p, end in ends.items()]):
                    ends = {}
                    self._show(view)
                polled = await consumer.getmany(timeout_ms=round(_POLL_SECONDS * 1_000))
                for place, records in polled.items():
                    for record in records:
                        taken = _take(view, names[place.topic], record)
                        if not ends and taken is not None:
                            self._tell(taken)
                if (latest := _answered(consumer, places)) != answered:
                    answered, heard = latest, time.monotonic()
                    self._heard = heard
                elif time.monotonic() - heard >= STALE_SECONDS:
                    # Whatever comes back may be another cluster: read it from its beginning.
                    raise KafkaConnectionError(f"no answer for {STALE_SECONDS:.0f} s")
                if not ends and saving.done() and time.monotonic() - saved >= _SAVE_SECONDS:
                    # Elsewhere: thousands of tasks take longer to write than a rollback may wait to be heard of.
                    saving, saved = asyncio.ensure_future(asyncio.to_thread(self._save)), time.monotonic()
        finally:
            await saving
            await consumer.stop()

    async def _places(self, consumer: AIOKafkaConsumer, names: dict[str, str]) -> list[TopicPartition]:
        while True:
            there = await partitions_of(consumer, names)
            if there.keys() == names.keys():
                return [TopicPartition(name, p) for name in names for p in there[name]]
            log.warning("the topics do not exist yet: run `crl topics apply`")
            await asyncio.sleep(_PAUSE)

    def _show(self, view: _View) -> None:
        """What was read is complete: it takes the place of what was known before."""
        before = self._active
        with self._changed:
            self._active, self._known, self._from_file = view.active, view.known, set()
            self._heard, self._unsaved = time.monotonic(), True
            self._caught_up.set()
            self._changed.notify_all()
        for key, message in view.active.items():
            if before.get(key) != message:
                self._call_listeners(message)

    def _tell(self, message: m.ActiveVariant | m.VariantCatalogue) -> None:
        """A record has come that is newer than what was shown."""
        self._unsaved = True
        if isinstance(message, m.ActiveVariant):
            with self._changed:
                self._changed.notify_all()
            self._call_listeners(message)

    def _call_listeners(self, message: m.ActiveVariant) -> None:
        for listener in self._listeners:
            try:
                listener(message)
            except Exception:
                log.exception("a listener failed")

    # -- the file ----------------------------------------------------------------------------------
    def _load(self) -> None:
        stores: dict[str, dict[TaskKey, Any]] = {ACTIVE_VARIANTS: self._active, VARIANTS: self._known}
        for topic, message in read_kept(self.settings, stores):
            stores[topic][TaskKey(message.agent_name, message.task_type)] = message
        self._from_file = set(self._active)

    def _save(self) -> None:
        if self._unsaved:
            self._unsaved = False
            # Of dicts that change meanwhile; their lists are made in one step.
            active, known = list(self._active.values()), list(self._known.values())
            keep(self.settings, {ACTIVE_VARIANTS: active, VARIANTS: known})


def _answered(consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> int:
    """When Kafka last answered for every partition, 0 is never; a poll ends the same way when no broker is there."""
    return min((consumer.last_poll_timestamp(place) or 0 for place in places), default=0)


class _View(NamedTuple):
    """What both topics say, as far as they were read."""

    active: dict[TaskKey, m.ActiveVariant]
    known: dict[TaskKey, m.VariantCatalogue]


def _take(view: _View, topic: str, record: Any) -> m.ActiveVariant | m.VariantCatalogue | None:
    """Put a record into the view; None when it says nothing new."""
    decoded = decode(topic, record.value, record.key)
    if isinstance(decoded, Rejected):
        log.warning("%s has a record that is no message: %s", topic, decoded.detail)
        return None
    message: m.ActiveVariant | m.VariantCatalogue = decoded.message
    key = TaskKey(message.agent_name, message.task_type)
    store: dict[TaskKey, Any] = view.known if topic == VARIANTS else view.active
    if not _newer(message, store.get(key)):
        return None
    store[key] = message
    return message


def _newer(message: Any, known: Any) -> bool:
    if known is None:
        return True

    def place(found: Any) -> tuple[int, int, int]:
        return found.incarnation, getattr(found, "epoch", 0), found.position.offset

    return place(message) >= place(known)
