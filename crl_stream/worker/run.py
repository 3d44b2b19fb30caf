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

from aiokafka.errors import KafkaError

from crl_stream.broker.ports import bindable, free_port
from crl_stream.errors import ConfigError, CrlError, Unavailable, Unsafe, UsageError
from crl_stream.settings import Settings
from crl_stream.worker.member import Member
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.own_address import with_own_address
from crl_stream.worker.policy_announcement import announce_policy
from crl_stream.worker.preflight import check_topics
from crl_stream.worker.private_surface import check_version
from crl_stream.worker.services import MONITOR, create_services
from crl_stream.worker.views import add_health_views, add_views
from crl_stream.worker.views.owners import Owners

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 15.0
"""After which a stop hangs; below what supervisors wait before they kill."""
EARLY_STOP_SECONDS: Final = 3.0
"""The same before it was ever ready: aiokafka now and then does not let go of a group that it is about to join."""
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
    settings = with_own_address(_with_port(settings))
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
    for member in members:
        await member.check_stores()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.create_task(_start(settings, members, monitor))
    ends = {asyncio.create_task(stop.wait()), asyncio.create_task(_crashed(members))}
    try:
        done, _ = await asyncio.wait({*ends, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting in done:
            starting.result()  # a policy that could not be sent is a reason to leave
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except (OSError, KafkaError) as error:
        log.critical("cannot start: %s", error)
        return Unavailable.exit_code
    finally:
        was_ready = starting.done()
        for task in (starting, *ends):
            task.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        log.info("stopping: batches in flight are finished and committed")
        await _close(members, owners, early=not was_ready and stop.is_set())
    return _tell_crash(members) or (0 if stop.is_set() else Unsafe.exit_code)


async def _close(members: Sequence[Member], owners: Owners | None, *, early: bool) -> None:
    """Close all at once; leave at once when one hangs: nothing is lost by that, the next start goes on from there."""
    seconds = EARLY_STOP_SECONDS if early else STOP_SECONDS
    try:
        async with asyncio.timeout(seconds):
            ends = await asyncio.gather(*(member.close() for member in members), return_exceptions=True)
            if owners is not None:
                await owners.close()
    except TimeoutError:
        if early:
            log.info("stopped before it was ready, without waiting for the group")
            os._exit(0)
        log.critical("did not stop within %.0f s: leaving without the last commit, which a restart makes", seconds)
        os._exit(Unsafe.exit_code)
    for member, end in zip(members, ends, strict=True):
        if isinstance(end, BaseException):
            log.error("%s did not stop in order: %r", member.group, end)


def _tell_crash(members: Sequence[Member]) -> int:
    """Say why Faust has given up; returns the exit code, 0 when it has not."""
    for member in members:
        if (crash := member.app.crash_reason) is not None:
            while isinstance(crash, BaseExceptionGroup):
                crash = crash.exceptions[0]
            message = crash.message if isinstance(crash, CrlError) else repr(crash)
            log.critical("%s crashed: %s", member.group, message, exc_info=crash)
            if isinstance(crash, CrlError) and crash.hint:
                log.critical("hint: %s", crash.hint)
            return crash.exit_code if isinstance(crash, CrlError) else Unsafe.exit_code
    return 0


async def _crashed(members: Sequence[Member]) -> None:
    """Return when Faust has given up."""
    while not any(m.app.should_stop or m.app.crash_reason is not None for m in members):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.2)


async def _start(settings: Settings, members: Sequence[Member], monitor: Monitor | None) -> None:
    """Join every group, all at once; once settled: tidy memory, say so, send the policy."""
    try:
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(member.app.start())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    while not all(member.recovered for member in members):  # noqa: ASYNC110 - Faust has no event for it
        await asyncio.sleep(0.05)
    # What is there now stays; a full collection over it would stop the world for tens of milliseconds.
    gc.collect()
    gc.freeze()
    if monitor is None:
        groups = ", ".join(member.group for member in members)
        log.info("ready: %s, health at %s (process %d)", groups, members[0].url, os.getpid())
        return
    tasks = monitor.table.tasks_about()
    partitions = sorted({tp.partition for tp in monitor.app.consumer.assignment()})
    log.info(
        "ready: partitions %s of %d, %d tasks, views at %s (process %d)",
        *(partitions, settings.kafka.partitions, tasks, monitor.url, os.getpid()),
    )
    while not monitor.app.consumer.assignment():  # noqa: ASYNC110 - Faust has no event for it
        await asyncio.sleep(0.2)
    await announce_policy(monitor)
