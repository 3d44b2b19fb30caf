"""Starts docker-compose.yml with testcontainers, using the official images where possible and stand-ins elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from source_tree import ROOT
from testcontainers.compose import ComposeContainer, DockerCompose

from crl_stream.broker.ports import free_port

from .engine import OWN, NoEngine, add_compose, own_engine
from .stand_ins import build_stand_ins

TOKEN: Final = "of-the-tests"
IMAGE: Final = "crl-stream:local"
READY_SECONDS: Final = 180.0


class Composed:
    """A running installation."""

    def __init__(self, compose: DockerCompose, kafka_port: int) -> None:
        self.compose, self.bootstrap_servers = compose, f"127.0.0.1:{kafka_port}"

    @property
    def network(self) -> str:
        """The network on which the installation's containers reach each other by name."""
        return f"{os.environ['COMPOSE_PROJECT_NAME']}_default"

    def run(self, *words: str) -> str:
        """Run ``docker compose`` with these arguments and return its output."""
        return docker(*self.compose.docker_compose_command()[1:], *words)

    def containers(self, service: str) -> list[ComposeContainer]:
        """Return the containers of a service, including those that have ended."""
        found = [one for one in self.compose.get_containers(include_all=True) if one.Service == service]
        return sorted(found, key=lambda one: str(one.Name))

    def state(self, container: ComposeContainer) -> Any:
        """Return the container's state, such as ``Status``, ``ExitCode`` and ``Health``, plus its ``RestartCount``."""
        (page,) = json.loads(docker("inspect", str(container.ID)))
        return page["State"] | {"RestartCount": page["RestartCount"]}

    def view(self, container: ComposeContainer, path: str) -> Any:
        """Fetch a worker's view through its published port."""
        port = container.get_publisher(by_port=6066).PublishedPort
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.build_opener().open(asked, timeout=10) as answer:
            return json.load(answer)


def docker(*words: str) -> str:
    """Run ``docker`` and return its output; raises ``AssertionError`` with that output on failure."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}\n{(done.stdout + done.stderr)[-3000:]}"
    return done.stdout + done.stderr


def until(ask: Callable[[], Any], right: Callable[[Any], bool], seconds: float = READY_SECONDS) -> Any:
    """Call ``ask`` repeatedly until its answer is right; an error counts as a wrong answer."""
    end = time.monotonic() + seconds
    while True:
        try:
            if right(answer := ask()):
                return answer
            wrong: object = answer
        except (OSError, AssertionError) as error:
            wrong = error
        assert time.monotonic() < end, f"still wrong after {seconds:.0f} s: {wrong!r}"
        time.sleep(0.5)


@contextmanager
def composed(folder: Path) -> Iterator[Composed]:
    """Start everything in docker-compose.yml and wait until healthy; raises ``NoEngine`` if containers cannot run."""
    with ExitStack() as stack:
        setenv = stack.enter_context(pytest.MonkeyPatch.context()).setenv
        if own := os.environ.get(OWN):
            client = stack.enter_context(own_engine(Path(own)))
            add_compose(client, folder)
            build_stand_ins(client, folder / "stand-ins")
            # Only the daemon has the stand-ins.  BuildKit would look for them in a registry and fail.
            for name, value in (client | {"DOCKER_BUILDKIT": "0"}).items():
                setenv(name, value)
        elif reason := _why_no_docker():
            raise NoEngine(reason)
        port = free_port()
        setenv("COMPOSE_PROJECT_NAME", f"crl-test-{os.getpid()}")
        setenv("CRL_KAFKA_PORT", str(port))
        setenv("CRL_WORKER_PORTS", "0")
        setenv("CRL_WORKER_WEB_TOKEN", TOKEN)
        files = ["docker-compose.yml", "tests/containers/build.yml"]
        compose = DockerCompose(str(ROOT), compose_file_name=files, build=True, wait=True)
        try:
            with compose:
                yield Composed(compose, port)
        except subprocess.CalledProcessError as error:
            said = b"\n".join(part for part in (error.stdout, error.stderr) if part)
            raise AssertionError(f"{error.cmd}\n{said.decode(errors='replace')[-4000:]}") from error


def _why_no_docker() -> str | None:
    try:
        for words in (["docker", "info"], ["docker", "compose", "version"]):
            asked = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
            if asked.returncode:
                return f"`{' '.join(words)}` fails: {asked.stderr.strip() or asked.stdout.strip()}"[:300]
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"docker cannot be run: {error}"
    return None
