"""Reads what became of rollbacks from ``crl.commands`` and ``crl.decisions``."""

from __future__ import annotations

from collections.abc import Iterable

from crl_stream.core.messages import ConfirmRollback, RollbackEvent
from crl_stream.dashboard.fates import FATEFUL, Event, fates_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.wire.topics import COMMANDS, DECISIONS


async def read_fates(access: Access, events: Iterable[RollbackEvent]) -> dict[str, list[Event]]:
    """Return the events by rollback_id, oldest first, from ``crl.commands`` and ``crl.decisions``."""
    events = list(events)
    wanted = {event.rollback_id for event in events}
    confirmations: dict[str, str] = {}
    async with TopicReader(access) as reader:
        async for received in reader.each(COMMANDS):
            command = received.message
            if isinstance(command, ConfirmRollback) and command.rollback_id in wanted:
                confirmations[command.command_id] = command.rollback_id
        facts = [received.message async for received in reader.each(DECISIONS) if isinstance(received.message, FATEFUL)]
    return fates_of(events, facts, confirmations)
