"""Watches the dashboard as open pages do, without a browser's own costs.  Runs in its own process.

    python -m benchmarks.dashboard_viewers URL COOKIE VIEWERS     # until standard input ends

Each viewer fetches the page, follows its stream, and fetches the page or its parts again whenever ``app.js`` would.
It prints ``ready`` once every stream has begun, and at the end what was received, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections import Counter
from contextlib import suppress

import aiohttp

from benchmarks.processes import give_way

BREATH = 0.25
"""Seconds that ``app.js`` waits between two fetches."""
STILL_READING = 503
"""The answer of a dashboard that has not read the topics yet."""
_STAMP = re.compile(rb'data-stamp="([^"]*)"')


class Viewer:
    """One open page."""

    def __init__(self, session: aiohttp.ClientSession, url: str, heard: Counter[str]) -> None:
        self._session, self._url, self._heard = session, url.rstrip("/"), heard
        self.live = asyncio.Event()
        self._wanted, self._whole = asyncio.Event(), False

    async def watch(self) -> None:
        """Fetch the page and follow its stream."""
        stamp = _STAMP.search(await self._fetch("/"))
        assert stamp is not None, "the answer is not the page of the fleet"
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refetch())
            group.create_task(self._listen(stamp[1].decode()))

    async def _listen(self, seen: str) -> None:
        name = ""
        async with self._session.get(f"{self._url}/stream", params={"seen": seen}) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                self._heard["bytes of streams"] += len(line)
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                    self._heard[name] += 1
                    self.live.set()
                elif line.startswith(b"data: "):
                    self.hear(name, line[6:])
        raise ConnectionError("the stream has ended")

    def hear(self, name: str, body: bytes) -> None:
        """Do what ``hear`` in ``app.js`` does."""
        told = json.loads(body)
        if name in {"fact", "overview"}:
            self._wanted.set()
        elif told.get("refetch"):
            self._whole = True
            self._wanted.set()

    def wanted(self) -> str | None:
        """Return what must be fetched now, and forget it."""
        asked, whole = self._wanted.is_set(), self._whole
        self._wanted.clear()
        self._whole = False
        return None if not asked else "page" if whole else "parts"

    async def _refetch(self) -> None:
        while True:
            await self._wanted.wait()
            if (what := self.wanted()) is not None:
                self._heard[what] += 1
                self._heard["bytes of pages"] += len(await self._fetch("/" if what == "page" else "/?parts=1"))
            await asyncio.sleep(BREATH)

    async def _fetch(self, path: str) -> bytes:
        while True:
            async with self._session.get(self._url + path, headers={"Accept": "text/html"}) as answer:
                if answer.status != STILL_READING:
                    answer.raise_for_status()
                    return await answer.read()
            self._heard["pages that came too soon"] += 1
            await asyncio.sleep(BREATH)


async def watch(url: str, cookie: str, viewers: int) -> Counter[str]:
    """Watch with several viewers until standard input ends; return what they received."""
    name, _, value = cookie.partition("=")
    heard: Counter[str] = Counter()
    limits = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(cookies={name: value}, timeout=limits, read_bufsize=2**22) as session:
        session.cookie_jar.update_cookies({name: value})
        watching = [Viewer(session, url, heard) for _ in range(viewers)]
        tasks = [asyncio.create_task(viewer.watch()) for viewer in watching]
        over = asyncio.create_task(_end_of_input().wait())
        live = asyncio.gather(*(viewer.live.wait() for viewer in watching))
        await asyncio.wait([*tasks, over, live], return_when=asyncio.FIRST_COMPLETED)
        if live.done():
            print("ready", flush=True)
            await asyncio.wait([*tasks, over], return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        for task in tasks:
            if task.done():
                await task  # raises what ended it
            task.cancel()
        await asyncio.gather(*tasks, over, live, return_exceptions=True)
    return heard


def _end_of_input() -> asyncio.Event:
    """Return an event for the end of standard input; a thread that waits for it must not keep the process alive."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        sys.stdin.read()
        with suppress(RuntimeError):  # the loop is closed: the process is ending anyway
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=read, daemon=True).start()
    return over


def main(words: list[str]) -> int:
    """Watch, and print what was received."""
    url, cookie, viewers = words
    give_way()  # viewers are elsewhere; only what they cost the worker counts
    print(json.dumps(asyncio.run(watch(url, cookie, int(viewers)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
