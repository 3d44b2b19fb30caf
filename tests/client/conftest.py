"""Settings that point to a Kafka that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from crl_stream.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path)}
    return load_settings(environment={}, flags=flags)
