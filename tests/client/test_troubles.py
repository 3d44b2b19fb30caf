"""Each kind of problem is logged at most once a minute, with a count; aiokafka's own lines go to the detail logger."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from source_tree import environment_of_this_checkout

from crl_stream.client import troubles as module
from crl_stream.client.troubles import Troubles, hushed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def test_a_kind_is_said_at_once_and_then_once_a_minute_with_its_count(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    troubles = Troubles()
    for _ in range(100):
        troubles.say("a", "it went wrong")
        troubles.say("b", "another thing")
    assert lines(caplog) == ["it went wrong", "another thing"]
    clock[0] += 61.0
    troubles.say("a", "it went wrong again")
    assert lines(caplog)[2:] == ["it went wrong again (100 times within 61 s)"]
    troubles.tick()
    assert lines(caplog)[3:] == ["another thing (99 times within 61 s)"], (
        "the count is logged even if the problem does not recur"
    )
    troubles.tick()
    troubles.close()
    assert len(lines(caplog)) == 4


def test_what_was_counted_and_not_said_is_said_at_the_end(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    for _ in range(5):
        troubles.say("a", "it went wrong")
    clock[0] += 1.0
    troubles.close()
    assert lines(caplog) == ["it went wrong", "it went wrong (4 times within 1 s)"]
    assert troubles.last == "it went wrong"


def test_a_trouble_that_comes_and_goes_is_said_once_a_minute_all_the_same(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crl_stream.client")
    troubles = Troubles()
    troubles.over("a", "all is well")
    assert lines(caplog) == [], "nothing was wrong"
    for _ in range(50):
        troubles.say("a", "it went wrong")
        troubles.over("a", "all is well")
        clock[0] += 1.0
        troubles.tick()
    assert lines(caplog) == ["it went wrong", "all is well"]
    clock[0] += 20.0
    troubles.say("a", "it went wrong")
    troubles.over("a", "all is well")
    assert lines(caplog)[2:] == ["it went wrong", "all is well"]


def test_a_trouble_that_does_not_end_is_said_again_though_it_comes_no_more(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    troubles = Troubles()
    troubles.say("a", "it went wrong")
    troubles.over("a", "all is well")
    clock[0] += 1.0
    troubles.say("a", "it went wrong")
    clock[0] += 60.0
    troubles.tick()
    assert lines(caplog)[-1] == "it went wrong"
    assert len(lines(caplog)) == 2


def test_only_the_lines_of_the_clients_threads_are_hushed_and_they_can_be_had(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "crl_stream.client.aiokafka")
    kafka = logging.getLogger("aiokafka.conn")

    def work() -> None:
        with hushed():
            kafka.error("no broker")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    kafka.error("a line from the program's own consumer")
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("crl_stream.client.aiokafka", "DEBUG"),
        ("aiokafka.conn", "ERROR"),
    ]


def test_a_program_without_any_logging_hears_one_line_about_a_kafka_that_is_away(tmp_path: Path) -> None:
    program = """
import time
from crl_stream.client import Client
with Client() as crl:
    for _ in range(30):
        with crl.invocation("a", "t"):
            time.sleep(0.1)
"""
    environment = environment_of_this_checkout() | {
        "CRL_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    said = done.stderr.splitlines()
    assert ["Kafka does not answer" in line for line in said[:1]] == [True]
    assert "outcomes are lost: Kafka did not accept 30 of them" in done.stderr
    assert len(said) <= 3, "the problem, the lost outcomes, and the number of attempts"
