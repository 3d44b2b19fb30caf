"""The network between one client and the broker, as a TCP proxy that can fail in every way that networks do.

Each worker gets its own proxy: the broker has one listener for each, and advertises the proxy's address on it
(``listeners``), so all the client's connections pass through here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Final, Self

from crl_stream.broker.configuration import HOST

CHUNK: Final = 65_536
WAITING: Final = 32
"""Number of chunks that one direction of a connection buffers before its sender is slowed down."""
_CLOSE_WITH_RESET: Final = struct.pack("ii", 1, 0)


class Direction(Enum):
    """The direction of traffic in a connection."""

    REQUESTS = "requests"
    ANSWERS = "answers"


BOTH: Final = (Direction.REQUESTS, Direction.ANSWERS)


class Proxy:
    """A port of this machine that forwards to the broker's ``upstream`` port; it listens within ``async with``.

    Bytes that a silent network holds back are delivered when it heals, if both ends are still connected, just as TCP
    resends lost packets.  While the network is silent, new connections are accepted but get no response.
    """

    def __init__(self, upstream: int, port: int = 0) -> None:
        self.upstream, self.port = upstream, port
        self.connections = 0
        """Number of opened connections."""
        self.resets = 0
        """Number of connections that this proxy has reset."""
        self.passed: Counter[Direction] = Counter()
        """Number of bytes delivered to the other side."""
        self.held: Counter[Direction] = Counter()
        """Number of bytes received while their direction was silent."""
        self._delay = 0.0
        self._open = {direction: asyncio.Event() for direction in Direction}
        for gate in self._open.values():
            gate.set()
        self._server: asyncio.Server | None = None
        self._live: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything."""
        await self.refuse()
        self._break()
        await asyncio.gather(*(connection.ended.wait() for connection in self._live))

    # -- what a network does -------------------------------------------------------------------------
    def silence(self, *directions: Direction) -> None:
        """Hold back all traffic in the given directions (default: both) until ``heal`` is called."""
        for direction in directions or BOTH:
            self._open[direction].clear()

    def slow(self, seconds: float) -> None:
        """Deliver each byte with this delay in seconds, in each direction."""
        self._delay = seconds

    def reset(self) -> int:
        """Reset every TCP connection, even in the middle of a message; return the number of connections."""
        broken = self._break()
        self.resets += broken
        return broken

    async def refuse(self) -> None:
        """Accept no new connections; existing ones stay."""
        if self._server is not None:
            self._server.close()
            # wait_closed() is not called: since Python 3.12 it waits for the connections too.
            self._server = None

    async def accept(self) -> None:
        """Accept connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=CHUNK)
            self.port = self._server.sockets[0].getsockname()[1]

    async def heal(self) -> None:
        """Restore a good network and deliver what was held back."""
        self._delay = 0.0
        await self.accept()
        for gate in self._open.values():
            gate.set()

    # -- connections -----------------------------------------------------------------------------------
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            broker_reader, broker_writer = await asyncio.open_connection(HOST, self.upstream, limit=CHUNK)
        except OSError:
            _abort(writer)
            return
        connection = _Connection((writer, broker_writer))
        self._live.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                connection.tasks = [
                    group.create_task(self._carry(reader, broker_writer, Direction.REQUESTS)),
                    group.create_task(self._carry(broker_reader, writer, Direction.ANSWERS)),
                ]
        except* (OSError, _Ended):
            pass  # one end has closed the connection, so close the other end too
        finally:
            self._live.discard(connection)
            for each in connection.writers:
                _abort(each)
            connection.ended.set()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction) -> None:
        """Pass bytes from one end to the other, in order, with the network's delay."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)
        now, gate = asyncio.get_running_loop().time, self._open[direction]

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                if (left := due - now()) > 0:
                    await asyncio.sleep(left)
                await gate.wait()
                if not data:
                    raise _Ended  # in a silent network, not even a FIN arrives
                sink.write(data)
                await sink.drain()
                self.passed[direction] += len(data)

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            data = b"more"
            while data:
                data = await source.read(CHUNK)
                if not gate.is_set():
                    self.held[direction] += len(data)
                await waiting.put((now() + self._delay, data))

    def _break(self) -> int:
        live = list(self._live)
        for connection in live:
            for each in connection.writers:
                _abort(each)
            for task in connection.tasks:
                task.cancel()
        return len(live)


class _Ended(Exception):
    """Raised when one end has closed the connection."""


class _Connection:
    def __init__(self, writers: Iterable[asyncio.StreamWriter]) -> None:
        self.writers, self.ended = tuple(writers), asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other end sees a reset, not a clean shutdown."""
    own = writer.get_extra_info("socket")
    if own is not None and not writer.transport.is_closing():
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RESET)
    writer.transport.abort()
