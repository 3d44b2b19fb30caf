"""A receiver for notices."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from notifiers.receiver import Receiver


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Receiver()
    app = web.Application()
    app.router.add_post("/hook/{token}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/T0P-SECRET"
    yield found
    await runner.cleanup()
