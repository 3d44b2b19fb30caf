"""When a broker ends, one sentence says why, and a hint says what to do, whatever the cause."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.configuration import LOG, OUTPUT, write_configuration
from crl_stream.broker.last_words import explain
from crl_stream.broker.ports import free_port
from crl_stream.errors import BrokerError
from crl_stream.settings.model import Client

CACHE = Client().cache_dir
KAFKA = "[2026-11-27 18:00:00,000] "


@pytest.mark.parametrize(
    ("line", "sentence", "hint"),
    [
        (
            "ERROR Error while flushing: java.io.IOException: No space left on device",
            "no space left",
            "free some space",
        ),
        ("FATAL java.nio.file.FileSystemException: /d: Disk quota exceeded", "no space left", "free some space"),
        ("ERROR java.nio.file.FileSystemException: Read-only file system", "cannot write", "writable"),
        ("ERROR java.nio.file.AccessDeniedException: /d/logs", "cannot write", "writable"),
        (
            "ERROR Socket server failed to bind to 127.0.0.1:9092: Address already in use.",
            "taken Kafka's port",
            "start again",
        ),
        ("java.lang.OutOfMemoryError: Java heap space", "heap is full", "CRL_BROKER_HEAP_MB"),
        (
            "# There is insufficient memory for the Java Runtime Environment to continue.",
            "too little free memory",
            "free",
        ),
        ("ERROR java.io.IOException: Too many open files", "open files", "ulimit"),
        (
            "ERROR java.lang.RuntimeException: No readable meta.properties files found.",
            "another Kafka",
            "broker.data_dir",
        ),
        ("ERROR Stored node id 7 doesn't match previous node id 1", "another Kafka", "broker.data_dir"),
        ("ERROR org.apache.kafka.common.errors.CorruptRecordException: bad magic", "damaged", "backup"),
        ("java.lang.UnsupportedClassVersionError: kafka/Kafka", "Java runtime", "JAVA_HOME"),
        ("ERROR something that was never seen before", "never seen before", "server.log"),
    ],
)
def test_the_reason_is_a_sentence_and_the_hint_says_what_to_do(
    tmp_path: Path, line: str, sentence: str, hint: str
) -> None:
    (tmp_path / LOG).write_text(f"{KAFKA}INFO all is well\n{KAFKA}{line}\n{KAFKA}INFO shut down\n", encoding="utf-8")
    error = explain(tmp_path, 1)
    assert sentence in error.message
    assert "\n" not in error.message
    assert hint in (error.hint or "")
    assert str(tmp_path / LOG) in (error.hint or "")


def test_what_an_earlier_start_complained_of_is_not_the_reason_of_this_end(tmp_path: Path) -> None:
    old = f"{KAFKA}ERROR java.io.IOException: No space left on device\n"
    (tmp_path / LOG).write_text(old + f"{KAFKA}ERROR Address already in use\n", encoding="utf-8")
    assert "port" in explain(tmp_path, 1, len(old)).message
    # A log file that is shorter than before has been rotated, so all its lines are new.
    assert "no space" in explain(tmp_path, 1, 10_000_000).message


def test_what_the_java_runtime_said_counts_too_and_nothing_at_all_is_said_to_be_nothing(tmp_path: Path) -> None:
    assert "it logged nothing" in explain(tmp_path, 1).message
    (tmp_path / OUTPUT).write_text("Terminating due to java.lang.OutOfMemoryError: Java heap space\n", encoding="utf-8")
    assert "heap is full" in explain(tmp_path, 3).message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_an_end_from_outside_is_named_and_not_blamed_on_what_the_log_complained_of(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / LOG).write_text(f"{KAFKA}ERROR java.io.IOException: Too many open files\n", encoding="utf-8")
    assert f"terminated by {number.name}" in explain(tmp_path, -number).message


def test_the_log_is_bounded_by_what_its_configuration_says(tmp_path: Path) -> None:
    _, log4j = write_configuration(tmp_path, 1, 2)
    text = log4j.read_text(encoding="ascii")
    assert "RollingFile" in text and "size.size = 5MB" in text and "strategy.max = 3" in text


# -- real ends -------------------------------------------------------------------------------------
@pytest.mark.integration
def test_a_broker_writes_a_log_and_its_real_ends_are_recognised(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with EmbeddedBroker(folder, CACHE) as broker:
        log = (folder / LOG).read_text(encoding="utf-8")
        assert "Kafka Server started" in log
        running = broker.status()
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        assert "terminated by SIGKILL" in broker.why_it_ended().message
    meta = folder / "logs" / "meta.properties"
    meta.write_text(meta.read_text(encoding="utf-8").replace("version=1", "version=9"), encoding="utf-8")
    with pytest.raises(BrokerError, match="belongs to another Kafka"):
        EmbeddedBroker(folder, CACHE).start()
    with pytest.raises(BrokerError, match="heap is full"):
        EmbeddedBroker(tmp_path / "tiny", CACHE, heap_mb=24).start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 60 MB; skips the test if this user cannot mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here, so only the unit tests above cover a full disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * (1 << 18))
        except OSError:
            return


async def make_topics(bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=5_000)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(f"t{number}", 4, 1) for number in range(5)])
    finally:
        await admin.close()


@pytest.mark.integration
def test_a_full_disk_is_said_by_the_one_that_runs_and_by_the_next_start_and_room_brings_the_data_back(
    small_disk: Path,
) -> None:
    # A separate port: another test may have taken the usual one by the time of the second start.
    broker = EmbeddedBroker(small_disk / "data", CACHE, port=free_port())
    endpoint = broker.start()
    fill(small_disk)
    asyncio.run(make_topics(endpoint.bootstrap_servers))
    assert broker._child is not None
    broker._child.wait(60)
    assert "no space left" in broker.why_it_ended().message
    with pytest.raises(BrokerError, match=r"[Nn]o space left"):
        broker.start()
    (small_disk / "filler").unlink()
    again = broker.start()
    assert again.bootstrap_servers == endpoint.bootstrap_servers
    assert broker.stop()


@pytest.mark.integration
def test_a_read_only_folder_is_said(small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(BrokerError, match="Read-only"):
        EmbeddedBroker(small_disk / "data", CACHE).start()
