"""Remembers which rollbacks of a running installation scripts have reported, so that cron reports each once.

It is one small SQLite file in the cache folder, for all installations. If it cannot be written, the program remembers
in memory only, and logs that once.
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
"""Seconds; longer than the topic keeps a rollback."""


class Told:
    """What was reported about one installation, which is a cluster and a topic prefix."""

    def __init__(self, folder: Path, installation: str) -> None:
        self.installation = installation
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(folder / FILE, timeout=5.0, check_same_thread=False)
            self._file.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            log.warning("what was told is remembered by this process only: %s: %s", folder / FILE, error)
            self._file = sqlite3.connect(":memory:", check_same_thread=False)
            self._file.execute(_TABLE)

    def begin(self, rollback_ids: Iterable[str]) -> frozenset[str]:
        """Return the rollbacks from before scripts first asked here; if this is the first time, those given."""
        with self._lock, self._file:
            self._file.execute("DELETE FROM told WHERE at < unixepoch() - ?", (_KEPT_SECONDS,))
            [[known]] = self._file.execute(
                "SELECT count(*) FROM told WHERE installation = ?", (self.installation,)
            ).fetchall()
            if not known:
                # Mark the beginning too, because an installation without a rollback may also have been asked.
                first = [(self.installation, name) for name in ("", *rollback_ids)]
                self._file.executemany("INSERT OR IGNORE INTO told (installation, id, told) VALUES (?, ?, 0)", first)
            old = self._file.execute("SELECT id FROM told WHERE installation = ? AND told = 0", (self.installation,))
            return frozenset(name for [name] in old)

    def has(self, rollback_id: str) -> bool:
        """Return whether a script has reported it."""
        with self._lock:
            found = self._file.execute(
                "SELECT told FROM told WHERE installation = ? AND id = ?", (self.installation, rollback_id)
            ).fetchone()
            return bool(found and found[0])

    def claim(self, rollback_id: str) -> bool:
        """Claim a rollback to report it; False if another script has it."""
        with self._lock, self._file:
            changed = self._file.execute(
                "INSERT INTO told (installation, id, told) VALUES (?, ?, 1) "
                "ON CONFLICT (installation, id) DO UPDATE SET told = 1 WHERE told = 0",
                (self.installation, rollback_id),
            )
            return changed.rowcount == 1

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._file.close()
