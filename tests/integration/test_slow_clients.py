"""Clients that open connections and never finish a request do not block the views for others."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from installation import Installation

pytestmark = pytest.mark.integration


async def test_hundreds_of_connections_that_send_headers_for_ever_do_not_close_the_views(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    port = int(worker.url.rpartition(":")[2])
    sockets: list[socket.socket] = []
    try:
        for _ in range(600):
            opened = socket.create_connection(("127.0.0.1", port), timeout=5)
            opened.sendall(b"GET /api/tasks HTTP/1.1\r\nHost: x\r\nX-a: ")
            sockets.append(opened)
        for _ in range(5):
            assert (await worker.get("/readyz"))[0] == 200
            for slow in sockets:
                try:
                    slow.sendall(b"b")
                except OSError:
                    continue
            await asyncio.sleep(0.2)
        begun, left = time.monotonic(), sockets
        while left and time.monotonic() - begun < 30:
            left = [one for one in left if not _was_closed(one)]
            await asyncio.sleep(0.2)
        assert not left
        assert (await worker.get("/readyz"))[0] == 200
    finally:
        for one in sockets:
            one.close()
    assert await worker.stop() == 0


def _was_closed(one: socket.socket) -> bool:
    one.settimeout(0.001)
    try:
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
