"""How a notice may fail to be delivered."""

from __future__ import annotations


class Undelivered(Exception):
    """Not now; it is tried again.  The text is shown to people: nothing secret is in it."""

    def __init__(self, reason: str, *, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds that the receiver asked to wait."""


class Refused(Undelivered):
    """The receiver does not want this very notice; the next one may pass."""
