"""The ways in which a delivery can fail."""

from __future__ import annotations


class Undelivered(Exception):
    """A temporary failure; the notice is tried again. The text is shown to people and must not contain secrets."""

    def __init__(self, reason: str, *, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds that the receiver asked to wait."""


class Refused(Undelivered):
    """The receiver rejects this particular notice; the next one may be accepted."""
