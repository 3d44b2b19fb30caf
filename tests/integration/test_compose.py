"""The containers: right in form everywhere, run where a Docker daemon answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from builders import a_collapse, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from source_tree import ROOT

from crl_stream.broker.jars import KAFKA_VERSION
from crl_stream.broker.ports import free_port
from crl_stream.cli.worker import ROLES, chosen_roles
from crl_stream.settings import load_settings

from .compose_broker import compose_broker, why_not

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_the_compose_file_runs_the_official_kafka_of_the_version_that_the_tests_run() -> None:
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert set(COMPOSE["services"]) == {"kafka", "topics", "worker", "services", "notifier"}


def test_every_published_port_is_on_loopback() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_topics_are_applied_before_a_worker_starts_and_after_kafka_answers() -> None:
    services = COMPOSE["services"]
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    assert services["topics"]["command"] == ["topics", "apply"]


def test_the_containers_do_every_role_once_and_say_whether_they_are_well() -> None:
    commands = [COMPOSE["services"][name]["command"] for name in ("worker", "services", "notifier")]
    roles = [word for command in commands for word in command[1:] if word != "--role"]
    assert chosen_roles(["monitor", *roles]) == list(ROLES)
    assert len(roles) == len(set(roles)) == len(ROLES) - 1
    assert all(
        "/healthz" in str(COMPOSE["services"][name]["healthcheck"]) for name in ("worker", "services", "notifier")
    )


def test_the_settings_of_the_containers_are_settings() -> None:
    for name in ("topics", "worker", "services", "notifier"):
        environment = dict(COMPOSE["services"][name]["environment"])
        assert environment.pop("CRL_CONFIG", "/etc/crl/crl.toml") == "/etc/crl/crl.toml"
        load_settings(environment={key: str(value) for key, value in environment.items()})


def test_the_image_installs_by_hash_and_runs_without_rights() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert re.search(r"^USER crl$", DOCKERFILE, re.MULTILINE)
    sources = [
        word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.docker
@pytest.mark.integration
async def test_the_loop_runs_on_the_compose_files_kafka(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(f"the compose file was not run: {reason}")
    with compose_broker(free_port()) as bootstrap_servers:
        async with Installation(bootstrap_servers, tmp_path) as installation:
            await installation.worker()
            await installation.publish(*invocations("default", "S" * 20), *a_collapse()[:5])
            await installation.settled()
            await assert_topics_equal_the_fold(installation)
