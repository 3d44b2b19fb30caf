"""A stand-in for Langfuse's HTTP API: the endpoint for scores, with the contract of the real ``langfuse`` package.

Langfuse itself needs ClickHouse, Postgres, Redis and S3, so it does not run here. That this stand-in keeps the contract
is checked by the real package, which reads the same scores from it (``programs/langfuse_scores.py``).
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from aiohttp import web

USER: Final = "pk-lf-test"
PASSWORD: Final = "sk-lf-test"
ALLOWED: Final = {"limit", "cursor", "fields", "name", "fromTimestamp", "toTimestamp"}


class Langfuse:
    """Scores, newest first, as the real API orders them."""

    def __init__(self, per_page: int = 3) -> None:
        self.per_page = per_page
        self.scores: list[dict[str, Any]] = []
        self.url = ""
        self.asked: list[dict[str, str]] = []
        """The query of every request."""
        self.fails = 0
        """How many requests to answer with an error before the next good answer."""

    def add(self, name: str, value: Any, time: str, **more: Any) -> dict[str, Any]:
        """Add a score with the fields that the package's types require."""
        kind = {bool: "BOOLEAN", str: "CATEGORICAL"}.get(type(value), "NUMERIC")
        score = {
            "id": f"score-{len(self.scores) + 1}",
            "projectId": "project",
            "name": name,
            "value": value,
            "dataType": kind,
            "source": "EVAL",
            "timestamp": time,
            "environment": "default",
            "createdAt": time,
            "updatedAt": time,
        } | more
        self.scores.append(score)
        return score

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request for scores."""
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != expected:
            return web.json_response({"message": "Invalid credentials"}, status=401)
        query = dict(request.query)
        self.asked.append(query)
        if self.fails:
            self.fails -= 1
            return web.json_response({"message": "try again"}, status=503)
        if unknown := query.keys() - ALLOWED:
            return web.json_response({"message": f"unknown {unknown}"}, status=400)
        since = datetime.fromisoformat(query["fromTimestamp"])
        found = [
            one
            for one in self.scores
            if one["name"] in query["name"].split(",") and datetime.fromisoformat(one["timestamp"]) >= since
        ]
        found.sort(key=lambda one: one["timestamp"], reverse=True)
        start = int(base64.urlsafe_b64decode(query["cursor"])) if "cursor" in query else 0
        end = start + min(self.per_page, int(query["limit"]))
        meta: dict[str, Any] = {"limit": self.per_page}
        if end < len(found):
            meta["cursor"] = base64.urlsafe_b64encode(str(end).encode()).decode()
        return web.json_response({"data": found[start:end], "meta": meta})


@asynccontextmanager
async def langfuse(per_page: int = 3) -> AsyncIterator[Langfuse]:
    """Run the stand-in on the loopback interface."""
    double = Langfuse(per_page)
    app = web.Application()
    app.router.add_get("/api/public/v3/scores", double.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    double.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    try:
        yield double
    finally:
        await runner.cleanup()
