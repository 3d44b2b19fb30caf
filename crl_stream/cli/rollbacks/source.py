"""The rollbacks on the topic, for every command that needs them."""

from __future__ import annotations

from crl_stream.core.drills import is_drill
from crl_stream.core.messages import RollbackEvent
from crl_stream.errors import NotFound
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.wire.topics import ROLLBACKS


async def find_rollback(access: Access, rollback_id: str) -> RollbackEvent:
    """Return the rollback with this id; raises ``NotFound`` if there is none."""
    found = None
    async for received in TopicReader(access).each(ROLLBACKS):
        if isinstance(received.message, RollbackEvent) and received.message.rollback_id == rollback_id:
            found = received.message
    if found is None:
        raise NotFound(f"There is no rollback {rollback_id}.", hint="`crl rollbacks` lists the ids")
    return found


async def newest_rollbacks(access: Access, agent: str | None, limit: int) -> list[RollbackEvent]:
    """Return the newest ``limit`` rollbacks of one agent, or of all agents except the drill agent, newest first."""
    # After a crash, a rollback may appear twice, with the same id and bytes.
    found: dict[str, RollbackEvent] = {}
    async for received in TopicReader(access).each(ROLLBACKS):
        event = received.message
        if not isinstance(event, RollbackEvent) or (agent is None and is_drill(event.agent_name)):
            continue
        if agent in {None, event.agent_name}:
            found[event.rollback_id] = event
            if len(found) > 2 * limit:
                found = {e.rollback_id: e for e in _sorted(found)[:limit]}
    return _sorted(found)[:limit]


def _sorted(found: dict[str, RollbackEvent]) -> list[RollbackEvent]:
    return sorted(found.values(), key=lambda e: (e.timestamp, e.rollback_id), reverse=True)
