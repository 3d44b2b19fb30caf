"""How a client is, for the health check of the agent that it serves."""

from __future__ import annotations

from typing import NamedTuple


class Health(NamedTuple):
    """Every field is a JSON value: ``json.dumps(client.health()._asdict())``.  Times are RFC 3339 in UTC."""

    runtime_id: str
    connected: bool
    """Whether Kafka takes outcomes."""
    connected_since: str | None
    following: bool
    """Whether rollbacks are heard of; otherwise what is known is used (``tasks``), or the default of each call."""
    following_since: str | None
    tasks: int
    """Tasks whose active variant is known."""
    sent: int
    queued: int
    dropped: int
    """Outcomes that were lost: too many waited, or Kafka did not take them before the end."""
    rejected: int
    """Outcomes that were refused."""
    abandoned: int
    """Invocations that were ended from outside; they say nothing about the variant and are not published."""
    restarts: int
    """How often following was begun again."""
    trouble: str
    """The last thing that went wrong; empty when nothing has."""
    trouble_at: str | None
