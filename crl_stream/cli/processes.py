"""The processes of an installation on this machine: the monitor and the services."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError

from crl_stream.broker import Endpoint
from crl_stream.broker.ports import bindable, free_port
from crl_stream.broker.recorded import Recorded, end, spawn
from crl_stream.cli.run_record import RunRecord
from crl_stream.cli.session import Session
from crl_stream.cli.supervision import KeptBroker, KeptProcess
from crl_stream.cli.talk import say, share_terminal
from crl_stream.errors import ConfigError, CrlError, Unavailable, UsageError
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.settings import Settings
from crl_stream.worker_views import ask

CRL: Final = (sys.executable, "-m", "crl_stream")
"""The command line that starts this program; benchmarks replace it to run another build."""
READY_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 0.5
"""Seconds between two checks of the processes."""
STOP_SECONDS: Final = 3.0
"""Seconds after which a process that was asked to end is killed. Killing it loses no data."""
MONITOR: Final = "monitor"


@contextmanager
def leaving_in_order() -> Iterator[None]:
    """Treat SIGTERM and a closing terminal like Ctrl-C, so that the processes are stopped in an orderly way."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    # An ignored signal stays ignored, as nohup requires.
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


ROLES_OF: Final = {
    "monitor": ("monitor",),
    "services": ("proposer", "overview", "tags", "files", "mirror"),
    # The notifier is a separate process, so that it alerts people whatever happens to the other processes.
    "notifier": ("notifier",),
    # Bridges are a separate process, because they process whatever other systems send.
    "bridge": ("bridge",),
}
"""The roles that each process runs, by the name of the process."""


def processes_for(settings: Settings) -> tuple[str, ...]:
    """Return the processes of an installation; there is one for bridges only if the settings have a usable one."""
    return tuple(name for name in ROLES_OF if name != "bridge" or settings.bridges)


class Running:
    """The processes of one installation on this machine: the monitor and the services."""

    def __init__(
        self,
        session: Session,
        settings: Settings,
        *,
        quiet: bool = False,
        names: Sequence[str] = tuple(ROLES_OF),
        program: Sequence[str] = CRL,
        record: RunRecord | None = None,
    ) -> None:
        self._session, self._quiet, self._program, self._record = session, quiet, program, record
        self.settings = settings
        self._names = names
        self._settings_of: dict[str, Settings] = {}
        self._started: dict[str, Recorded] = {}
        self.kept: dict[str, KeptProcess] = {}
        self.broker: KeptBroker | None = None

    def start(self) -> None:
        """Start every process."""
        if not self._quiet:
            share_terminal()
        for name in self._names:
            settings = self.settings
            if name != MONITOR:
                # Only the monitor may have the advertised URL, because other workers read its views there.
                settings = self._session.at(
                    settings.kafka.bootstrap_servers, web_port=free_port(settings.worker.web_host), advertised_url=""
                )
            self._settings_of[name] = settings
            says = f"{log_file(settings, name)} says" if self._quiet else "the lines above say"
            self.kept[name] = KeptProcess(
                name,
                lambda name=name: self._spawn(name),  # type: ignore[misc]
                lambda name=name: _is_alive(self._settings_of[name]),  # type: ignore[misc]
                why=says,
                needed=name == MONITOR,
            )

    @property
    def monitor(self) -> subprocess.Popen[bytes]:
        """The process that now runs the monitor."""
        return self.kept[MONITOR].process

    @property
    def beside(self) -> list[KeptProcess]:
        """The service processes."""
        return [kept for name, kept in self.kept.items() if name != MONITOR]

    def settings_of(self, name: str) -> Settings:
        """Return the settings that a process was started with."""
        return self._settings_of[name]

    def keep_broker(self, broker: KeptBroker) -> None:
        """Supervise the embedded broker too."""
        self.broker = broker

    def follow(self, endpoint: Endpoint) -> None:
        """Restart every process with the broker's new address."""
        say(f"Kafka has moved to {endpoint.bootstrap_servers}. All processes are being restarted.")
        say("Give the new address to runtimes that got the old one from CRL_BOOTSTRAP_SERVERS.")
        for name, settings in self._settings_of.items():
            self._settings_of[name] = self._session.at(
                endpoint.bootstrap_servers,
                web_port=settings.worker.web_port,
                advertised_url=settings.worker.advertised_url,
            )
        self.settings = self._settings_of[MONITOR]
        if self._record is not None:
            with suppress(OSError):  # only for display
                self._record.note(kafka=endpoint.bootstrap_servers)
        end([kept.recorded for kept in self.kept.values()], STOP_SECONDS)
        for kept in self.kept.values():
            kept.process.wait()
            kept.begin_again()

    def wait_until_ready(self) -> None:
        """Wait until all processes are ready; raises ``Unavailable`` if the monitor ends or takes too long."""
        for name, kept in self.kept.items():
            until = time.monotonic() + READY_SECONDS
            while not _is_ready(self._settings_of[name]):
                says = (
                    f"{log_file(self.settings, name)} says why"
                    if self._quiet
                    else "its last lines above give the reason"
                )
                if (code := kept.process.poll()) is not None:
                    if name != MONITOR:
                        break
                    raise Unavailable(f"The process {name} ended with code {code}.", hint=says)
                if time.monotonic() >= until:
                    raise Unavailable(f"The process {name} was not ready within {READY_SECONDS:.0f} s.", hint=says)
                time.sleep(0.1)
        for kept in self.kept.values():
            kept.watch()

    def wait_for_end(self) -> int:
        """Supervise everything until Ctrl-C or a failure that no restart can fix; returns the exit code."""
        try:
            while True:
                if self.broker is not None:
                    self.broker.keep()
                well = self.broker is None or self.broker.is_well
                for kept in self.kept.values():
                    if (code := kept.keep(ask=well)) is not None:
                        return code
                time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            return 0

    def stop(self) -> None:
        """Stop all processes within ``STOP_SECONDS``. A second Ctrl-C kills them, which loses no data."""
        if self.broker is not None:
            self.broker.stop_watching()
        for kept in self.kept.values():
            kept.stop_watching()
        try:
            killed = end(self._started.values(), STOP_SECONDS)
        except KeyboardInterrupt:
            end(self._started.values(), 0.0)
            raise
        finally:
            for kept in self.kept.values():
                kept.process.poll()
        if names := ", ".join(name for name, process in self._started.items() if process in killed):
            say(f"killed because they did not end within {STOP_SECONDS:.0f} s: {names}; nothing is lost")

    def _spawn(self, name: str) -> tuple[subprocess.Popen[bytes], Recorded]:
        def note(_: subprocess.Popen[bytes], process: Recorded) -> None:
            self._started[name] = process
            if self._record is not None:
                self._record.note_process(name, process)

        settings = self._settings_of[name]
        with ExitStack() as stack:
            log = stack.enter_context(_open_log(settings, name)) if self._quiet else None
            process = spawn(_command(self._session, settings, name, self._program), note, stderr=log)
        return process, self._started[name]


