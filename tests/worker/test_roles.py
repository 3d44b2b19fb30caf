"""A user can name exactly the roles that a worker has."""

from __future__ import annotations

from pathlib import Path

import pytest

from crl_stream.cli.processes import ROLES_OF
from crl_stream.cli.worker import ROLES, SERVICES, chosen_roles
from crl_stream.errors import ConfigError
from crl_stream.settings import load_settings
from crl_stream.stages.topology import BRIDGE, NOTIFIER, STAGES
from crl_stream.worker import services
from crl_stream.worker.monitor import Monitor


def test_every_role_of_the_command_line_is_one_that_a_process_can_take() -> None:
    assert set(ROLES) == {services.MONITOR, *services._MAKERS}


def test_the_services_are_every_role_but_the_monitor() -> None:
    assert chosen_roles([SERVICES]) == [role for role in ROLES if role != services.MONITOR]


def test_the_processes_of_an_installation_take_every_role_once() -> None:
    assert sorted(role for roles in ROLES_OF.values() for role in roles) == sorted(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_process_has_the_agents_and_tables_that_the_topology_says(role: str, tmp_path: Path) -> None:
    flags: dict[str, object] = {"telemetry.folder": str(tmp_path), "mirrors.mlflow.host": "http://127.0.0.1:5000"}
    bridges = {"bridges.scores.kind": "langsmith", "bridges.scores.port": 1, "bridges.scores.evaluator": "good"}
    bridges |= {"bridges.scores.secret": "x" * 16, "bridges.spans.kind": "otlp"}
    settings = load_settings(environment={}, flags=flags | (bridges if role == BRIDGE.role else {}))
    members = [Monitor(settings)] if role == services.MONITOR else services.create_services(settings, [role], web=False)
    stages = [stage for stage in STAGES if stage.role == role]
    agents = {name: agent.channel.topics for member in members for name, agent in member.app.agents.items()}
    if role == NOTIFIER.role:
        assert {topic for topics in agents.values() for topic in topics} <= set(NOTIFIER.sources)
        return
    if role == BRIDGE.role:
        [inbox] = BRIDGE.sources
        assert agents == {"crl.bridge.scores": (inbox,), "crl.bridge.spans": ("otlp_spans",)}
        assert [member.group for member in members] == ["crl-monitor-bridge-scores", "crl-monitor-bridge-spans"]
        return
    assert {name: tuple(topics) for name, topics in agents.items()} == {
        f"crl.{name}": (topic,) for stage in stages for name, topic in stage.agents()
    }
    tables = [(table.name, table.width) for member in members for table in member.tables]
    assert tables == [(s.table.name, s.partitions(settings.kafka.partitions)) for s in stages if s.table is not None]


def test_without_a_prompt_store_the_mirror_is_left_out_of_the_services_and_refused_alone() -> None:
    settings = load_settings(environment={})
    members = services.create_services(settings, ["tags", "mirror"], web=False)
    assert [member.group for member in members] == ["crl-monitor-tags"]
    with pytest.raises(ConfigError, match="No prompt store is configured"):
        services.create_services(settings, ["mirror"], web=False)
