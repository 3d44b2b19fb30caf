"""Runs one worker process, from settings to exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from aiokafka.errors import KafkaError

from crl_stream.broker.ports import free_port, is_loopback, why_not_bindable
from crl_stream.errors import ConfigError, CrlError, Unavailable, Unsafe, UsageError
from crl_stream.kafka.foreign_topics import create_sources
from crl_stream.settings import Settings
from crl_stream.stages.topology import BRIDGE
from crl_stream.worker.health import Health
from crl_stream.worker.log_lines import Calm, set_up_logging
from crl_stream.worker.member import Member
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.own_address import with_own_address
from crl_stream.worker.policy_announcement import follow_policy, settle_policy
from crl_stream.worker.preflight import check_topics
from crl_stream.worker.services import MONITOR, create_services
from crl_stream.worker.stopping import ORDERLY_SECONDS, Stopping
from crl_stream.worker.topic_watch import TopicWatch
from crl_stream.worker.transport.private_surface import check_version
from crl_stream.worker.views import add_health_views, add_views
from crl_stream.worker.views.connections import close_idle_connections
from crl_stream.worker.views.owners import Owners
from crl_stream.worker_views import base_url

log = logging.getLogger(__name__)

SEEN_SECONDS: Final = 2.0
"""How long a worker reports that it is not ready before it exits because a topic has changed."""
LAST_ASK_SECONDS: Final = 1.0
"""How long a stopping worker with held library lines waits for Kafka's response; without one, they are hidden."""


def run_worker(settings: Settings, roles: Collection[str] = (MONITOR,), *, verbose: bool = False) -> int:
    """Run until SIGINT or SIGTERM; return the exit code. Raises ``CrlError`` when the worker must not start.

    ``verbose`` also logs the lines of libraries.
    """
    check_version()
    if not is_loopback(settings.worker.web_host) and not settings.worker.web_token.get_secret_value():
        raise ConfigError(
            f"worker.web_host = {settings.worker.web_host} would expose the views to the network without a token.",
            hint="set CRL_WORKER_WEB_TOKEN, or listen on 127.0.0.1",
        )
    settings = with_own_address(_with_port(settings))
    log_lines = set_up_logging(verbose=verbose)
    with asyncio.Runner() as runner:
        try:
            return runner.run(_serve(settings, roles, log_lines))
        except Unavailable:
            if log_lines is not None:
                log_lines.silent()  # the error already contains what the libraries reported
            raise


def _with_port(settings: Settings) -> Settings:
    """Return the settings with a port that is free for the views; port 0 selects any free one."""
    worker = settings.worker
    if (why := why_not_bindable(worker.web_port, worker.web_host)) is not None:
        hint = "is another worker running? --set worker.web_port=0 selects a free port"
        if "taken" not in why:
            hint = "set worker.web_host to an address of this machine, such as 127.0.0.1, and a port above 1023"
        raise UsageError(f"The views cannot listen at {base_url(worker, own=True)}: {why}.", hint=hint)
    if worker.web_port == 0:
        return replace(settings, worker=worker.model_copy(update={"web_port": free_port(worker.web_host)}))
    return settings


