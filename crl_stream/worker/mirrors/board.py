"""Everything that the mirror knows: its records, and what the topics say about tasks and commands."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.mirrors import PromptStore
from crl_stream.core.mirroring.refs import parse_ref
from crl_stream.core.mirroring.wants import Wanted, wants
from crl_stream.stages.mirror import MirrorRecord, mirror_key
from crl_stream.wire.topics import TOPIC_OF

ANSWERS: Final = 1_000
"""How many results of commands are kept; only commands of the last minutes wait for one."""
_STORES: Final[tuple[PromptStore, ...]] = ("langfuse", "mlflow")


class Board:
    """What is known in this process; nothing here is lost if the process ends."""

    def __init__(self) -> None:
        self.records: dict[bytes, MirrorRecord] = {}
        """The newest record of each key."""
        self.stale: set[bytes] = set()
        """Keys whose last record on the topic is not the newest: a process that was paused has written late."""
        self._offsets: dict[bytes, int] = {}
        self.actives: dict[TaskKey, m.ActiveVariant] = {}
        self.catalogues: dict[TaskKey, m.VariantCatalogue] = {}
        self.answers: dict[str, m.CommandResult] = {}
        self.ready = asyncio.Event()
        """Set once the topics have been read to their end."""
        self.changed: dict[PromptStore, set[TaskKey]] = defaultdict(set)
        """Tasks with news, by store."""
        self.woken: dict[PromptStore, asyncio.Event] = {store: asyncio.Event() for store in _STORES}
        self._wants: dict[PromptStore, dict[TaskKey, Wanted]] = {}

    # -- records of the mirror ---------------------------------------------------------------------
    def take_record(self, record: MirrorRecord, offset: int) -> None:
        """Take a record that was read or written at ``offset`` of the mirror's topic."""
        key = mirror_key(record)
        known, at = self.records.get(key), self._offsets.get(key, -1)
        if known is None or record.revision >= known.revision:
            self.records[key] = record
            self._offsets[key] = max(at, offset)
            self.stale.discard(key)
        elif offset > at:
            self.stale.add(key)

    def label(self, store: PromptStore, key: TaskKey) -> m.MirrorLabel | None:
        """Return the record of a task's label."""
        found = self.records.get(f"{store}:{key}".encode())
        return found if isinstance(found, m.MirrorLabel) else None

    def store(self, store: PromptStore) -> m.MirrorStore | None:
        """Return the record of a store."""
        found = self.records.get(store.encode())
        return found if isinstance(found, m.MirrorStore) else None

    # -- what the topics say -----------------------------------------------------------------------
    def take(self, topic: str, message: Any) -> None:
        """Take a message; older ones than those that are known change nothing, so the order does not matter."""
        if topic == TOPIC_OF[m.CommandResult]:
            self._take_answer(message)
            return
        key = TaskKey(message.agent_name, message.task_type)
        before = self.catalogues.get(key)
        if isinstance(message, m.ActiveVariant):
            known = self.actives.get(key)
            if known is not None and _place(message) <= _place(known):
                return
            self.actives[key] = message
            if known is not None and (known.incarnation, known.epoch) == (message.incarnation, message.epoch):
                return  # only weights, pins or holds have changed
        elif isinstance(message, m.VariantCatalogue):
            if before is not None and _catalogue_place(message) <= _catalogue_place(before):
                return
            self.catalogues[key] = _slim(message)
        after = self.catalogues.get(key)
        # Most tasks of a fleet may have no prompt in a store, and their changes must cost nothing.
        if (before is not None and before.variants) or (after is not None and after.variants):
            self._wants.clear()
            self._wake(key)

    def _take_answer(self, message: Any) -> None:
        if not isinstance(message, m.CommandResult) or message.agent_name is None or message.task_type is None:
            return
        if message.command != m.ActivateVariant.__name__:
            return
        self.answers[message.command_id] = message
        if len(self.answers) > ANSWERS:
            del self.answers[next(iter(self.answers))]
        self._wake(TaskKey(message.agent_name, message.task_type))

    def _wake(self, key: TaskKey) -> None:
        for store, event in self.woken.items():
            self.changed[store].add(key)
            event.set()

    def wanted(self, store: PromptStore, label: str) -> dict[TaskKey, Wanted]:
        """Return what is wanted of each label of a store."""
        if store not in self._wants:
            self._wants[store] = wants(store, label, self.actives, self.catalogues)
        return self._wants[store]

    def unanswered(self) -> dict[TaskKey, str]:
        """Return the tasks with commands that are not answered yet."""
        asked = [record for record in self.records.values() if isinstance(record, m.MirrorLabel) and record.asked]
        return {
            TaskKey(record.agent_name, record.task_type): record.asked.command_id for record in asked if record.asked
        }


def _slim(catalogue: m.VariantCatalogue) -> m.VariantCatalogue:
    """Return only what the mirror needs, because configurations may be large; no variants if none is in a store."""
    if all(parse_ref(variant.ref) is None for variant in catalogue.variants):
        return msgspec.structs.replace(catalogue, variants=[])
    variants = [
        m.RegisteredVariant(variant_id=one.variant_id, state=one.state, quarantined=one.quarantined, ref=one.ref)
        for one in catalogue.variants
    ]
    return msgspec.structs.replace(catalogue, variants=variants)


def _place(active: m.ActiveVariant) -> tuple[int, int, int]:
    return active.incarnation, active.epoch, active.position.offset


def _catalogue_place(catalogue: m.VariantCatalogue) -> tuple[int, int]:
    return catalogue.incarnation, catalogue.position.offset
