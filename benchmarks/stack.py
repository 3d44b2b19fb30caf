"""A broker and a worker to measure: the embedded Kafka with data that goes, one real worker process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crl_stream.broker import EmbeddedBroker
from crl_stream.cli.processes import prepare_topics, running, with_free_port
from crl_stream.cli.session import Session
from crl_stream.settings import Settings, load_settings


class Stack(NamedTuple):
    """What runs."""

    settings: Settings
    session: Session


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """Address of a Kafka: the one given, else the embedded one with data of its own."""
    if given := os.environ.get("CRL_BOOTSTRAP_SERVERS"):
        yield given
        return
    with EmbeddedBroker(Path(), load_settings(environment={}).client.cache_dir, ephemeral=True) as embedded:
        endpoint = embedded.status()
        assert endpoint is not None
        yield endpoint.bootstrap_servers


@contextlib.contextmanager
def installation(bootstrap_servers: str) -> Iterator[Stack]:
    """Topics of their own, no worker yet."""
    name = uuid.uuid4().hex[:8]
    flags = [f"kafka.topic_prefix=b{name}.", f"worker.app_id=b{name}", "client.runtime_id=bench", "worker.web_port=0"]
    with tempfile.TemporaryDirectory() as folder:
        flags += [f"worker.data_dir={folder}", f"client.cache_dir={folder}", f"telemetry.folder={folder}/telemetry"]
        session = Session(None, flags)
        settings = with_free_port(session, session.at(bootstrap_servers), other_if_taken=True)
        prepare_topics(settings)
        yield Stack(settings, session)


@contextlib.contextmanager
def worker(stack: Stack, *, wait: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """One worker process, the monitor alone."""
    with running(stack.session, stack.settings, quiet=True, with_services=False, wait=wait) as installed:
        yield installed.monitor


def note(text: str) -> None:
    """Progress, beside the figures."""
    print(text, file=sys.stderr, flush=True)
