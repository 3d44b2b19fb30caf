"""The broker of docker-compose.yml, for tests where Docker is: its kafka service, by testcontainers."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

from source_tree import ROOT


def why_not() -> str | None:
    """Why containers cannot be run here; None when they can."""
    try:
        answer = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"there is no docker client: {error}"
    if answer.returncode:
        return f"no Docker daemon answers: {answer.stderr.strip() or answer.stdout.strip()}"[:200]
    return None


@contextlib.contextmanager
def compose_broker(port: int) -> Iterator[str]:
    """Address of the compose file's Kafka, gone afterwards with its data."""
    from testcontainers.compose import DockerCompose

    os.environ["CRL_KAFKA_PORT"] = str(port)
    os.environ.setdefault("CRL_WORKER_WEB_TOKEN", "of-the-tests")
    compose = DockerCompose(str(ROOT), compose_file_name="docker-compose.yml", services=["kafka"], wait=True)
    try:
        with compose:
            yield f"127.0.0.1:{port}"
    finally:
        del os.environ["CRL_KAFKA_PORT"]
