"""The processes of an installation on this machine: the monitor, and the services beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Final

from crl_stream.broker.ports import bindable, free_port
from crl_stream.cli.session import Session
from crl_stream.cli.talk import say
from crl_stream.errors import ConfigError, CrlError, Unavailable, UsageError
from crl_stream.settings import Settings
from crl_stream.topic_admin import TopicAdmin
from crl_stream.worker_views import ask

CRL: Final = (sys.executable, "-m", "crl_stream")
"""The words that are this program; a benchmark has others, for another build of it."""
READY_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 1.0
"""Between two looks at the processes."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
STEADY_SECONDS: Final = 60.0
"""A process that has lived so long did not fail at its start."""


class Patience:
    """How long something that has ended stays down: a second, and twice as long each time it fails soon again."""

    def __init__(self) -> None:
        self._pause = 0.0

    def pause_after(self, lived: float) -> float:
        """Seconds until the next start, of what has lived ``lived`` seconds."""
        again = self._pause > 0.0 and lived < STEADY_SECONDS
        self._pause = min(LONGEST_PAUSE, 2.0 * self._pause) if again else FIRST_PAUSE
        return self._pause


@contextmanager
def leaving_in_order() -> Iterator[None]:
    """SIGTERM and a terminal that closes end this program as Ctrl-C does, and so its processes with it."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


ROLES_OF: Final = {
    "monitor": ("monitor",),
    "services": ("proposer", "overview", "files"),
    # Apart: whatever happens to the others, people are told.
    "notifier": ("notifier",),
}
"""Name of a process to what it does."""


class _Kept:
    """A process beside the monitor that is started again, with patience, when it ends."""

    def __init__(self, session: Session, settings: Settings, name: str, *, quiet: bool, program: Sequence[str]) -> None:
        self._session, self._quiet, self._program, self.name = session, quiet, program, name
        # A URL under which the monitor is known leads to the monitor.
        self.settings = session.at(
            settings.kafka.bootstrap_servers, web_port=free_port(settings.worker.web_host), advertised_url=""
        )
        self._patience, self._restart_at = Patience(), 0.0
        self._start()

    def _start(self) -> None:
        self._began, self._restart_at = time.monotonic(), 0.0
        self.process = _start(self._session, self.settings, self.name, quiet=self._quiet, program=self._program)

    def keep(self) -> None:
        """Look after it: say when it has ended, and start it again when its time has come."""
        if (code := self.process.poll()) is None:
            return
        now = time.monotonic()
        if not self._restart_at:
            pause = self._patience.pause_after(now - self._began)
            self._restart_at = now + pause
            where = f"{log_file(self.settings, self.name)} says" if self._quiet else "the lines above say"
            say(f"{self.name} ended with code {code}, {where} why; it is started again in {pause:.0f} s")
        elif now >= self._restart_at:
            self._start()


class Running:
    """The processes of one installation on this machine: the monitor, and the services beside it."""

    def __init__(
        self, session: Session, settings: Settings, *, quiet: bool, with_services: bool, program: Sequence[str] = CRL
    ) -> None:
        self._quiet, self.settings = quiet, settings
        self.beside: list[_Kept] = []
        self.monitor = _start(session, settings, "monitor", quiet=quiet, program=program)
        try:
            for name in [name for name in ROLES_OF if name != "monitor"] if with_services else []:
                self.beside.append(_Kept(session, settings, name, quiet=quiet, program=program))
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self) -> None:
        """Wait for all to say that they are ready; ``Unavailable`` when one ends or takes too long."""
        self._wait_for(self.settings, self.monitor, "monitor")
        for kept in self.beside:
            self._wait_for(kept.settings, kept.process, kept.name)

    def _wait_for(self, settings: Settings, process: subprocess.Popen[bytes], role: str) -> None:
        hint = f"{log_file(settings, role)} says why" if self._quiet else "its last lines above say why"
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None:
                raise Unavailable(f"The process of {role} ended with code {process.returncode}.", hint=hint)
            try:
                if ask(settings, "/readyz")["ready"]:
                    return
            except CrlError:
                time.sleep(0.1)
        raise Unavailable(f"The process of {role} was not ready within {READY_SECONDS:.0f} s.", hint=hint)

    def wait_for_end(self) -> int:
        """Wait for Ctrl-C or the monitor's end; returns the exit code.

        What runs beside it is started again when it ends: the monitor does not need it, people do.
        """
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return self.monitor.wait(WATCH_SECONDS)
                for kept in self.beside:
                    kept.keep()
        except KeyboardInterrupt:
            return 0

    def stop(self) -> None:
        """End all, the monitor last; a second Ctrl-C kills them, and nothing is lost by that."""
        processes = [*(kept.process for kept in self.beside), self.monitor]
        try:
            for process in processes:
                _stop(process)
        except KeyboardInterrupt:
            for process in processes:
                process.kill()
                process.wait()
            raise


@contextmanager
def running(
    session: Session,
    settings: Settings,
    *,
    quiet: bool = False,
    with_services: bool = True,
    wait: bool = True,
    program: Sequence[str] = CRL,
) -> Iterator[Running]:
    """The monitor and the services as processes of their own, ready unless told not to ``wait``; stopped at the end."""
    with leaving_in_order():
        installation = Running(session, settings, quiet=quiet, with_services=with_services, program=program)
        try:
            if wait:
                installation.wait_until_ready()
            yield installation
        finally:
            installation.stop()


def with_free_port(session: Session, settings: Settings, *, other_if_taken: bool = False) -> Settings:
    """The settings with a port for the views that nobody has; a given one is used or refused."""
    port, host = settings.worker.web_port, settings.worker.web_host
    if port and bindable(port, host):
        return settings
    if port and not other_if_taken:
        raise UsageError(
            f"Port {port} is taken.",
            hint="does `crl up` run already? crl status asks it; --set worker.web_port=0 takes a free port",
        )
    return session.at(settings.kafka.bootstrap_servers, web_port=free_port(host))


def prepare_topics(settings: Settings) -> None:
    """Create what is missing."""
    done = asyncio.run(TopicAdmin(settings.kafka, settings.worker.app_id).apply())
    if done:
        say(f"topics: {len(done)} changes")


def _start(
    session: Session, settings: Settings, name: str, *, quiet: bool, program: Sequence[str] = CRL
) -> subprocess.Popen[bytes]:
    """A worker as a process of its own, with the settings of this call."""
    command = [*program]
    if session.config_file is not None:
        command += ["--config", str(session.config_file)]
    for setting, value in session.flags.items():
        command += ["--set", f"{setting}={value}"]
    command += ["--set", f"kafka.bootstrap_servers={settings.kafka.bootstrap_servers}"]
    command += ["--set", f"worker.web_port={settings.worker.web_port}"]
    command += ["--set", f"worker.advertised_url={settings.worker.advertised_url}", "worker"]
    for role in ROLES_OF[name]:
        command += ["--role", role]
    with _open_log(settings, name) if quiet else nullcontext() as log:
        # A group of its own: Ctrl-C reaches this program, which then ends its processes in order.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)


def log_file(settings: Settings, name: str) -> Path:
    """Where a quiet process writes its lines: those of its last start."""
    return settings.worker.data_dir / f"{name}.log"


def _open_log(settings: Settings, name: str) -> IO[bytes]:
    path = log_file(settings, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise ConfigError(
            f"The log {path} cannot be written: {error.strerror or error}.",
            hint="free some space or make it writable; worker.data_dir and CRL_WORKER_DATA_DIR name another folder",
        ) from error


def _stop(process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
