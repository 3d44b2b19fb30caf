"""What a worker says while it reads a changelog: it may take a minute, and the tasks wait for it."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 5.0


class RecoveryProgress:
    """Counts the records of one recovery after another, of one table."""

    def __init__(self, changelog: str) -> None:
        self.changelog = changelog
        self.records = 0
        self._began = self._said = 0.0

    def begin(self) -> None:
        """Partitions have come."""
        self._began = self._said = monotonic()

    def add(self, records: int, remaining: int) -> None:
        """So many more were read, ``remaining`` are still to come."""
        now = monotonic()
        self.records += records
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            log.info("%s: %d records recovered, %d to come", self.changelog, self.records, remaining)

    def end(self) -> None:
        """The recovery is over."""
        if self.records:
            taken = monotonic() - self._began
            log.info("%s: %d changelog records recovered in %.2f s", self.changelog, self.records, taken)
        self.records = 0