async def _serve(settings: Settings, roles: Collection[str], log_lines: Calm | None) -> int:
    stopping = Stopping()
    asked = asyncio.create_task(stopping.asked.wait())
    preparing = asyncio.create_task(_prepare(settings, roles, log_lines))
    await asyncio.wait({asked, preparing}, return_when=asyncio.FIRST_COMPLETED)
    if not preparing.done():
        log.info("stopped before startup was complete%s", _hide_held(log_lines))
        preparing.cancel()
        await asyncio.wait({preparing}, timeout=ORDERLY_SECONDS)
        return 0
    members, monitor, watch, owners = preparing.result()
    beside = {asyncio.create_task(watch.run()), asyncio.create_task(close_idle_connections(members[0].app))}
    starting = asyncio.create_task(_start(settings, members, monitor))
    ends = {asked, asyncio.create_task(_crashed(members)), asyncio.create_task(watch.changed.wait())}
    try:
        done, _ = await asyncio.wait({*ends, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting in done:
            starting.result()  # raises if the policy could not be sent; the worker must then end
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if watch.change is not None:
            await asyncio.wait({asked}, timeout=SEEN_SECONDS)
    except (OSError, KafkaError) as error:
        if log_lines is not None:
            log_lines.silent()
        log.critical("cannot start: %s", error)
        return Unavailable.exit_code
    finally:
        code = 0 if stopping.asked.is_set() else Unsafe.exit_code
        if any(member.app.crash_reason is not None for member in members):
            # A library may fail on a recreated topic before the watch has detected the change.
            await watch.is_fresh()
        code = watch.change.exit_code if watch.change is not None else _tell_crash(members) or code
        stopping.exit_code = code
        stopping.cut_short()
        for task in (starting, *beside, *ends):
            task.cancel()
        if not await _close(members, owners, starting, log_lines):
            logging.shutdown()
            os._exit(code)
        await _ask_about_held(log_lines, watch)
    return code


async def _prepare(
    settings: Settings, roles: Collection[str], log_lines: Calm | None
) -> tuple[list[Member], Monitor | None, TopicWatch, Owners | None]:
    """Do everything that has to happen before a member joins its group."""
    await check_topics(settings)
    monitor = Monitor(settings) if MONITOR in roles else None
    members: list[Member] = [] if monitor is None else [monitor]
    members += create_services(settings, roles, web=monitor is None)
    if not members:
        raise _no_bridge(settings)
    if BRIDGE.role in roles:
        await create_sources(settings.kafka, [options.source() for options in settings.bridges.values()])
    watch = TopicWatch(settings, members, log_lines)
    health = Health(members, watch)
    owners = None if monitor is None else add_views(monitor, health)
    if monitor is None:
        add_health_views(health)
    for member in members:
        await member.check_stores()
    if monitor is not None:
        monitor.ordered = await settle_policy(settings)
    # Begin before rows are compared with the log, so that any change after the comparison is detected.
    await watch.begin()
    return members, monitor, watch, owners


def _no_bridge(settings: Settings) -> UsageError:
    for bridge in settings.disabled_bridges.values():
        return UsageError(f"No bridge can be used: {bridge.reason.rstrip('.')}.", hint=bridge.hint)
    return UsageError(
        "There is no bridge in the settings, so there is nothing to run.",
        hint="write a section [bridges.<name>] in crl.toml; docs/bridges.md shows one for each kind",
    )


async def _close(
    members: Sequence[Member], owners: Owners | None, starting: asyncio.Task[None], log_lines: Calm | None
) -> bool:
    """Close all members at once; return False if one hangs. Exiting then loses nothing: the next start continues."""
    log.info("stopping: finishing and committing the batches in flight")
    try:
        async with asyncio.timeout(ORDERLY_SECONDS):
            await asyncio.gather(starting, return_exceptions=True)
            ends = await asyncio.gather(*(member.close() for member in members), return_exceptions=True)
            if owners is not None:
                await owners.close()
    except TimeoutError:
        log.warning(
            "closing is taking too long: exiting without the last commit; nothing is lost, and a restart continues%s",
            _hide_held(log_lines),
        )
        return False
    for member, end in zip(members, ends, strict=True):
        if isinstance(end, BaseException):
            log.error("%s did not stop cleanly: %r", member.group, end)
    return True


async def _ask_about_held(log_lines: Calm | None, watch: TopicWatch) -> None:
    """Check whether Kafka responds if library lines are held: if it does not, they are about an outage."""
    if log_lines is not None and log_lines.held and not await watch.is_fresh(LAST_ASK_SECONDS):
        log.warning("Kafka does not answer during shutdown%s", _hide_held(log_lines))
    await watch.close()


def _hide_held(log_lines: Calm | None) -> str:
    """Hide library lines from now on, including held ones; return the end of a sentence that counts the held ones."""
    if log_lines is None:
        return ""
    held = log_lines.held
    log_lines.silent()
    return f"; libraries wrote {held} lines in the last few seconds; crl -v shows them" if held else ""


def _tell_crash(members: Sequence[Member]) -> int:
    """Log why Faust has stopped; return the exit code, or 0 if it has not stopped with an error."""
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
    """Wait until Faust has stopped a member."""
    while not any(m.app.should_stop or m.app.crash_reason is not None for m in members):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.2)


async def _start(settings: Settings, members: Sequence[Member], monitor: Monitor | None) -> None:
    """Join all groups at once; when settled, freeze the garbage collector, log readiness and follow the policy."""
    try:
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(member.app.start())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    while not all(member.recovered for member in members):  # noqa: ASYNC110 - Faust has no event for it
        await asyncio.sleep(0.05)
    # The objects created at the start stay alive; a full collection over them would pause the process for tens of ms.
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
    await follow_policy(monitor)
