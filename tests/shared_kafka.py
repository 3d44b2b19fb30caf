"""One embedded Kafka for a whole run of tests, however many processes it has.

Every process of the run holds a lock on ``users`` in the folder of the run; the system gives it back when the process
ends, whichever way.  The first one that needs Kafka starts it, and a guard with it: this file as a program, which waits
for that lock.  It gets it when the last process has gone, and then ends what a run that was killed left behind.
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
    """The Kafka of a run, in ``folder``; without a folder this process begins the run, and ends it."""

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
        broker.ephemeral = True  # on any free port, and its data goes with it; the folder is ours
        return broker

    def address(self) -> str:
        """Where it listens; it is started now if no process of the run has needed it yet."""
        with (self.folder / "start").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (running := self._broker.status()) is None:
                self._guard = self._start_guard()
                running = self._broker.start()
            return running.bootstrap_servers

    def _start_guard(self) -> subprocess.Popen[bytes]:
        # In a session of its own: Ctrl-C in a terminal is for the run, and this is what comes after it.
        return subprocess.Popen(
            [sys.executable, __file__, str(self.folder)],
            env=environment_of_this_checkout(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """This process needs it no more; the one that began the run ends it."""
        self._users.close()
        if self._begins:
            self.end()

    def end(self) -> None:
        """End it, and take its data away."""
        self._broker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @classmethod
    def of_the_dead(cls, folder: Path) -> Self | None:
        """That of a run of which no process lives any more, waiting for that; None when the run took care itself."""
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
