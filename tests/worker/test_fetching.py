"""The monitor is prompt; what is beside it costs next to nothing while nothing happens."""

from __future__ import annotations

from pathlib import Path

from crl_stream.settings import load_settings
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.services import create_services


def test_only_the_monitor_asks_the_broker_hundreds_of_times_a_second(tmp_path: Path) -> None:
    flags = {
        "kafka.bootstrap_servers": "127.0.0.1:1",
        "telemetry.folder": str(tmp_path),
        "worker.data_dir": str(tmp_path),
    }
    settings = load_settings(environment={}, flags=flags)
    assert Monitor(settings).app.transport.fetching.wait_ms <= 5
    services = create_services(settings, ["proposer", "overview", "files", "notifier"], web=False)
    assert len(services) == 4
    for member in services:
        asked = member.app.transport.fetching
        assert asked.wait_ms >= 100, f"{member.group} asks all the time"
        assert asked.min_bytes == 1, f"{member.group} hears late of a single record"
