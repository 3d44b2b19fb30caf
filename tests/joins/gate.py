"""A proxy in front of a prompt store that can hold the answer to a move, so that a test can kill the mirror then."""

from __future__ import annotations

import asyncio
from typing import Self

import aiohttp
from aiohttp import web


class Gate:
    """Passes every request on to the store at ``target``, and every answer back."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.moves = 0
        """How many moves have reached the store."""
        self.held = asyncio.Event()
        """Set when a move has been made in the store and its answer is held back."""
        self.hold = False
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        data, headers = await request.read(), {"content-type": request.headers.get("content-type", "")}
        url = self.target + request.raw_path
        async with self._session.request(request.method, url, data=data, headers=headers) as answer:
            body = await answer.read()
        if request.method != "GET":
            self.moves += 1
            if self.hold:
                self.held.set()
                await asyncio.sleep(3_600)  # until the mirror is killed
        return web.Response(status=answer.status, body=body, content_type=answer.content_type)
