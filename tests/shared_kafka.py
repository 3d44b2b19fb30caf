"""One embedded Kafka for a whole test run, however many processes the run has.

Every process of the run holds a shared lock on the file ``users`` in the run's folder.  The operating system releases
the lock when the process ends, however it ends.  The first process that needs Kafka starts it, together with a guard:
this file, run as a program.  The guard waits for an exclusive lock, which it gets when the last process has gone.  It
then cleans up what a killed run has left behind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from source_tree import environment_of_this_checkout

from crl_stream.broker import EmbeddedBroker
from crl_stream.settings.model import Client

_USERS = "users"


class SharedKafka:
    """The Kafka of a run, in ``folder``.  Without a folder, this process begins the run and will also end it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._begins = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="crl-tests-"))
        self._users = (self.folder / _USERS).open("wb")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        self._broker = self._broker_in(self.folder)
        self._guard: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _broker_in(folder: Path) -> EmbeddedBroker:
        broker = EmbeddedBroker(folder / "kafka", Client().cache_dir)
        broker.ephemeral = True  # the broker takes any free port and has temporary data, but the folder is ours
        return broker

    def address(self) -> str:
        """Return Kafka's address, and start Kafka if no process of the run has needed it yet."""
        with (self.folder / "start").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (running := self._broker.status()) is None:
                self._guard = self._start_guard()
                running = self._broker.start()
            return running.bootstrap_servers

    def _start_guard(self) -> subprocess.Popen[bytes]:
        # A separate session: Ctrl-C in the terminal ends the run, and the guard has to outlive it.
        return subprocess.Popen(
            [sys.executable, __file__, str(self.folder)],
            env=environment_of_this_checkout(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """Release Kafka in this process; in the process that began the run, also stop it."""
        self._users.close()
        if self._begins:
            self.end()

    def end(self) -> None:
        """Stop Kafka and remove its data."""
        self._broker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @classmethod
    def of_the_dead(cls, folder: Path) -> Self | None:
        """Wait until no process of a run is left, then return its Kafka; None if the run has cleaned up."""
        found = cls.__new__(cls)
        found.folder, found._broker = folder, cls._broker_in(folder)
        try:
            found._users = (folder / _USERS).open("rb")
        except FileNotFoundError:
            return None
        fcntl.flock(found._users, fcntl.LOCK_EX)
        return found if (folder / _USERS).exists() else None


if __name__ == "__main__":
    os.chdir(tempfile.gettempdir())
    if (left := SharedKafka.of_the_dead(Path(sys.argv[1]))) is not None:
        left.end()
