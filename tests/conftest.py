"""One real Kafka for all tests that need one, and a separate installation on it for each test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from installation import Installation
from long_tests import add_option, mark_and_leave_out
from shared_kafka import SharedKafka

# Slowness of a loaded machine is not a failure.
settings.register_profile("crl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `make mutation` only needs to know whether a test fails: finding the smallest example would take most of its time.
settings.register_profile(
    "mutation", settings.get_profile("crl"), max_examples=50, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("crl")

_KAFKA = pytest.StashKey[SharedKafka]()
_FOLDER = "crl_kafka_folder"
_LEFT = pytest.StashKey[int]()
_LEFT_OUT = "crl_left_out"
_SLOW_FIRST = ("integration", "faults", "live", "broker", "cli")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter that consists of bytes after its argument.

    Compressed bytes contain the time, but every process of a run must find the same test names.
    """
    return argname if isinstance(val, bytes) else None


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than the number of cores, because tests spend half their time waiting for Kafka."""
    return (os.cpu_count() or 1) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark or leave out long tests, and run slow files first so that none of them is left over at the end."""
    config.stash[_LEFT] = mark_and_leave_out(config, items)
    if hasattr(config, "workeroutput"):
        config.workeroutput[_LEFT_OUT] = config.stash[_LEFT]
    items.sort(key=lambda item: _SLOW_FIRST.index(item.path.parent.name) if item.path.parent.name in _SLOW_FIRST else 9)


def pytest_configure(config: pytest.Config) -> None:
    """Begin a test run, or join one as an additional process."""
    if config.args_source is pytest.Config.ArgsSource.ARGS and not hasattr(config, "workerinput"):
        config.option.no_long = False  # tests named on the command line always run; xdist passes this option on
    if not os.environ.get("CRL_BOOTSTRAP_SERVERS"):
        folder = getattr(config, "workerinput", {}).get(_FOLDER)
        config.stash[_KAFKA] = SharedKafka(folder and Path(folder))


def pytest_configure_node(node: Any) -> None:
    """Tell another process of this run (xdist) where to find Kafka."""
    if (shared := node.config.stash.get(_KAFKA, None)) is not None:
        node.workerinput[_FOLDER] = str(shared.folder)


def pytest_testnodedown(node: Any) -> None:
    """Record how many tests were left out; the number is the same in every process (xdist)."""
    node.config.stash[_LEFT] = getattr(node, "workeroutput", {}).get(_LEFT_OUT, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left := config.stash.get(_LEFT, 0):
        terminalreporter.write_line(f"{left:,} long tests were left out: make test-all runs them too")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove everything that the run has created."""
    if (shared := config.stash.get(_KAFKA, None)) is not None:
        shared.close()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """Return the address of a Kafka: the one that the environment names, or the embedded one of this run."""
    return os.environ.get("CRL_BOOTSTRAP_SERVERS") or pytestconfig.stash[_KAFKA].address()


@pytest.fixture
async def installation(kafka: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """Provide separate topics on the shared Kafka, and workers that end with the test."""
    async with Installation(kafka, tmp_path) as installed:
        yield installed
