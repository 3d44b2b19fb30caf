"""A client's health, for the health check of its agent."""

from __future__ import annotations

from typing import NamedTuple


class Health(NamedTuple):
    """Every field is a JSON value: ``json.dumps(client.health()._asdict())``.  Times are RFC 3339 in UTC."""

    runtime_id: str
    connected: bool
    """Whether Kafka accepts outcomes."""
    connected_since: str | None
    following: bool
    """Whether rollbacks are followed; otherwise the known variants are used (``tasks``), or the default of each call.
    """
    following_since: str | None
    tasks: int
    """Number of tasks whose active variant is known."""
    sent: int
    queued: int
    dropped: int
    """Lost outcomes: too many were waiting, or Kafka did not accept them before the end."""
    rejected: int
    """Outcomes that were invalid or refused by Kafka."""
    abandoned: int
    """Invocations that were ended from outside. They say nothing about the variant and are not published."""
    restarts: int
    """How often following was restarted."""
    trouble: str
    """The last problem; empty if there was none."""
    trouble_at: str | None
