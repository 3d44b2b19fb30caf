"""Runs as the process of a relay, and does what the path of a request says: it dies, or is silent, at the worst moment.

python -m dashboard.dying_process     # as crl_stream.worker.dashboard_process
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

PARTS: Final = {
    "/dashboard/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    "/dashboard/sized": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst",
    "/dashboard/nothing": b"",
}
"""What is sent before the end, by path."""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request; the process ends after it, except after ``/dashboard/silent``."""
    path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
    if path in PARTS:
        writer.write(PARTS[path])
        await writer.drain()
        await asyncio.sleep(0.1)  # the worker gets the part before the connection breaks
        os._exit(1)


async def serve() -> None:
    """Listen, print the port, and stay until standard input ends; if the environment names a folder, never listen."""
    if folder := os.environ.get("NEVER_LISTENS"):
        (Path(folder) / str(os.getpid())).touch()
        await asyncio.sleep(600)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(4), "big"))
    asyncio.run(serve())
