"""What a worker says while it reads a changelog: it may take a minute, and the tasks wait for it."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Final

from crl_stream.errors import Unsafe

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 5.0
STANDSTILL_SECONDS: Final = 60.0
"""Without a record of a changelog that has more of them: nothing will come any more, or the broker is away."""


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


class RecoveryWatch:
    """Ends a recovery that stands still: a worker that waits for ever looks like one that has much to read."""

    def __init__(self) -> None:
        self._moved: float | None = None

    def progress(self) -> None:
        """Records have come."""
        self._moved = None

    def check(self, app: Any) -> None:
        """``Unsafe`` when a recovery needs records, and none has come for ``STANDSTILL_SECONDS``."""
        now = monotonic()
        if not (app.in_recovery and app.tables.recovery.need_recovery()):
            self._moved = None
        elif self._moved is None:
            self._moved = now
        elif now - self._moved > STANDSTILL_SECONDS:
            raise Unsafe(
                f"the recovery has had no record for {STANDSTILL_SECONDS:.0f} s, and some are missing",
                hint="see whether the broker answers; a restart begins the recovery anew",
            )
