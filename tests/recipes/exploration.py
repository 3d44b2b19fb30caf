"""The example exploration policy ``cheap_first``: a client can name it, and then tries cheap variants more often."""

from __future__ import annotations

from pathlib import Path

from client.exploring import OTHERS, exploring, tried

from crl_stream.client import Client
from crl_stream.settings import load_settings


def test_a_runtime_that_names_it_tries_cheap_variants_more_often(tmp_path: Path) -> None:
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path)}
    settings = load_settings(environment={}, flags=flags)
    counts = tried(exploring(settings, exploration_policy="cheap_first"))
    assert counts.keys() == OTHERS.keys()
    assert counts["cheap"] > 2 * max(counts["dear"], counts["plain"])
    Client(settings, exploration_policy="cheap_first", strict=True).close(0.0)
