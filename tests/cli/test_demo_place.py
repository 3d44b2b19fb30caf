"""The demo is separate from real data: its own topics, groups, folders and policy, and no alerts to people."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from client.silent_kafka import an_active_variant

from crl_stream.cli.demo.fleet import Fleet
from crl_stream.cli.demo.place import EXPLORATION, PROCESSES, RUNTIME_SHARE, demo_folder, demo_session
from crl_stream.cli.processes import ROLES_OF
from crl_stream.cli.session import Session
from crl_stream.client.keeping import keep
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Policy
from crl_stream.settings import load_settings
from crl_stream.wire.topics import ACTIVE_VARIANTS

REAL = """
profile = "production"
[kafka]
topic_prefix = "prod."
[worker]
instance_id = "worker-1"
[operations]
mode = "shadow"
[degradation]
success_drop = 0.5
lookback_window = 50
[auto_apply]
q_threshold = 1.0
[telemetry]
folder = "/var/lib/crl"
"""


@pytest.mark.parametrize("text", ["", REAL, 'profile = "conservative"', "[operations]\nexploration = 0.9"])
def test_whatever_the_settings_say_the_demo_is_told_of_the_defaults_in_a_place_of_its_own(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "crl.toml"
    file.write_text(text, encoding="utf-8")
    session = Session(file, [f"worker.data_dir={tmp_path / 'worker'}"])
    real, demo = session.settings, demo_session(session).settings
    guide = Policy()
    assert demo.policies.default == msgspec.structs.replace(
        guide,
        operations=msgspec.structs.replace(guide.operations, exploration=EXPLORATION),
        rollback=msgspec.structs.replace(guide.rollback, runtime_share=RUNTIME_SHARE),
    )
    assert demo.kafka.topic_prefix == f"demo.{real.kafka.topic_prefix}"
    assert demo.worker.app_id != real.worker.app_id
    assert demo.worker.data_dir == demo_folder(real) != real.worker.data_dir
    assert demo.telemetry.folder.is_relative_to(demo.worker.data_dir)
    assert demo.worker.instance_id == ""
    assert not demo.mirrors.configured, "the demo moves no labels"
    # The rest is unchanged: the same Kafka and the same broker.
    assert (demo.kafka.bootstrap_servers, demo.broker) == (real.kafka.bootstrap_servers, real.broker)
    assert session.settings is real, "the settings of the call are unchanged"


def test_the_demo_runs_no_notifier() -> None:
    roles = {role for name in PROCESSES for role in ROLES_OF[name]}
    assert roles == {"monitor", "proposer", "overview", "tags", "files", "mirror"}


async def test_what_an_earlier_demo_kept_of_another_kafka_does_not_choose_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flags = {"kafka.bootstrap_servers": f"127.0.0.1:{unused_tcp_port}", "kafka.topic_prefix": "demo."}
    settings = load_settings(flags=flags, environment={"XDG_CACHE_HOME": str(tmp_path)})
    told = an_active_variant(agent_name="a", task_type="t", variant_id="of-another-kafka")
    assert keep(settings, {ACTIVE_VARIANTS: [told]}) is None
    fleet = Fleet(settings, TaskKey("a", "t"), 1, default="the default", qualities={})
    await fleet.start()
    try:
        async with asyncio.timeout(60):
            await fleet.wait_for(lambda: any(fleet.reports.values()))
    finally:
        await fleet.stop()
    assert {report["variant_id"] for reports in fleet.reports.values() for report in reports} == {"the default"}
