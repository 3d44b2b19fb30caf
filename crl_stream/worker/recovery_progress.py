"""Progress lines while a worker reads a changelog; reading may take a minute, and the worker's tasks wait meanwhile."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Final

from crl_stream.errors import Unsafe

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 5.0
STANDSTILL_SECONDS: Final = 60.0
"""How long a recovery may receive no records, while some are missing, before it counts as stuck."""


class RecoveryProgress:
    """Counts the records of each recovery of one table."""

    def __init__(self, changelog: str) -> None:
        self.changelog = changelog
        self.records = 0
        self._began = self._said = 0.0

    def begin(self) -> None:
        """Record that a recovery begins."""
        self._began = self._said = monotonic()

    def add(self, records: int, remaining: int) -> None:
        """Record that ``records`` more records were read, and ``remaining`` are still to be read."""
        now = monotonic()
        self.records += records
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            log.info("%s: %d records recovered, %d to come", self.changelog, self.records, remaining)

    def end(self) -> None:
        """Record that the recovery is over."""
        if self.records:
            taken = monotonic() - self._began
            log.info("%s: %d changelog records recovered in %.2f s", self.changelog, self.records, taken)
        self.records = 0


class RecoveryWatch:
    """Ends a recovery that is stuck: otherwise a worker that waits forever would look like one with much to read."""

    def __init__(self) -> None:
        self._moved: float | None = None

    def progress(self) -> None:
        """Record that changelog records have arrived."""
        self._moved = None

    def check(self, app: Any) -> None:
        """Raise ``Unsafe`` when a recovery needs records and none have arrived for ``STANDSTILL_SECONDS``."""
        now = monotonic()
        if not (app.in_recovery and app.tables.recovery.need_recovery()):
            self._moved = None
        elif self._moved is None:
            self._moved = now
        elif now - self._moved > STANDSTILL_SECONDS:
            raise Unsafe(
                f"the recovery has received no records for {STANDSTILL_SECONDS:.0f} s, but some are missing",
                hint="check that the broker is running; a restart repeats the recovery",
            )
