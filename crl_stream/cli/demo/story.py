"""The whole demo: broker, worker and services, then one or two stories, each with its own fleet and task."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Final

from crl_stream.cli.demo import collapse, improvement
from crl_stream.cli.demo.fleet import Fleet
from crl_stream.cli.demo.place import APP_ID, PROCESSES, demo_session
from crl_stream.cli.demo.telling import STEP_SECONDS, StepMissing, Story, Witness
from crl_stream.cli.processes import leaving_in_order, prepare_topics, running, with_free_port
from crl_stream.cli.run_record import RunRecord, read, take
from crl_stream.cli.session import Session
from crl_stream.cli.talk import complain, say
from crl_stream.core.identity import TaskKey
from crl_stream.errors import UsageError
from crl_stream.kafka.reader import TopicReader
from crl_stream.settings import Settings
from crl_stream.wire.topics import ACTIVE_VARIANTS, DECISIONS, DEGRADATIONS, PROPOSALS, ROLLBACKS
from crl_stream.worker_views import task_path, views_url

AGENT: Final = "backend-architect"
SIZE: Final = 3
BROKER_STOP_SECONDS: Final = 1.5


def run_demo(session: Session, *, json: bool, once: bool, full: bool) -> int:
    """Run the demo; returns the exit code."""
    session, story = demo_session(session), Story(json=json)
    folder = session.settings.worker.data_dir
    with leaving_in_order(), ExitStack() as stack:
        record = take(folder, "crl demo")
        if record is None:
            found = read(folder)
            raise UsageError(
                f"A demo is already running{'' if found is None else f' (process {found.program.pid})'}.",
                hint="watch that demo, or stop it with crl down",
            )
        stack.callback(record.release)
        settings = _connect(session, record, story, stack)
        settings = with_free_port(session, settings, other_if_taken=True)
        record.note(kafka=settings.kafka.bootstrap_servers, views=views_url(settings))
        prepare_topics(settings)
        with running(session, settings, quiet=True, names=PROCESSES, record=record) as installation:
            process = installation.monitor.pid
            story.tell("worker", f"A worker is ready; its views are at {views_url(settings)}", process=process)
            stay = not (json or once) and sys.stdout.isatty()
            try:
                return asyncio.run(_play(_At(session, settings), story, stay=stay, full=full))
            except StepMissing as missing:
                complain(missing.message, missing.hint)
                return 1


def _connect(session: Session, record: RunRecord, story: Story, stack: ExitStack) -> Settings:
    """Return the settings with a Kafka: the configured one, else the embedded one, started if necessary."""
    if session.settings.kafka.bootstrap_servers:
        return session.settings
    broker = session.embedded_broker()
    left_behind = record.before is not None and record.before.broker_folder == str(broker.data_dir)
    if broker.status() is None or left_behind:
        record.note(broker_folder=str(broker.data_dir))
        stack.callback(lambda: say("The demo's data is kept; the next demo uses a new task."))
        stack.callback(broker.stop, seconds=BROKER_STOP_SECONDS)
    endpoint = broker.start()
    story.tell("broker", f"Kafka {endpoint.kafka_version} answers at {endpoint.bootstrap_servers}")
    return session.at(endpoint.bootstrap_servers)


async def _play(session: Session, story: Story, *, stay: bool, full: bool) -> int:
    settings = session.connected
    fleets = []
    async with AsyncExitStack() as stack:
        told = _fleet(settings, "api-design", collapse.BASELINE, collapse.QUALITIES)
        fleet, witness = await stack.enter_async_context(told)
        fleets.append(fleet)
        await collapse.tell_collapse(session, story, fleet, witness)
        if full:
            told = _fleet(settings, "security-audit", improvement.DEFAULT, improvement.QUALITIES)
            fleet, witness = await stack.enter_async_context(told)
            fleets.append(fleet)
            await improvement.tell_improvement(session, story, fleet, witness)
        if stay:
            say(
                f"The fleet keeps running. See {views_url(settings)}{task_path(fleet.key)}, or run in another terminal:"
            )
            say(f"  export CRL_KAFKA_TOPIC_PREFIX={settings.kafka.topic_prefix} CRL_WORKER_APP_ID={APP_ID}")
            say(f"  export CRL_WORKER_WEB_PORT={settings.worker.web_port}")
            say(f"  crl status; crl window {fleet.key}")
            say("Ctrl-C stops it; the data is kept.")
            await _until_interrupted()
    stats = [stats for fleet in fleets for stats in fleet.stats.values()]
    sent, dropped = sum(s["sent"] for s in stats), sum(s["dropped"] for s in stats)
    story.tell("end", f"{sent} outcomes were published, {dropped} lost", sent=sent)
    return 0


@asynccontextmanager
async def _fleet(
    settings: Settings, task: str, default: str, qualities: Mapping[str, float]
) -> AsyncIterator[tuple[Fleet, Witness]]:
    """Run several runtimes on a fresh task, with a witness that reads what is published about the task."""
    reader = TopicReader(settings.kafka)
    key = await _fresh_task(reader, task)
    ready = asyncio.Event()
    topics = [DEGRADATIONS, ROLLBACKS, DECISIONS, ACTIVE_VARIANTS, PROPOSALS]
    witness = Witness(key)
    listening = asyncio.create_task(witness.listen(reader, topics, ready))
    fleet = Fleet(settings, key, SIZE, default=default, qualities=qualities)
    try:
        await asyncio.wait_for(ready.wait(), STEP_SECONDS)
        await fleet.start()
        yield fleet, witness
    except BaseException:
        # After Ctrl-C or a missing step, do not wait for anything else.
        await fleet.stop(1.0)
        raise
    else:
        await fleet.stop()
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def _fresh_task(reader: TopicReader, name: str) -> TaskKey:
    """Return a task that no earlier run has used, because the data of earlier runs is kept."""
    used = {(r.message.agent_name, r.message.task_type) for r in await reader.read(ACTIVE_VARIANTS) if r.message}
    number = 1
    while (AGENT, name if number == 1 else f"{name}-{number}") in used:
        number += 1
    return TaskKey(AGENT, name if number == 1 else f"{name}-{number}")


class _At(Session):
    """A session whose settings name the demo's own Kafka."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.config_file, self.flags = session.config_file, session.flags
        self._settings = settings

    @property
    def connected(self) -> Settings:
        return self._settings


async def _until_interrupted() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    await stop.wait()
    os.write(2, b"\n")
