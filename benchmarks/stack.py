"""A broker and a worker to measure: the embedded Kafka with temporary data, and one real worker process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from crl_stream.broker import EmbeddedBroker
from crl_stream.cli.processes import CRL, prepare_topics, running, with_free_port
from crl_stream.cli.session import Session
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.topics import Topics

DELETION_SECONDS = 30.0
"""The longest wait until a broker has forgotten deleted topics."""


class Stack(NamedTuple):
    """An installation on a broker: its settings and its command-line session."""

    settings: Settings
    session: Session


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """Yield the address of a Kafka broker: the given one, or an embedded one with its own data."""
    if given := os.environ.get("CRL_BOOTSTRAP_SERVERS"):
        yield given
        return
    with EmbeddedBroker(Path(), load_settings(environment={}).client.cache_dir, ephemeral=True) as embedded:
        endpoint = embedded.status()
        assert endpoint is not None
        yield endpoint.bootstrap_servers


@contextlib.contextmanager
def installation(
    bootstrap_servers: str, flags: Iterable[str] = (), *, prefix: str = "", app_id: str = ""
) -> Iterator[Stack]:
    """Yield an installation without a worker; it has its own topics unless the ``prefix`` of another one is given."""
    name = uuid.uuid4().hex[:8]
    given = [f"kafka.topic_prefix={prefix or f'b{name}.'}", f"worker.app_id={app_id or f'b{name}'}"]
    given += ["client.runtime_id=bench", "worker.web_port=0", *flags]
    with tempfile.TemporaryDirectory() as folder:
        given += [f"worker.data_dir={folder}", f"client.cache_dir={folder}", f"telemetry.folder={folder}/telemetry"]
        session = Session(None, given)
        settings = with_free_port(session, session.at(bootstrap_servers), other_if_taken=True)
        with contextlib.redirect_stderr(io.StringIO()):  # hides "topics: 15 changes", which is not progress
            prepare_topics(settings)
        yield Stack(settings, session)


@contextlib.contextmanager
def worker(stack: Stack, *, wait: bool = True, program: Sequence[str] = CRL) -> Iterator[subprocess.Popen[bytes]]:
    """Run one worker process with the monitor as its only role."""
    with running(
        stack.session, stack.settings, quiet=True, with_services=False, wait=wait, program=program
    ) as installed:
        yield installed.monitor


def create_topics(bootstrap_servers: str, names: Iterable[str], partitions: int, **configs: str) -> None:
    """Create the topics that do not exist yet."""

    async def create() -> None:
        async with admin(bootstrap_servers) as client:
            wanted = [NewTopic(name, partitions, 1, topic_configs=configs) for name in names]
            await client.create_topics(wanted)

    asyncio.run(create())


def delete_topics(bootstrap_servers: str, part: str) -> None:
    """Delete every topic with ``part`` in its name, so that a contestant's leftovers do not burden the next one."""

    async def delete() -> None:
        async with admin(bootstrap_servers) as client:
            if names := [name for name in await client.list_topics() if part in name]:
                await client.delete_topics(names)

    asyncio.run(delete())


def renew_topics(settings: Settings, kept: Collection[str]) -> None:
    """Delete an installation's topics and create them again, except those in ``kept`` (the catalog's names).

    A worker repairs compacted topics where an older record follows a newer one of the same key.  A contestant that
    found the snapshots of an earlier run would therefore rewrite some of them, which takes time.
    """
    names = Topics(settings.kafka.topic_prefix)
    keeping = {names(name) for name in kept}

    async def delete() -> None:
        async with admin(settings.kafka.bootstrap_servers) as client:

            async def found() -> list[str]:
                there = await client.list_topics()
                return [name for name in there if name.startswith(names("")) and name not in keeping]

            if old := await found():
                await client.delete_topics(old)
            async with asyncio.timeout(DELETION_SECONDS):
                while await found():  # noqa: ASYNC110 - Kafka reports no event
                    await asyncio.sleep(0.05)

    asyncio.run(delete())
    with contextlib.redirect_stderr(io.StringIO()):
        prepare_topics(settings)


@contextlib.asynccontextmanager
async def admin(bootstrap_servers: str) -> Any:
    """Yield a started admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def note(text: str) -> None:
    """Print progress to stderr, away from the figures."""
    print(text, file=sys.stderr, flush=True)