@contextmanager
def running(
    session: Session,
    settings: Settings,
    *,
    quiet: bool = False,
    with_services: bool = True,
    wait: bool = True,
    program: Sequence[str] = CRL,
    names: Sequence[str] | None = None,
    record: RunRecord | None = None,
) -> Iterator[Running]:
    """Run the monitor and the services as separate processes during the block.

    With ``quiet`` their output goes to log files. Without ``with_services`` only the monitor runs; ``names`` selects
    among ``ROLES_OF``. The block begins once they are ready, unless ``wait`` is false. ``program`` is the command line
    prefix that starts a process; ``record``, if given, records each one.
    """
    chosen = names if names is not None else processes_for(settings) if with_services else (MONITOR,)
    with leaving_in_order():
        installation = Running(session, settings, quiet=quiet, names=chosen, program=program, record=record)
        try:
            installation.start()
            if wait:
                installation.wait_until_ready()
            yield installation
        finally:
            installation.stop()


def with_free_port(session: Session, settings: Settings, *, other_if_taken: bool = False) -> Settings:
    """Return the settings with a port for the views.

    If the configured port is taken, raises ``UsageError``, or chooses a free one if ``other_if_taken``.
    """
    port, host = settings.worker.web_port, settings.worker.web_host
    if port and bindable(port, host):
        return settings
    if port and not other_if_taken:
        raise UsageError(
            f"Port {port} is taken.",
            hint="is `crl up` already running? check with crl status, or use a free port with --set worker.web_port=0",
        )
    return session.at(settings.kafka.bootstrap_servers, web_port=free_port(host))


def prepare_topics(settings: Settings) -> None:
    """Create missing topics."""
    done = asyncio.run(TopicAdmin(settings.kafka, settings.worker.app_id).apply())
    if done:
        say(f"topics: {len(done)} changes")


def _command(session: Session, settings: Settings, name: str, program: Sequence[str]) -> list[str]:
    """Return the command line that starts a worker with the settings of this call."""
    command = [*program, *(["--verbose"] if session.verbose else [])]
    if (named := session.named_config) is not None:
        command += ["--config", str(named)]
    for setting, value in session.flags.items():
        command += ["--set", f"{setting}={value}"]
    command += ["--set", f"kafka.bootstrap_servers={settings.kafka.bootstrap_servers}"]
    command += ["--set", f"worker.web_port={settings.worker.web_port}"]
    command += ["--set", f"worker.advertised_url={settings.worker.advertised_url}", "worker"]
    for role in ROLES_OF[name]:
        command += ["--role", role]
    return command


def _is_ready(settings: Settings) -> bool:
    try:
        return bool(ask(settings, "/readyz")["ready"])
    except CrlError:
        return False


def _is_alive(settings: Settings) -> bool:
    """Return whether the process responds to a request."""
    try:
        ask(settings, "/healthz")
    except CrlError as error:
        return isinstance(error.__cause__, HTTPError)
    return True


def log_file(settings: Settings, name: str) -> Path:
    """Return the log file of a quiet process; it holds the lines since the last start."""
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
