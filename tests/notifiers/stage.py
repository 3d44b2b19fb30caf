"""A scripted channel, a clock that moves only during a sleep, and alerts to deliver."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.notifiers.channels.log import LogOptions
from crl_stream.notifiers.failures import Undelivered
from crl_stream.notifiers.notice import Notice
from crl_stream.notifiers.notifier import Notifier
from crl_stream.wire.codec import encode

EXAMPLES = Path(__file__).resolve().parents[2] / "topics" / "examples"
KINDS = {"crl.alerts": m.Alert, "crl.rollbacks": m.RollbackEvent, "crl.degradations": m.DegradationAlert}
NOW = "2025-11-19T15:00:00Z"


def an_example(topic: str, name: str, **fields: Any) -> Any:
    text = (EXAMPLES / topic / f"{name}.json").read_text(encoding="utf-8")
    return msgspec.convert(json.loads(text) | fields, KINDS[topic])


def an_alert(number: int = 0, **fields: Any) -> Any:
    """Return the alert of a rollback, different for each number."""
    own = {"alert_id": f"alert-20251119-{number:012x}", "text": f"a/t v{number}: rolled back; undo: crl undo a/t"}
    return an_example("crl.alerts", "Alert-rollback", **(own | {"subject": f"a/t v{number}"} | fields))


class Raw:
    """A record as the consumer delivers it."""

    def __init__(self, message: Any, offset: int = 0) -> None:
        self.offset, self.timestamp, self.key, self.headers = offset, 0, b"a/t", ()
        self.value = message if isinstance(message, bytes | None) else encode(message)


def records(messages: Iterable[Any]) -> list[Any]:
    return [Raw(message, offset) for offset, message in enumerate(messages)]


class Clock:
    """A clock that moves only during a sleep."""

    def __init__(self, at: str = NOW) -> None:
        self.seconds = from_text(at) / 1_000
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class Scripted:
    """A channel that fails as scripted, then accepts everything."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.tried: list[Notice] = []
        self.taken: list[Notice] = []
        self.closed = False

    async def send(self, notice: Notice) -> None:
        self.tried.append(notice)
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(notice)

    async def close(self) -> None:
        self.closed = True


def a_notifier(channel: Any, clock: Clock | None = None, *, dashboard: str = "", **options: Any) -> Notifier:
    """Return a notifier whose waits take no real time, and are never shortened at random."""
    clock = clock or Clock()
    return Notifier(
        "ops",
        options.pop("settings", None) or LogOptions(**options),
        channel,
        dashboard=dashboard,
        now=clock.now,
        elapsed=clock.now,
        sleep=clock.sleep,
        spread=lambda _, longest: longest,
    )


def down(times: int) -> list[Exception]:
    return [Undelivered("down") for _ in range(times)]
