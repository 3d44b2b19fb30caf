"""Starts the broker process, finds it again in later calls, and stops it.

The running Kafka holds a lock on its data folder, because it inherits the open lock file. So the lock always shows
whether Kafka is running, even after a crash, and two brokers can never share a folder. Two files are kept beside the
lock: the start note, ``starting.json``, is written before Kafka runs; the note, ``broker.json``, when Kafka answers.
If a program dies while it starts Kafka, the next call completes the start.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TextIO

from crl_stream.broker.class_archive import ClassArchive
from crl_stream.broker.configuration import HOST, LOG, OUTPUT, write_configuration
from crl_stream.broker.jars import KAFKA_VERSION, Progress, fetch, quiet
from crl_stream.broker.java import find_java
from crl_stream.broker.last_words import OTHER_FOLDER, explain, size_of_log
from crl_stream.broker.ports import bindable, free_port, listens
from crl_stream.broker.recorded import Recorded, is_locked, recorded, spawn
from crl_stream.errors import BrokerError, PortTaken

LOCK: Final = ".lock"
"""Lock file in a data folder, held by its broker or by the program that is starting one."""
USUAL_PORT: Final = 9092
_MORE_PORTS: Final = 3
"""Number of further ports to try when another program takes a port before Kafka listens on it."""
START_SECONDS: Final = 60.0
"""Seconds after which a start counts as failed; it usually takes 2 to 6."""
STOP_SECONDS: Final = 30.0
"""Seconds allowed for a broker to stop before it is killed."""


class Endpoint(NamedTuple):
    """A running broker that answers requests."""

    bootstrap_servers: str
    pid: int
    data_dir: str
    log: str
    kafka_version: str = KAFKA_VERSION
    ephemeral: bool = False


class EmbeddedBroker:
    """One Kafka node with its data in ``data_dir``.

    With ``port`` None, the broker uses the port of the last run, else 9092, else a free one. A given port that is taken
    is an error. ``ephemeral`` puts the data into a new folder that is deleted when the broker stops. ``properties`` are
    Kafka properties; they override those of ``write_configuration``. As a context manager it starts and stops the
    broker.
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
        self._log_began = 0
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

    @property
    def _start_note(self) -> Path:
        return self.data_dir / "starting.json"

    def status(self) -> Endpoint | None:
        """Return the broker running on this folder, whichever program started it; None if there is none."""
        return self._read_note() if is_locked(self.data_dir / LOCK) else None

    def process(self) -> Recorded | None:
        """Return the broker process on this folder, even if it does not answer yet; None if there is none."""
        if not is_locked(self.data_dir / LOCK):
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            started = json.loads(self._start_note.read_text(encoding="utf-8"))
            return Recorded(int(started["pid"]), float(started["created"]))
        if (running := self._read_note()) is not None:  # a release without start notes started it
            with suppress(ProcessLookupError):
                return recorded(running.pid)
        return None

    def answers(self, seconds: float = 5.0) -> bool:
        """Return whether the broker answers a request; a paused broker accepts connections but does not answer."""
        endpoint = self.status()
        if endpoint is None:
            return False
        return asyncio.run(_answers(_port_of(endpoint.bootstrap_servers), self._cluster_id(), seconds))

    def why_it_ended(self) -> BrokerError:
        """Return why the last broker has ended, and what to do."""
        code = None
        if self._child is not None:
            # A killed process has no exit code until its last thread has ended.
            with suppress(subprocess.TimeoutExpired):
                code = self._child.wait(2.0)
        return explain(self.data_dir, code, self._log_began)

    def start(self) -> Endpoint:
        """Start the broker and wait until it answers; if it is already running, just return it."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.data_dir, error) from error
        try:
            with _locked(self.data_dir) as lock:
                if lock is not None:
                    # Only the port in the last run's note is still useful.
                    last_port = self._last_port()
                    self._note.unlink(missing_ok=True)
                    if last_port is not None:  # kept even if this start fails
                        _write(self._start_note, {"port": last_port})
                    return self._start_on_some_port(lock, last_port)
        except OSError as error:
            raise _unusable(self.data_dir, error) from error
        return self._wait_for_other_start()

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Ask the broker to stop, and kill it after ``seconds``; return False if none was running.

        A paused broker is resumed so that it can stop. A broker that is still starting is stopped too.
        """
        running, process = self.status(), self.process()
        if process is not None:
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)
            if not self._gone(seconds):
                process.send(signal.SIGKILL)
                self._gone(STOP_SECONDS)
        if self._child is not None:
            self._child.wait()
            self._child = None
        if self.ephemeral or (running is not None and running.ephemeral):
            shutil.rmtree(self.data_dir, ignore_errors=True)
        return process is not None

    # -- starting ----------------------------------------------------------------------------------
    def _start_on_some_port(self, lock: TextIO, last_port: int | None) -> Endpoint:
        """Start the broker, choosing another port if a program takes the chosen one before Kafka listens."""
        for _ in range(_MORE_PORTS):
            try:
                return self._start(lock, last_port)
            except PortTaken:
                if self.port is not None:
                    raise
                last_port = None
        return self._start(lock, last_port)

    def _start(self, lock: TextIO, last_port: int | None) -> Endpoint:
        self._check_given_port()  # report a taken port before downloading anything
        java = find_java()
        class_path = os.pathsep.join(map(str, fetch(self.cache_dir, self.progress)))
        port = self._choose_port(last_port)
        server, log4j = write_configuration(self.data_dir, port, free_port(), self.properties)
        what = f"Kafka {KAFKA_VERSION} on Java {java.version}"
        self.progress(what, 0, 2)
        self._log_began = size_of_log(self.data_dir)
        archive, noted = ClassArchive(self.cache_dir / f"kafka-{KAFKA_VERSION}", java), self.data_dir / "classes.txt"
        archive.make(class_path, self.progress)
        kafka = [str(java.path), *self._options(log4j), *archive.options(noted), "-cp", class_path]
        self._format(kafka, server)
        self.progress(what, 1, 2)
        command = [*kafka, "kafka.Kafka", str(server)]
        try:
            with (self.data_dir / OUTPUT).open("wb") as output:
                spawn(
                    command,
                    lambda child, process: self._record_start(child, process, port),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.data_dir,
                    pass_fds=(lock.fileno(),),
                )
            self._wait_until_it_answers(port)
        except BaseException:
            if self._child is not None:
                self._child.kill()
                self._child.wait()
            raise
        assert self._child is not None
        archive.keep_names(noted)
        endpoint = self._note_endpoint(port, self._child.pid)
        self.progress(what, 2, 2)
        return endpoint

    def _record_start(self, child: subprocess.Popen[bytes], process: Recorded, port: int) -> None:
        self._child = child
        _write(self._start_note, {**process._asdict(), "port": port, "starter": recorded(os.getpid())._asdict()})

    def _note_endpoint(self, port: int, pid: int) -> Endpoint:
        log = str(self.data_dir / LOG)
        endpoint = Endpoint(f"{HOST}:{port}", pid, str(self.data_dir), log, ephemeral=self.ephemeral)
        _write(self._note, endpoint._asdict())
        return endpoint

    def _wait_for_other_start(self) -> Endpoint:
        """Return the broker that another program runs or is starting here; if that program died, complete its start."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if (running := self.status()) is not None:
                return running
            if not is_locked(self.data_dir / LOCK):
                # The other start failed, or its broker was just stopped, so this program may start one.
                return self.start()
            if (started := self._orphaned_start()) is not None and asyncio.run(
                _answers(started["port"], self._cluster_id())
            ):
                return self._note_endpoint(started["port"], started["pid"])
            time.sleep(0.1)
        raise BrokerError(
            f"Another program is using {self.data_dir}, but no broker answers there.",
            hint=f"wait for the other start to finish, stop it with `crl broker stop`, or {OTHER_FOLDER}",
        )

    def _orphaned_start(self) -> dict[str, Any] | None:
        """Return the start note if the program that wrote it has died; else None."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            started: dict[str, Any] = json.loads(self._start_note.read_text(encoding="utf-8"))
            return None if Recorded(**started["starter"]).lives() else started
        return None

    def _options(self, log4j: Path) -> list[str]:
        # The heap is bounded, and a fast start matters more here than long-term optimisation.
        tuning = [f"-Xmx{self.heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
        tuning += [f"-Dlog4j2.configurationFile={log4j}", f"-Dcrl.folder={self.data_dir.absolute()}"]
        return [*tuning, "-XX:+ExitOnOutOfMemoryError", "-XX:-CreateCoredumpOnCrash", "-XX:ErrorFile=/dev/stderr"]

    def _format(self, java: list[str], server: Path) -> None:
        if (self.data_dir / "logs" / "meta.properties").is_file():
            return
        # An interrupted format leaves an incomplete folder but no records, so nothing is lost here.
        shutil.rmtree(self.data_dir / "logs", ignore_errors=True)
        command = [*java, "kafka.tools.StorageTool", "format", "--cluster-id", _new_cluster_id()]
        command += ["--config", str(server)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            (self.data_dir / OUTPUT).write_bytes(done.stdout + done.stderr)
            raise explain(self.data_dir, done.returncode, self._log_began)

    def _wait_until_it_answers(self, port: int) -> None:
        assert self._child is not None
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._child.poll() is not None:
                raise self.why_it_ended()
            if listens(port) and asyncio.run(_answers(port, self._cluster_id())):
                return
            time.sleep(0.05)
        raise BrokerError(
            f"Kafka did not answer within {START_SECONDS:.0f} s.",
            hint=f"see {self.data_dir / LOG}; on a busy machine, try again",
        )

    def _cluster_id(self) -> str:
        """Return the cluster id of this folder's broker; empty until the folder is formatted."""
        with suppress(OSError):
            lines = (self.data_dir / "logs" / "meta.properties").read_text(encoding="utf-8").splitlines()
            return next((line.partition("=")[2].strip() for line in lines if line.startswith("cluster.id=")), "")
        return ""

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
                hint="unset the port to use any free one, or set another with `crl --set broker.port=9093 ...`, "
                "CRL_BROKER_PORT, or --port of `crl broker start`; if your own Kafka uses the port, set "
                "CRL_BOOTSTRAP_SERVERS to use that Kafka",
            )

    def _last_port(self) -> int | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return _port_of(json.loads(self._note.read_text(encoding="utf-8"))["bootstrap_servers"])
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads(self._start_note.read_text(encoding="utf-8"))["port"])
        return None

    def _read_note(self) -> Endpoint | None:
        with suppress(OSError, ValueError, TypeError):
            return Endpoint(**json.loads(self._note.read_text(encoding="utf-8")))
        return None

    def _gone(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._child is not None:
                self._child.poll()
            if not is_locked(self.data_dir / LOCK):
                return True
            time.sleep(0.05)
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[TextIO | None]:
    """Hold the lock of a data folder; yields None if another process has it."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def _write(path: Path, document: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(path)


def _new_cluster_id() -> str:
    """Return a unique cluster id, so that what is known about one cluster is never applied to another.

    It is a UUID in Kafka's form, without a leading dash, which would look like an option.
    """
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text


def _port_of(bootstrap_servers: str) -> int:
    return int(bootstrap_servers.rpartition(":")[2])


async def _answers(port: int, cluster_id: str, seconds: float = 5.0) -> bool:
    """Return whether the broker on ``port`` answers and has this ``cluster_id``.

    The id is compared because two simultaneous starts may choose the same port.
    """
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError
    from aiokafka.protocol.metadata import MetadataRequest

    client = AIOKafkaClient(bootstrap_servers=f"{HOST}:{port}", request_timeout_ms=int(seconds * 1_000))
    try:
        async with asyncio.timeout(seconds):
            await client.bootstrap()
            if not client.cluster.brokers():
                return False
            request = MetadataRequest([], allow_auto_topic_creation=False)
            answer = await client.send(client.get_random_node(), request)
        return not cluster_id or answer.cluster_id == cluster_id
    except (KafkaError, OSError):  # includes TimeoutError
        return False
    finally:
        with suppress(OSError):
            async with asyncio.timeout(1.0):
                await client.close()


def _unusable(folder: Path, error: OSError) -> BrokerError:
    return BrokerError(
        f"Kafka's data cannot be stored in {folder}: {error.strerror or error}.",
        hint=f"free some space, make the folder writable, or {OTHER_FOLDER}",
    )
