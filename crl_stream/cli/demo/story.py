"""What happens in the demo, and what must have happened: a step that does not come makes the demo fail."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, TypeVar

from crl_stream.cli.demo.fleet import Fleet
from crl_stream.cli.demo.runtime import BASELINE, OPTIMIZED
from crl_stream.cli.orders import order
from crl_stream.cli.session import Session
from crl_stream.cli.talk import complain, say, show, show_json
from crl_stream.cli.up import prepare_topics, start_worker, stop_process, wait_until_ready, with_free_port
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.errors import CrlError
from crl_stream.settings import Settings
from crl_stream.topic_reader import TopicReader
from crl_stream.wire.topics import ACTIVE_VARIANTS, DECISIONS, DEGRADATIONS, ROLLBACKS
from crl_stream.worker_views import task_path, views_url

AGENT: Final = "backend-architect"
TASK: Final = "api-design"
SIZE: Final = 3
EXPLORATION: Final = "0.15"
STEP_SECONDS: Final = 45.0
"""After which a step has not happened."""

T = TypeVar("T")


class StepMissing(CrlError):
    """A step of the story did not happen."""


class Story:
    """Tells and checks; one object for one run."""

    def __init__(self, *, json: bool) -> None:
        self.json, self.began = json, time.monotonic()
        self.facts: list[Any] = []
        self._news = asyncio.Condition()

    def tell(self, step: str, text: str, **figures: Any) -> None:
        """One line of the story."""
        seconds = time.monotonic() - self.began
        if self.json:
            show_json({"step": step, "seconds": round(seconds, 2), "text": text, **figures})
        else:
            show(f"{seconds:6.1f} s  {text}")

    async def listen(
        self, reader: TopicReader, key: TaskKey, partition_topics: list[str], ready: asyncio.Event
    ) -> None:
        """Collect what the monitor says of the task."""
        async with reader.following(partition_topics) as received:
            ready.set()
            async for one in received:
                message = one.message
                if (getattr(message, "agent_name", None), getattr(message, "task_type", None)) == key:
                    async with self._news:
                        self.facts.append(message)
                        self._news.notify_all()

    async def expect(self, what: str, kind: type[T], fits: Callable[[T], bool] = lambda _: True) -> T:
        """Wait for a fact; ``StepMissing`` when it does not come."""

        def find() -> T | None:
            return next((fact for fact in self.facts if isinstance(fact, kind) and fits(fact)), None)

        try:
            async with asyncio.timeout(STEP_SECONDS), self._news:
                await self._news.wait_for(lambda: find() is not None)
        except TimeoutError:
            raise StepMissing(
                f"This did not happen within {STEP_SECONDS:.0f} s: {what}.",
                hint="a machine under heavy load can be too slow: run it again; the worker's lines say more",
            ) from None
        found = find()
        assert found is not None
        return found


def run_demo(session: Session, *, json: bool, once: bool) -> int:
    """Run the demo; returns the exit code."""
    session.flags.setdefault("operations.exploration", EXPLORATION)
    story = Story(json=json)
    broker = None
    try:
        settings = session.settings
        if not settings.kafka.bootstrap_servers:
            broker = session.embedded_broker()
            broker = broker if broker.status() is None else None
            endpoint = session.embedded_broker().status() if broker is None else broker.start()
            assert endpoint is not None
            settings = session.at(endpoint.bootstrap_servers)
            story.tell("broker", f"Kafka {endpoint.kafka_version} answers at {endpoint.bootstrap_servers}")
        settings = with_free_port(session, settings, other_if_taken=True)
        prepare_topics(settings)
        worker = start_worker(session, settings, quiet=True)
        try:
            wait_until_ready(settings, worker)
            story.tell("worker", f"A worker is ready, its views are at {views_url(settings)}", process=worker.pid)
            stay = not (json or once) and sys.stdout.isatty()
            return asyncio.run(_play(session, settings, story, stay=stay))
        finally:
            stop_process(worker)
    except StepMissing as missing:
        complain(missing.message, missing.hint)
        return 1
    finally:
        if broker is not None:
            broker.stop()
            say("The data is kept: `crl up` goes on from here.")


async def _play(session: Session, settings: Settings, story: Story, *, stay: bool) -> int:
    reader = TopicReader(settings.kafka)
    key = await _fresh_task(reader)
    ready = asyncio.Event()
    topics = [DEGRADATIONS, ROLLBACKS, DECISIONS, ACTIVE_VARIANTS]
    async with AsyncExitStack() as stack:
        listening = asyncio.create_task(story.listen(reader, key, topics, ready))
        stack.push_async_callback(_end, listening)
        await asyncio.wait_for(ready.wait(), STEP_SECONDS)
        fleet = Fleet(settings, key, SIZE)
        stack.push_async_callback(fleet.stop)
        await fleet.start()
        await _tell_story(session, settings, story, fleet, key)
        if stay:
            view = f"{views_url(settings)}{task_path(key)}"
            say(f"The fleet goes on. Look at {view}, or in another terminal: crl status, crl window {key}")
            say("Ctrl-C ends it; the data is kept.")
            await _until_interrupted()
    sent = sum(stats["sent"] for stats in fleet.stats.values())
    story.tell(
        "end", f"{sent} outcomes were published, {sum(s['dropped'] for s in fleet.stats.values())} lost", sent=sent
    )
    return 0


async def _fresh_task(reader: TopicReader) -> TaskKey:
    """A task that no earlier run has used: their data is kept."""
    used = {(r.message.agent_name, r.message.task_type) for r in await reader.read(ACTIVE_VARIANTS) if r.message}
    number = 1
    while (AGENT, TASK if number == 1 else f"{TASK}-{number}") in used:
        number += 1
    return TaskKey(AGENT, TASK if number == 1 else f"{TASK}-{number}")


async def _tell_story(session: Session, settings: Settings, story: Story, fleet: Fleet, key: TaskKey) -> None:
    first = await story.expect("a first variant", m.ActiveVariant)
    story.tell("first_seen", f"{SIZE} runtimes work on {key} with {first.variant_id}, epoch {first.epoch}")
    ordering = _At(session, settings)
    result = await order(
        ordering,
        m.RegisterVariant,
        key,
        epoch=None,
        reason="a better prompt",
        actor="demo",
        variant_id=OPTIMIZED,
        parent=BASELINE,
        temperature=0.2,
    )
    story.tell("register", f"An operator registers {OPTIMIZED}; the runtimes explore it: {result.detail}")
    applied = await story.expect("an auto-apply", m.Activation, lambda a: a.cause == "auto_apply")
    why = await story.expect("its decision", m.Decision, lambda d: d.decision == "auto_apply")
    story.tell(
        "auto_apply",
        f"Auto-apply: {applied.from_variant} -> {applied.to_variant}, epoch {applied.epoch}. {why.reasoning}",
    )
    await fleet.wait_for(lambda: _invocations(fleet, OPTIMIZED, applied.epoch) >= 25)
    count = _invocations(fleet, OPTIMIZED, applied.epoch)
    story.tell("healthy", f"{count} healthy invocations with {OPTIMIZED} since then", invocations=count)

    await fleet.tell(f"break {OPTIMIZED}")
    story.tell("collapse", f"{OPTIMIZED} collapses: its provider changed the model under it")
    alert = await story.expect(
        "a degradation alert", m.DegradationAlert, lambda d: d.variant_id == OPTIMIZED and d.active
    )
    event = await story.expect("a rollback", m.RollbackEvent)
    story.tell("alert", f"Alert: {alert.reason}")
    revealed = alert.position == event.position and event.judged.offsets[-1] == event.position.offset
    failures = sum(
        r["status"] == "failure" and r["variant_id"] == OPTIMIZED for rs in fleet.reports.values() for r in rs
    )
    if not revealed:
        raise StepMissing("The rollback did not come from the outcome that revealed the degradation.")
    story.tell(
        "rollback",
        f"Rollback by that very outcome ({event.position.partition}:{event.position.offset}): {event.from_variant} -> "
        f"{event.to_variant}, epoch {event.epoch}, after {failures} failures",
        rollback_id=event.rollback_id,
        position=event.position,
        failures=failures,
    )
    active = await story.expect("the active variant", m.ActiveVariant, lambda a: a.epoch == event.epoch)
    await _switches(story, fleet, active, "rollback_followed")

    await fleet.tell(f"repair {OPTIMIZED}")
    result = await order(
        ordering, m.UndoRollback, key, epoch=event.epoch, reason="the provider repaired it", actor="demo"
    )
    story.tell("undo", f"The provider repaired it, an operator undoes: {result.detail}")
    active = await story.expect("the undo", m.ActiveVariant, lambda a: a.epoch == event.epoch + 1)
    await _switches(story, fleet, active, "undo_followed")


async def _switches(story: Story, fleet: Fleet, active: m.ActiveVariant, step: str) -> None:
    """Every runtime must use a new active variant in its next or next-but-one invocation that does not explore."""
    since = _seconds(active.since)

    def after(name: str) -> list[dict[str, Any]]:
        return [r for r in fleet.reports[name] if r["started"] > since and r["source"] != "explore"]

    def number_of(name: str) -> int | None:
        numbers = (n for n, r in enumerate(after(name), 1) if r["variant_id"] == active.variant_id)
        return next(numbers, None)

    try:
        async with asyncio.timeout(STEP_SECONDS):
            await fleet.wait_for(lambda: all(number_of(name) is not None for name in fleet.names))
    except TimeoutError:
        raise StepMissing(f"Not every runtime switched to {active.variant_id}.") from None
    numbers = {name: number_of(name) or 0 for name in fleet.names}
    for name, number in numbers.items():
        started = after(name)[number - 1]["started"]
        story.tell(
            step,
            f"{name} uses {active.variant_id} in its {_ordinal(number)} invocation, "
            f"{(started - since) * 1_000:.0f} ms after the change",
            runtime=name,
            invocation=number,
        )
    if max(numbers.values()) > 2:
        raise StepMissing(f"A runtime needed more than two invocations to switch: {numbers}.")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _invocations(fleet: Fleet, variant_id: str, epoch: int) -> int:
    return sum(r["variant_id"] == variant_id and r["epoch"] == epoch for rs in fleet.reports.values() for r in rs)


def _ordinal(number: int) -> str:
    return {1: "next", 2: "next but one"}.get(number, f"{number}th")


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


class _At(Session):
    """The session with the demo's own Kafka."""

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
