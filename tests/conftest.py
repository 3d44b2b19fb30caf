"""One real Kafka for all tests that want one, and an installation of its own for each test on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from installation import Installation

from crl_stream.broker import EmbeddedBroker
from crl_stream.settings.model import Client

# A loaded machine is slow, and slow is not wrong.
settings.register_profile("crl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crl")

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


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Kafka: the one that is given, else the embedded one."""
    given = os.environ.get("CRL_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    with EmbeddedBroker(tmp_path_factory.mktemp("kafka"), Client().cache_dir, ephemeral=True) as broker:
        running = broker.status()
        assert running is not None
        yield running.bootstrap_servers


@pytest.fixture
async def installation(kafka: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """Topics of their own on the shared Kafka, and workers that end with the test."""
    async with Installation(kafka, tmp_path) as installed:
        yield installed
