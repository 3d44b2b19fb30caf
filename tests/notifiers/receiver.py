"""A real HTTP server with scripted answers."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web


class Receiver:
    """Records each request, and sends the next scripted answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[Callable[[], web.Response]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        return self.answers.pop(0)() if self.answers else web.Response(status=204)
