"""One real Kafka for all tests that want one, and an installation of its own for each test on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from installation import Installation
from shared_kafka import SharedKafka

# A loaded machine is slow, and slow is not wrong.
settings.register_profile("crl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crl")

_KAFKA = pytest.StashKey[SharedKafka]()
_FOLDER = "crl_kafka_folder"
_SLOW_FIRST = ("integration", "faults", "live", "broker", "cli")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: packed ones hold the time, and every process of a run must find the same tests."""
    return argname if isinstance(val, bytes) else None


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, since tests wait for Kafka half of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait long come first, so that no process is left alone with one of them in the end."""
    items.sort(key=lambda item: _SLOW_FIRST.index(item.path.parent.name) if item.path.parent.name in _SLOW_FIRST else 9)


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run, or be one of the processes of one."""
    if not os.environ.get("CRL_BOOTSTRAP_SERVERS"):
        folder = getattr(config, "workerinput", {}).get(_FOLDER)
        config.stash[_KAFKA] = SharedKafka(folder and Path(folder))


def pytest_configure_node(node: Any) -> None:
    """Tell another process of this run (xdist) where its Kafka is."""
    if (shared := node.config.stash.get(_KAFKA, None)) is not None:
        node.workerinput[_FOLDER] = str(shared.folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing of a run stays."""
    if (shared := config.stash.get(_KAFKA, None)) is not None:
        shared.close()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """Address of a Kafka: the one that is given, else the embedded one of this run."""
    return os.environ.get("CRL_BOOTSTRAP_SERVERS") or pytestconfig.stash[_KAFKA].address()


@pytest.fixture
async def installation(kafka: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """Topics of their own on the shared Kafka, and workers that end with the test."""
    async with Installation(kafka, tmp_path) as installed:
        yield installed
