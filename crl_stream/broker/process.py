"""The broker as a process: started, found again by whoever asks, and stopped.

The running Kafka holds a lock on its data folder: it inherits the open lock file.  So whether it runs is asked of the
operating system and not of a file that a crash may have left behind, and two can never share one folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TextIO

from crl_stream.broker.configuration import HOST, write_configuration
from crl_stream.broker.jars import KAFKA_VERSION, Progress, fetch, quiet
from crl_stream.broker.java import Java, find_java
from crl_stream.broker.ports import bindable, free_port, listens
from crl_stream.errors import BrokerError

USUAL_PORT: Final = 9092
START_SECONDS: Final = 60.0
"""After which a start has failed; it takes 3 to 6 seconds."""
STOP_SECONDS: Final = 30.0
"""After which a broker that was asked to stop is killed."""

_OTHER_FOLDER: Final = "name another folder: `crl --set broker.data_dir=FOLDER ...`, CRL_BROKER_DATA_DIR"


class Endpoint(NamedTuple):
    """A broker that answers."""

    bootstrap_servers: str
    pid: int
    data_dir: str
    log: str
    kafka_version: str = KAFKA_VERSION
    ephemeral: bool = False


class EmbeddedBroker:
    """One Kafka node whose data lives in ``data_dir``.

    ``port`` None takes the port of the last run, else 9092, else a free one; a given port is used or refused.
    ``ephemeral`` puts the data into a folder of its own that goes with the broker.  ``properties`` are Kafka's own,
    beside those of ``write_configuration`` or in their place.  Used as a context manager it starts and stops.
    """

    def __init__(
        self,
        data_dir: Path,
        cache_dir: Path,
        *,
        port: int | None = None,
        heap_mb: int = 512,
        ephemeral: bool = False,
        properties: Mapping[str, Any] | None = None,
        progress: Progress = quiet,
    ) -> None:
        self.data_dir, self.cache_dir, self.properties = data_dir, cache_dir, properties
        self.port, self.heap_mb, self.ephemeral, self.progress = port, heap_mb, ephemeral, progress
        self._child: subprocess.Popen[bytes] | None = None
        if ephemeral:
            self.data_dir = Path(tempfile.gettempdir()) / f"crl-broker-{os.getpid()}-{id(self):x}"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def _note(self) -> Path:
        return self.data_dir / "broker.json"

    def status(self) -> Endpoint | None:
        """The broker that runs on this folder, whoever started it; None when none does."""
        with _locked(self.data_dir) as lock:
            return None if lock is not None else self._read_note()

    def start(self) -> Endpoint:
        """Start the broker and wait until it answers; one that runs already is returned as it is."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.data_dir, error) from error
        with _locked(self.data_dir) as lock:
            if lock is None:
                running = self._read_note(wait=START_SECONDS)
                if running is not None:
                    return running
                raise BrokerError(
                    f"Somebody else uses {self.data_dir}, and no broker answers there.",
                    hint=f"wait for the other start to end, or {_OTHER_FOLDER}",
                )
            # What the last run noted tells its port, and nothing about this run.
            last_port = self._last_port()
            self._note.unlink(missing_ok=True)
            try:
                return self._start(lock, last_port)
            except OSError as error:
                raise _unusable(self.data_dir, error) from error

    def stop(self) -> bool:
        """Ask the broker to end, wait, and kill it if it does not; False when none ran."""
        running = self.status()
        if running is not None:
            self._signal(running.pid, signal.SIGTERM)
            if not self._gone(STOP_SECONDS):
                self._signal(running.pid, signal.SIGKILL)
                self._gone(STOP_SECONDS)
        if self._child is not None:
            self._child.wait()
            self._child = None
        if self.ephemeral or (running is not None and running.ephemeral):
            shutil.rmtree(self.data_dir, ignore_errors=True)
        return running is not None

    # -- starting ----------------------------------------------------------------------------------
    def _start(self, lock: TextIO, last_port: int | None) -> Endpoint:
        self._check_given_port()  # before anything is fetched
        java = find_java()
        class_path = os.pathsep.join(map(str, fetch(self.cache_dir, self.progress)))
        port = self._choose_port(last_port)
        server, log4j = write_configuration(self.data_dir, port, free_port(), self.properties)
        log = self.data_dir / "server.log"
        what = f"Kafka {KAFKA_VERSION} on Java {java.version}"
        self.progress(what, 0, 2)
        self._format(java, class_path, server, log4j, log)
        self.progress(what, 1, 2)
        with log.open("wb") as output:
            self._child = child = subprocess.Popen(
                [*self._java(java, class_path, log4j), "kafka.Kafka", str(server)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                pass_fds=(lock.fileno(),),
                # Ctrl-C in a terminal is for the program that started the broker; that one stops it in order.
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers(child, port, log)
        except BaseException:
            child.kill()
            child.wait()
            raise
        endpoint = Endpoint(f"{HOST}:{port}", child.pid, str(self.data_dir), str(log), ephemeral=self.ephemeral)
        partial = self._note.with_suffix(".part")
        partial.write_text(json.dumps(endpoint._asdict()), encoding="utf-8")
        partial.replace(self._note)
        self.progress(what, 2, 2)
        return endpoint

    def _java(self, java: Java, class_path: str, log4j: Path) -> list[str]:
        # The heap is bounded; a quick start matters more here than what the best compiler would reach in an hour.
        tuning = [f"-Xmx{self.heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
        tuning += [f"-Dlog4j2.configurationFile={log4j}", "-XX:+ExitOnOutOfMemoryError"]
        return [str(java.path), *tuning, "-cp", class_path]

    def _format(self, java: Java, class_path: str, server: Path, log4j: Path, log: Path) -> None:
        if (self.data_dir / "logs" / "meta.properties").is_file():
            return
        # A start that was interrupted here has left a half-made folder, and never a record.
        shutil.rmtree(self.data_dir / "logs", ignore_errors=True)
        command = [*self._java(java, class_path, log4j), "kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", "Y3JsLXN0cmVhbS1sb2NhbA", "--config", str(server)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            log.write_bytes(done.stdout + done.stderr)
            raise _failed(log)

    def _wait_until_it_answers(self, child: subprocess.Popen[bytes], port: int, log: Path) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if child.poll() is not None:
                raise _failed(log)
            if listens(port) and asyncio.run(_answers(port)):
                return
            time.sleep(0.05)
        raise BrokerError(
            f"Kafka did not answer within {START_SECONDS:.0f} s.",
            hint=f"see {log}; a loaded machine may just need a second try",
        )

    # -- ports and notes ---------------------------------------------------------------------------
    def _choose_port(self, last_port: int | None) -> int:
        self._check_given_port()
        if self.port is not None:
            return self.port
        for port in (last_port, None if self.ephemeral else USUAL_PORT):
            if port is not None and not listens(port) and bindable(port):
                return port
        return free_port()

    def _check_given_port(self) -> None:
        if self.port is not None and (listens(self.port) or not bindable(self.port)):
            raise BrokerError(
                f"Port {self.port} is taken.",
                hint="name no port and a free one is taken, or another one: `crl --set broker.port=9093 ...`, "
                "CRL_BROKER_PORT, at `crl broker start` also --port; is that your Kafka? then CRL_BOOTSTRAP_SERVERS "
                "uses it",
            )

    def _last_port(self) -> int | None:
        with suppress(OSError, ValueError, KeyError):
            noted = json.loads(self._note.read_text(encoding="utf-8"))
            return int(noted["bootstrap_servers"].rpartition(":")[2])
        return None

    def _read_note(self, wait: float = 0.0) -> Endpoint | None:
        until = time.monotonic() + wait
        while True:
            with suppress(OSError, ValueError, TypeError):
                return Endpoint(**json.loads(self._note.read_text(encoding="utf-8")))
            if time.monotonic() >= until:
                return None
            time.sleep(0.1)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def _gone(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._child is not None:
                self._child.poll()
            with _locked(self.data_dir) as lock:
                if lock is not None:
                    return True
            time.sleep(0.05)
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[TextIO | None]:
    """The lock of a data folder, or None when somebody has it; a folder that is not there is nobody's."""
    try:
        file = (folder / ".lock").open("w")
    except FileNotFoundError:
        with Path(os.devnull).open(encoding="ascii") as nothing:  # stands for a lock
            yield nothing
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file


async def _answers(port: int) -> bool:
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    client = AIOKafkaClient(bootstrap_servers=f"{HOST}:{port}", request_timeout_ms=5_000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()


def _failed(log: Path) -> BrokerError:
    text = log.read_text(encoding="utf-8", errors="replace")
    if "No space left on device" in text:
        return BrokerError("Kafka has no space left for its data.", hint=f"free some space around {log.parent}")
    if "Address already in use" in text:
        return BrokerError("Another program has just taken Kafka's port.", hint="start again")
    lines = [line for line in text.splitlines() if "ERROR" in line or "Exception" in line] or text.splitlines()
    last = lines[-1].strip()[:300] if lines else "it said nothing"
    return BrokerError(
        f"Kafka ended while it started: {last}",
        hint=f"see {log}; `crl broker start --ephemeral` starts with a fresh folder",
    )


def _unusable(folder: Path, error: OSError) -> BrokerError:
    return BrokerError(
        f"Kafka's data cannot be kept in {folder}: {error.strerror or error}.",
        hint=f"free some space, make the folder writable, or {_OTHER_FOLDER}",
    )
