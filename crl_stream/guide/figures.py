"""Keeps a store's rows, proposer state and unreported rollbacks for the next process.

They are in one SQLite file beside the telemetry files. Only the folder's writer changes rows. Any process may claim a
rollback, so each one is reported once, however many scripts query it. When a call returns, the change has reached the
operating system: it survives the end of the process, but not a power failure.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.errors import ConfigError

log = logging.getLogger(__name__)

FILE: Final = "figures.sqlite3"
LAYOUT: Final = 1
_TABLES: Final = """
    CREATE TABLE IF NOT EXISTS rows (task BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS earlier (
        task BLOB, variant TEXT, outcomes BLOB NOT NULL, PRIMARY KEY (task, variant)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS proposing (task BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS untold (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, event BLOB NOT NULL);
"""
_PATIENCE_SECONDS: Final = 5.0
_decode_event: Final = msgspec.json.Decoder(m.RollbackEvent).decode


class Contents(NamedTuple):
    """The whole content of the SQLite file, by task key."""

    rows: dict[bytes, bytes]
    earlier: dict[tuple[bytes, str], bytes]
    proposing: dict[bytes, bytes]


class Figures:
    """The SQLite file in one folder, for use by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._version = -1

    # -- reading -----------------------------------------------------------------------------------
    def read(self) -> Contents | None:
        """Return everything if it has changed since the last call; None if it has not, or if there is no file."""
        connection = self._connect(create=False)
        if connection is None:
            return None
        with self._speaking():
            [[version]] = connection.execute("PRAGMA data_version").fetchall()
            if version == self._version:
                return None
            self._version = version
            return Contents(
                dict(connection.execute("SELECT task, data FROM rows")),
                {(task, name): data for task, name, data in connection.execute("SELECT * FROM earlier")},
                dict(connection.execute("SELECT task, data FROM proposing")),
            )

    def untold(self) -> list[m.RollbackEvent]:
        """Return rollbacks that no process has claimed, oldest first."""
        connection = self._connect(create=False)
        if connection is None:
            return []
        with self._speaking():
            return [_decode_event(event) for [event] in connection.execute("SELECT event FROM untold ORDER BY number")]

    # -- changing ----------------------------------------------------------------------------------
    def write(
        self,
        task: bytes,
        row: bytes,
        earlier: dict[str, bytes | None],
        untold: Iterable[m.RollbackEvent],
    ) -> None:
        """Save the result of one step atomically.

        ``task`` is the task's key and ``row`` its packed row. ``earlier`` holds the packed older outcomes by variant
        (None deletes them), and ``untold`` the rollbacks still to be reported.
        """
        connection = self._connect(create=True)
        assert connection is not None
        with self._speaking(), connection:
            connection.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (task, row))
            for variant, outcomes in earlier.items():
                if outcomes is None:
                    connection.execute("DELETE FROM earlier WHERE task = ? AND variant = ?", (task, variant))
                else:
                    connection.execute("INSERT OR REPLACE INTO earlier VALUES (?, ?, ?)", (task, variant, outcomes))
            for event in untold:
                connection.execute(
                    "INSERT OR IGNORE INTO untold (id, event) VALUES (?, ?)",
                    (event.rollback_id, msgspec.json.encode(event)),
                )

    def write_proposing(self, task: bytes, row: bytes) -> None:
        """Save the proposer's state of a task."""
        connection = self._connect(create=True)
        assert connection is not None
        with self._speaking(), connection:
            connection.execute("INSERT OR REPLACE INTO proposing VALUES (?, ?)", (task, row))

    def claim(self, rollback_id: str) -> bool:
        """Claim a rollback in order to report it; return False if another process has claimed it."""
        connection = self._connect(create=False)
        if connection is None:
            return False
        with self._speaking(), connection:
            return connection.execute("DELETE FROM untold WHERE id = ?", (rollback_id,)).rowcount == 1

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- the file ----------------------------------------------------------------------------------
    def _connect(self, *, create: bool) -> sqlite3.Connection | None:
        if self._connection is None:
            if not create and not self.path.exists():
                return None
            with self._speaking():
                self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = self._checked_file()
        if connection is None:
            aside = self.path.with_suffix(f".damaged-{time.time_ns() // 1_000_000}")
            self.path.rename(aside)
            log.warning("%s cannot be read and was moved to %s; windows and Q-values start over", self.path, aside)
            connection = self._checked_file()
            assert connection is not None
        return connection

    def _checked_file(self) -> sqlite3.Connection | None:
        """Open the file and create missing tables; return None if the file is damaged or not ours."""
        connection = sqlite3.connect(self.path, timeout=_PATIENCE_SECONDS, check_same_thread=False)
        try:
            # Reuse the journal file instead of deleting it after each change. No sync: see the module's docstring.
            connection.execute("PRAGMA journal_mode = PERSIST")
            connection.execute("PRAGMA synchronous = OFF")
            [[layout]] = connection.execute("PRAGMA user_version").fetchall()
            if layout not in (0, LAYOUT):
                connection.close()
                return None
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        except sqlite3.DatabaseError as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            return None
        return connection

    def _speaking(self) -> _Speaking:
        return _Speaking(self.path)


class _Speaking:
    """Turns SQLite errors into readable sentences."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise ``ConfigError`` instead of a database error."""
        if isinstance(error, sqlite3.Error):
            raise ConfigError(
                f"{self.path} cannot be used: {error}.",
                hint="free some space, end the process that locks the file, or set telemetry.folder to another folder",
            ) from error
