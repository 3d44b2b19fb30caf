"""``crl sync`` keeps its file through an outage of Kafka, and goes on after it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.program import Program

from tests.faults.test_client_outages import KEY, World

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.up()
    yield made
    made.broker.stop()


def told(process: subprocess.Popen[bytes], text: str) -> str:
    """Wait until the process says something with this text."""
    assert process.stderr is not None
    while line := process.stderr.readline().decode():
        if text in line:
            return line
    raise AssertionError(f"it ended without saying {text!r}")


def test_while_kafka_is_away_the_file_keeps_its_last_state_and_later_it_follows_again(world: World) -> None:
    epoch = world.roll_back()
    file = world.folder / "variants.json"
    settings = f"kafka.bootstrap_servers=127.0.0.1:{world.port}"
    process = Program(world.folder).start("--set", settings, "sync", "--to", str(file))
    try:
        told(process, "wrote")
        before = file.read_bytes()
        assert json.loads(before)["tasks"][str(KEY)]["epoch"] == epoch
        world.kill()
        assert f"{file} keeps its last state" in told(process, "Kafka has not answered")
        assert file.read_bytes() == before
        world.up()
        epoch = world.roll_back()
        assert f"uses variant-{epoch}, epoch {epoch}" in told(process, "wrote")
        assert json.loads(file.read_bytes())["tasks"][str(KEY)]["variant_id"] == f"variant-{epoch}"
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
