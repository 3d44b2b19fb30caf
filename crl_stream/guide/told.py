"""Remembers which rollbacks of a running installation have been reported, so that cron jobs report each one only once.

They are in one small SQLite file in the cache folder, for all installations. If the file is not writable, the program
remembers them only in memory, and logs that once.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FILE: Final = "crl-guide-told.sqlite3"
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS told (
        installation TEXT, id TEXT, told INTEGER NOT NULL, at REAL NOT NULL DEFAULT (unixepoch()),
        PRIMARY KEY (installation, id)
    ) WITHOUT ROWID;
"""
_KEPT_SECONDS: Final = 400 * 86_400
"""Seconds that a report is remembered; longer than the topic keeps a rollback."""


class Told:
    """The rollbacks reported for one installation, that is, one cluster and topic prefix."""

    def __init__(self, folder: Path, installation: str) -> None:
        self.installation = installation
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(folder / FILE, timeout=5.0, check_same_thread=False)
            self._file.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            log.warning("reported rollbacks are remembered by this process only: %s: %s", folder / FILE, error)
            self._file = sqlite3.connect(":memory:", check_same_thread=False)
            self._file.execute(_TABLE)

    def begin(self, rollback_ids: Iterable[str]) -> frozenset[str]:
        """Return the ids of old rollbacks: those passed in the very first call for this installation."""
        with self._lock, self._file:
            self._file.execute("DELETE FROM told WHERE at < unixepoch() - ?", (_KEPT_SECONDS,))
            [[known]] = self._file.execute(
                "SELECT count(*) FROM told WHERE installation = ?", (self.installation,)
            ).fetchall()
            if not known:
                # The empty id marks the first call, even if the installation has no rollbacks yet.
                first = [(self.installation, name) for name in ("", *rollback_ids)]
                self._file.executemany("INSERT OR IGNORE INTO told (installation, id, told) VALUES (?, ?, 0)", first)
            old = self._file.execute("SELECT id FROM told WHERE installation = ? AND told = 0", (self.installation,))
            return frozenset(name for [name] in old)

    def has(self, rollback_id: str) -> bool:
        """Return whether a script has reported the rollback."""
        with self._lock:
            found = self._file.execute(
                "SELECT told FROM told WHERE installation = ? AND id = ?", (self.installation, rollback_id)
            ).fetchone()
            return bool(found and found[0])

    def claim(self, rollback_id: str) -> bool:
        """Claim a rollback in order to report it; return False if another script has claimed it."""
        with self._lock, self._file:
            changed = self._file.execute(
                "INSERT INTO told (installation, id, told) VALUES (?, ?, 1) "
                "ON CONFLICT (installation, id) DO UPDATE SET told = 1 WHERE told = 0",
                (self.installation, rollback_id),
            )
            return changed.rowcount == 1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
