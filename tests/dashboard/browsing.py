"""A browser for tests: it opens the dashboard with a one-time address, keeps the cookie, and sends what pages send."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import aiohttp
from yarl import URL

from crl_stream.dashboard.web.access import PROOF


class Event(NamedTuple):
    """One event of the stream."""

    name: str
    id: str
    data: dict[str, Any]


class Browser:
    """A person's browser on one dashboard."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.csrf = self.stamp = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        """Return status, text and headers of a page."""
        async with self.session.get(self.url + path, headers={"Accept": "text/html"} | headers) as response:
            return response.status, await response.text(), response.headers

    async def json(self, path: str) -> tuple[int, Any]:
        """Return a page as JSON."""
        async with self.session.get(self.url + path, headers={"Accept": "application/json"}) as response:
            return response.status, await response.json()

    async def enter(self, address: str) -> str:
        """Open the dashboard with a one-time address and return the page of the fleet."""
        async with self.session.get(address, headers={"Accept": "text/html"}) as response:
            assert response.status == 200, await response.text()
            page = await response.text()
        self.look_at(page)
        return page

    def look_at(self, page: str) -> None:
        """Remember what the script of a page reads from it."""
        self.csrf, self.stamp = in_page(page, "csrf"), in_page(page, "stamp")

    @property
    def cookie(self) -> str:
        """The secret of the session."""
        return self._session_cookie().value

    @property
    def session_cookie(self) -> str:
        """The cookie of the session as a browser sends it."""
        found = self._session_cookie()
        return f"{found.key}={found.value}"

    def _session_cookie(self) -> Any:
        [found] = self.session.cookie_jar.filter_cookies(URL(self.url + "/dashboard/")).values()
        return found

    async def order(self, command: str, reason: str = "a test asked for it", **fields: Any) -> tuple[int, Any]:
        """Send an order as the script of a page does."""
        headers = {PROOF: self.csrf, "Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        body = {"command": command, "reason": reason} | fields
        async with self.session.post(f"{self.url}/dashboard/commands", json=body, headers=headers) as response:
            return response.status, await response.json()

    @asynccontextmanager
    async def stream(self, seen: str = "", *, last: str = "", task: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        """Open the stream of a page."""
        query = {"seen": seen or self.stamp} | ({"task": task} if task else {})
        headers = {"Last-Event-ID": last} if last else {}
        async with self.session.get(f"{self.url}/dashboard/stream", params=query, headers=headers) as response:
            assert response.status == 200, await response.text()
            yield events_of(response)


def in_page(page: str, name: str) -> str:
    """Return what a page carries for its script."""
    found = re.search(rf"data-{name}=[\"']([^\"']*)[\"']", page)
    assert found is not None, page[:500]
    return found[1]


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Yield the events of a stream."""
    fields: dict[str, str] = {}
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}


async def until(events: AsyncIterator[Event], true: Any, seconds: float = 30.0) -> Event:
    """Return the first event that ``true`` accepts."""
    async with asyncio.timeout(seconds):
        async for event in events:
            if true(event):
                return event
    raise AssertionError("the stream ended")
