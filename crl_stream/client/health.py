"""A client's health, for its agent's health check."""

from __future__ import annotations

from typing import NamedTuple


class Health(NamedTuple):
    """The state of a client.

    Every field is a JSON value: ``json.dumps(client.health()._asdict())``. Times are RFC 3339 in UTC.
    """

    runtime_id: str
    connected: bool
    """Whether Kafka accepts outcomes."""
    connected_since: str | None
    following: bool
    """Whether the client follows changes of active variants.

    If not, the last known variants are used, or each call's default.
    """
    following_since: str | None
    tasks: int
    """Number of tasks whose active variant is known."""
    sent: int
    queued: int
    dropped: int
    """Number of outcomes lost because too many were waiting, or Kafka did not accept them before the client closed."""
    rejected: int
    """Number of outcomes that were invalid or that Kafka refused."""
    abandoned: int
    """Number of invocations ended from outside: they say nothing about the variant and are not published."""
    restarts: int
    """Number of times that the client had to start again to follow changes of active variants."""
    trouble: str
    """The client's last problem; empty if there was none."""
    trouble_at: str | None
