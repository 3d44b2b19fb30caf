"""What the server sends to an open page, as server-sent events.

``GET BASE/stream?seen=STAMP[&task=AGENT/TASK]``.  ``STAMP`` says what the page was made from (``Viewer.stamp``); after
a break, the browser's own ``Last-Event-ID`` takes its place.  With ``task``, only changes of that task are sent, and
changes that are about no single task.

Every event has an id, which is a stamp, and a JSON object as its data:

``snapshot``
    The first event of a connection, and again whenever too much has changed to be told one by one: what a ``beat``
    says, and ``{"refetch": bool, "stamp"}``.  With ``refetch`` the page is out of date: fetch it again and replace its
    contents.  Without it, what has changed since the stamp follows.
``task``
    A task has changed: what ``pages.Rows.change`` returns, ``{"key": "AGENT/TASK", "row"}``; the row is null if
    the task no longer exists.
``fact``
    ``{"kind", "key": "AGENT/TASK"|null, "id"}``: something happened; ``kind`` is one of ``rollback``, ``fact``,
    ``degradation``, ``alert``, ``proposal``.  The page fetches its parts again (``?parts``).
``overview``
    ``{}``: the sections about the whole system have changed; the page fetches its parts again.
``beat``
    Every 5 seconds, and at once when it changes whether the page is live: ``{"now", "heard_at", "age", "live", "since",
    "text"}``.  ``age`` is that of the newest record in milliseconds, or null if there is none; ``text`` is a sentence
    such as ``not live since 2026-11-28 14:30:00 UTC: Kafka does not answer``, and empty while the page is live.

All times are milliseconds since the epoch.  Changes are collected for ``PAINT_SECONDS`` and each task is sent once.  A
page that reads slowly gets a ``snapshot`` with ``refetch`` instead of what it missed; one that reads nothing for
``WRITE_SECONDS`` is disconnected.  Too many open pages get 503, and ``retry`` tells browsers to wait 1 second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiohttp import web

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.entries import moment
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.web.answers import HEADERS
from crl_stream.dashboard.web.hub import Hub, Subscription, now_ms
from crl_stream.wire.codec import encode

BEAT_SECONDS: Final = 5.0
PAINT_SECONDS: Final = 0.15
WRITE_SECONDS: Final = 20.0


class Painter:
    """Prepares what a stream sends; rows are cached, because every viewer gets the same ones."""

    def __init__(self, change: Callable[[Fleet, TaskKey, int], dict[str, Any]]) -> None:
        self._change = change
        self._rows: dict[TaskKey, bytes] = {}
        self._stamp = ""

    def events(self, hub: Hub, found: Subscription) -> Iterator[bytes]:
        """Return the events for everything that waits, and empty the subscription."""
        if self._stamp != hub.stamp:
            self._stamp = hub.stamp
            self._rows.clear()
        if found.refetch:
            found.refetch = False
            yield event(hub, "snapshot", standing(hub) | {"refetch": True, "stamp": hub.stamp})
        tasks, happened = list(found.tasks), list(found.events)
        found.tasks.clear()
        found.events.clear()
        for key in tasks:
            if key not in self._rows:
                self._rows[key] = event(hub, "task", self._change(hub.fleet, key, now_ms()))
            yield self._rows[key]
        for change in happened:
            about = None if change.key is None else str(change.key)
            yield event(hub, "fact", {"kind": change.kind, "key": about, "id": change.id})
        if found.overview:
            found.overview = False
            yield event(hub, "overview", {})


def event(hub: Hub, name: str, body: dict[str, Any]) -> bytes:
    """Return one event as it is sent."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), hub.stamp.encode(), encode(body))


def standing(hub: Hub) -> dict[str, Any]:
    """Return how current the fleet is."""
    now, heard_at = now_ms(), hub.fleet.heard_at
    return {
        "now": now,
        "heard_at": heard_at or None,
        "age": max(0, now - heard_at) if heard_at else None,
        "live": hub.live,
        "since": hub.lost_at,
        "text": "" if hub.live else not_live(hub),
    }


def not_live(hub: Hub) -> str:
    """Return why the fleet is not live, and since when."""
    trouble = (hub.trouble or "no one was watching").rstrip(".")
    return f"not live since {moment(hub.lost_at)}: {trouble}" if hub.lost_at is not None else f"not live: {trouble}"


def not_live_sentence(hub: Hub) -> str:
    """Return ``not_live`` as the sentence of a page; empty while the fleet is live."""
    text = "" if hub.live else not_live(hub)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


async def send_events(
    request: web.Request,
    hub: Hub,
    painter: Painter,
    about: TaskKey | None,
    still_known: Callable[[], bool],
) -> web.StreamResponse:
    """Send events until the viewer leaves, its session ends, or the process stops."""
    seen = request.headers.get("Last-Event-ID") or request.query.get("seen", "")
    response = web.StreamResponse(
        headers=HEADERS
        | {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    found = hub.subscribe(about, seen[:64])
    try:
        first = b"retry: 1000\n\n"
        if not found.refetch:
            first += event(hub, "snapshot", standing(hub) | {"refetch": False, "stamp": hub.stamp})
        await _write(response, first)
        live = hub.live
        while not hub.closing and still_known():
            events = list(painter.events(hub, found))
            if not events or live != hub.live:
                events.append(event(hub, "beat", standing(hub)))
            live = hub.live
            await _write(response, b"".join(events))
            await asyncio.sleep(PAINT_SECONDS)
            await _woken(found, hub)
    except (ConnectionResetError, TimeoutError):
        pass  # the viewer has left, or reads nothing
    finally:
        hub.unsubscribe(found)
    return response


async def _woken(found: Subscription, hub: Hub) -> None:
    """Wait until there is something to send, or a beat is due."""
    if not hub.closing:
        try:
            async with asyncio.timeout(BEAT_SECONDS - PAINT_SECONDS):
                await found.wake.wait()
        except TimeoutError:
            pass
    found.wake.clear()


async def _write(response: web.StreamResponse, told: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(told)
