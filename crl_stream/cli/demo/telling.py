"""Narration with checks: each line of a story reports something that has really happened, or the demo fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

from crl_stream.cli.demo.fleet import Fleet
from crl_stream.cli.talk import show, show_json
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.errors import CrlError
from crl_stream.kafka.reader import TopicReader

STEP_SECONDS: Final = 45.0
"""Longest wait for a step, in seconds."""

T = TypeVar("T")


class StepMissing(CrlError):
    """Raised when a step of the story does not happen."""


class Story:
    """Narrates one run of the demo, and checks each step."""

    def __init__(self, *, json: bool) -> None:
        self.json, self.began = json, time.monotonic()

    def tell(self, step: str, text: str, **figures: Any) -> None:
        """Print one line of the story."""
        seconds = time.monotonic() - self.began
        if self.json:
            show_json({"step": step, "seconds": round(seconds, 2), "text": text, **figures})
        else:
            show(f"{seconds:6.1f} s  {text}")


class Witness:
    """Collects everything published about one task."""

    def __init__(self, key: TaskKey) -> None:
        self.key = key
        self.facts: list[Any] = []
        self._news = asyncio.Condition()

    async def listen(self, reader: TopicReader, topics: list[str], ready: asyncio.Event) -> None:
        """Start collecting."""
        async with reader.following(topics) as received:
            ready.set()
            async for one in received:
                message = one.message
                if (getattr(message, "agent_name", None), getattr(message, "task_type", None)) == self.key:
                    async with self._news:
                        self.facts.append(message)
                        self._news.notify_all()

    async def expect(self, what: str, kind: type[T], fits: Callable[[T], bool] = lambda _: True) -> T:
        """Wait for a fact; raises ``StepMissing`` if it does not arrive."""

        def find() -> T | None:
            return next((fact for fact in self.facts if isinstance(fact, kind) and fits(fact)), None)

        try:
            async with asyncio.timeout(STEP_SECONDS), self._news:
                await self._news.wait_for(lambda: find() is not None)
        except TimeoutError:
            raise StepMissing(
                f"This did not happen within {STEP_SECONDS:.0f} s: {what}.",
                hint="the machine may be too busy: run it again; the logs in worker.data_dir have details",
            ) from None
        found = find()
        assert found is not None
        return found


async def tell_switches(story: Story, fleet: Fleet, active: m.ActiveVariant, step: str) -> None:
    """Check that every runtime uses a new active variant within two invocations that do not explore."""
    since = seconds_of(active.since)

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


def _ordinal(number: int) -> str:
    return {1: "next", 2: "second"}.get(number, f"{number}th")


def seconds_of(text: str) -> float:
    """Convert a timestamp of the contract to seconds since the Unix epoch."""
    return datetime.fromisoformat(text).timestamp()
