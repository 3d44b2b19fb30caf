"""The Kafka broker shared by a test run is stopped with the run, even if the run is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from shared_kafka import SharedKafka
from source_tree import ROOT, environment_of_this_checkout

from crl_stream.broker import EmbeddedBroker
from crl_stream.settings.model import Client

pytestmark = pytest.mark.integration
RUN = """
import sys, time
from shared_kafka import SharedKafka

shared = SharedKafka()
shared.address()
print(shared.folder, flush=True)
time.sleep(600)
"""


def test_a_run_that_is_killed_leaves_no_broker_and_no_data_behind() -> None:
    environment = environment_of_this_checkout() | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with subprocess.Popen([sys.executable, "-c", RUN], env=environment, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().decode().strip())
        second = SharedKafka(folder)
        running = EmbeddedBroker(folder / "kafka", Client().cache_dir).status()
        assert running is not None
        assert second.address() == running.bootstrap_servers, "every process of the run uses the same broker"
        run.kill()
    assert psutil.pid_exists(running.pid), "the broker keeps running while another process of the run uses it"
    second.close()
    while folder.exists() or (
        psutil.pid_exists(running.pid) and psutil.Process(running.pid).status() != psutil.STATUS_ZOMBIE
    ):
        time.sleep(0.05)


def test_a_run_that_ends_takes_everything_away_itself() -> None:
    shared = SharedKafka()
    shared.close()
    assert not shared.folder.exists()
