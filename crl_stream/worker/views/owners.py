"""Lets any worker answer requests about any task: from its own rows, or by querying the worker that has them."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import aiohttp
import orjson
from yarl import URL

from crl_stream.worker.monitor import Monitor

PEER_SECONDS: Final = 3.0
OWN: Final = "own"
"""Query parameter of a peer's request; the worker then answers from its own rows only, without querying others."""


class Answer(NamedTuple):
    """The response of another worker."""

    url: str
    status: int
    body: Any


class Owners:
    """Finds the worker that has a partition, and queries it."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self._session: aiohttp.ClientSession | None = None

    def peers(self) -> list[str]:
        """Return the URLs of the other workers of the group that have partitions."""
        return sorted(url for url in self._map() if url != self._me)

    def owner_of(self, partition: int) -> str | None:
        """Return the URL of the worker that has a partition's rows; None while no worker has them."""
        for url, topics in self._map().items():
            if partition in topics.get(self.monitor.table.changelog_topic_name, ()):
                return url
        return None

    def is_mine(self, partition: int) -> bool:
        """Return whether this worker has the partition."""
        return self.owner_of(partition) == self._me

    @property
    def _me(self) -> str:
        return str(self.monitor.app.conf.canonical_url)

    def _map(self) -> dict[str, dict[str, list[int]]]:
        return dict(self.monitor.app.assignor.tables_metadata())

    async def ask(self, url: str, path: str, **query: str) -> Answer | None:
        """Return another worker's response, from its own rows; None if it does not respond in time."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PEER_SECONDS))
        token = self.monitor.settings.worker.web_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        target = URL(url).joinpath(path.lstrip("/")).with_query({OWN: "1", **query})
        try:
            async with self._session.get(target, headers=headers, allow_redirects=False) as response:
                return Answer(url, response.status, orjson.loads(await response.read()))
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
            return None

    async def ask_all(self, path: str, **query: str) -> tuple[list[Any], list[str]]:
        """Return the response bodies of all peers that answered, and the URLs of those that did not."""
        peers = self.peers()
        answers = await asyncio.gather(*(self.ask(url, path, **query) for url in peers))
        bodies = [answer.body for answer in answers if answer is not None and answer.status == 200]
        silent = [u for u, a in zip(peers, answers, strict=True) if a is None or a.status != 200]
        return bodies, silent

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
