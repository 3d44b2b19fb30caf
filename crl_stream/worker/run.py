"""One worker process, from settings to exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from crl_stream.broker.ports import bindable, free_port
from crl_stream.errors import ConfigError, CrlError, UsageError
from crl_stream.settings import Settings
from crl_stream.worker.member import Member
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.policy_announcement import announce_policy
from crl_stream.worker.preflight import check_topics
from crl_stream.worker.private_surface import check_version
from crl_stream.worker.services import MONITOR, create_services
from crl_stream.worker.views import add_health_views, add_views

log = logging.getLogger(__name__)

LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
_NOISY: Final = (
    *("faust", "mode", "aiokafka", "kafka", "asyncio"),
    # Faust's services log under the names of the modules that define them.
    *("crl_stream.worker.consumer", "crl_stream.worker.producer", "crl_stream.worker.table"),
)


def run_worker(settings: Settings, roles: Collection[str] = (MONITOR,)) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code.  ``CrlError`` when the worker may not start."""
    check_version()
    if settings.worker.web_host not in LOOPBACK and not settings.worker.web_token.get_secret_value():
        raise ConfigError(
            f"worker.web_host = {settings.worker.web_host} would show the views to the network without a token.",
            hint="set CRL_WORKER_WEB_TOKEN, or listen on 127.0.0.1",
        )
    settings = _with_port(settings)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A broker that has just started says this for a second or two; aiokafka asks again, and calls it an error.
    logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(
        lambda record: "GroupCoordinatorNotAvailableError" not in record.getMessage()
    )
    with asyncio.Runner() as runner:
        return runner.run(_serve(settings, roles))


def _with_port(settings: Settings) -> Settings:
    """The settings with a port for the views that can be had; 0 asks for any."""
    worker = settings.worker
    if worker.web_port == 0:
        return replace(settings, worker=worker.model_copy(update={"web_port": free_port(worker.web_host)}))
    if not bindable(worker.web_port, worker.web_host):
        raise UsageError(
            f"The views cannot listen on {worker.web_host}:{worker.web_port}: the port is taken.",
            hint="does another worker run? --set worker.web_port=0 takes a free one",
        )
    return settings


async def _serve(settings: Settings, roles: Collection[str]) -> int:
    await check_topics(settings)
    monitor = Monitor(settings) if MONITOR in roles else None
    members: list[Member] = [] if monitor is None else [monitor]
    members += create_services(settings, roles, web=monitor is None)
    owners = None if monitor is None else add_views(monitor)
    if monitor is None:
        add_health_views(members)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        for member in members:
            await member.app.start()
        ends = {asyncio.create_task(stop.wait()), asyncio.create_task(_crashed(members))}
        announcing = asyncio.create_task(_announce(settings, members, monitor))
        done, pending = await asyncio.wait({*ends, announcing}, return_when=asyncio.FIRST_COMPLETED)
        if announcing in done:
            announcing.result()  # a policy that could not be sent is a reason to leave
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
    except CrlError:
        raise
    except OSError as error:
        log.critical("cannot start: %s", error)
        return 69
    finally:
        log.info("stopping: batches in flight are finished and committed")
        for member in reversed(members):
            await member.close()
        if owners is not None:
            await owners.close()
    for member in members:
        if (crash := member.app.crash_reason) is not None:
            log.critical("%s crashed: %r", member.group, crash, exc_info=crash)
            return 70
    return 0


async def _crashed(members: Sequence[Member]) -> None:
    """Return when Faust has given up."""
    while not any(m.app.should_stop or m.app.crash_reason is not None for m in members):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.2)


async def _announce(settings: Settings, members: Sequence[Member], monitor: Monitor | None) -> None:
    """Once settled: tidy memory, say so, send the policy."""
    while not all(member.recovered for member in members):  # noqa: ASYNC110 - Faust has no event for it
        await asyncio.sleep(0.05)
    # What is there now stays; a full collection over it would stop the world for tens of milliseconds.
    gc.collect()
    gc.freeze()
    if monitor is None:
        groups = ", ".join(member.group for member in members)
        log.info("ready: %s, health at %s (process %d)", groups, members[0].url, os.getpid())
        return
    tasks = sum(1 for _ in monitor.table.tasks())
    partitions = sorted({tp.partition for tp in monitor.app.consumer.assignment()})
    log.info(
        "ready: partitions %s of %d, %d tasks, views at %s (process %d)",
        *(partitions, settings.kafka.partitions, tasks, monitor.url, os.getpid()),
    )
    while not monitor.app.consumer.assignment():  # noqa: ASYNC110 - Faust has no event for it
        await asyncio.sleep(0.2)
    await announce_policy(monitor)
