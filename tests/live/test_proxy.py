"""The proxy with which the campaign breaks networks, tested with plain sockets: every fault must take effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from campaign.live.proxy import Direction, Proxy

PATIENCE = 10.0
MOMENT = 0.2
"""Seconds after which nothing more is expected to arrive over loopback."""


class Echo:
    """A server that echoes everything it receives, and keeps a copy."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = asyncio.Event()
        self.server: asyncio.Server | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.ended.set()
            writer.close()

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.sockets[0].getsockname()[1]


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    served = Echo()
    served.server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    yield served
    served.server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with Proxy(echo.port) as started:
        yield started


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.transport.abort()


async def ask(client: Client, line: bytes) -> bytes:
    client[1].write(line)
    return await asyncio.wait_for(client[0].readexactly(len(line)), PATIENCE)


async def nothing_comes(client: Client) -> bool:
    try:
        await asyncio.wait_for(client[0].readexactly(1), MOMENT)
    except TimeoutError:
        return True
    return False


async def test_a_good_network_carries_every_byte_in_order(client: Client, proxy: Proxy) -> None:
    text = bytes(range(256)) * 4_000
    assert await ask(client, text) == text
    assert proxy.passed == {Direction.REQUESTS: len(text), Direction.ANSWERS: len(text)}


async def test_a_silent_network_delivers_nothing_until_it_heals_and_then_all_of_it(
    client: Client, proxy: Proxy, echo: Echo
) -> None:
    proxy.silence()
    client[1].write(b"lost?")
    assert await nothing_comes(client)
    assert echo.heard == b""
    assert proxy.held[Direction.REQUESTS] == 5
    await proxy.heal()
    assert await asyncio.wait_for(client[0].readexactly(5), PATIENCE) == b"lost?"


async def test_where_only_answers_are_lost_the_request_has_its_effect(client: Client, proxy: Proxy, echo: Echo) -> None:
    proxy.silence(Direction.ANSWERS)
    client[1].write(b"done")
    assert await nothing_comes(client)
    assert echo.heard == b"done"
    assert proxy.held == {Direction.ANSWERS: 4}


async def test_where_only_requests_are_lost_answers_still_come(client: Client, proxy: Proxy, echo: Echo) -> None:
    assert await ask(client, b"a") == b"a"
    proxy.silence(Direction.REQUESTS)
    client[1].write(b"b")
    assert await nothing_comes(client)
    assert echo.heard == b"a"


async def test_a_connection_made_while_the_network_is_silent_gets_no_answer(proxy: Proxy) -> None:
    proxy.silence()
    late = await asyncio.open_connection("127.0.0.1", proxy.port)
    late[1].write(b"hello")
    assert await nothing_comes(late)
    await proxy.heal()
    assert await asyncio.wait_for(late[0].readexactly(5), PATIENCE) == b"hello"
    late[1].transport.abort()


async def test_a_reset_is_one_at_both_ends(client: Client, proxy: Proxy, echo: Echo) -> None:
    assert await ask(client, b"a") == b"a"
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(client[0].readexactly(1), PATIENCE)
    await asyncio.wait_for(echo.ended.wait(), PATIENCE)
    assert proxy.resets == 1


async def test_after_a_reset_a_new_connection_works(client: Client, proxy: Proxy) -> None:
    assert await ask(client, b"a") == b"a"
    proxy.reset()
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await ask(again, b"b") == b"b"
    again[1].transport.abort()


async def test_a_slow_network_is_late_by_its_delay_in_each_direction_and_keeps_the_order(
    client: Client, proxy: Proxy
) -> None:
    proxy.slow(0.15)
    now = asyncio.get_running_loop().time
    asked = now()
    for part in (b"a", b"b", b"c"):
        client[1].write(part)
        await client[1].drain()
    assert await asyncio.wait_for(client[0].readexactly(3), PATIENCE) == b"abc"
    assert now() - asked >= 0.3  # never earlier than the delays; a busy machine may be later


async def test_connections_are_refused_and_those_that_there_are_stay(client: Client, proxy: Proxy) -> None:
    assert await ask(client, b"a") == b"a"
    port = proxy.port
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert await ask(client, b"b") == b"b"
    await proxy.heal()
    assert proxy.port == port
    again = await asyncio.open_connection("127.0.0.1", port)
    assert await ask(again, b"c") == b"c"
    again[1].transport.abort()


async def test_the_end_of_one_side_is_the_end_of_the_other(client: Client, proxy: Proxy, echo: Echo) -> None:
    assert await ask(client, b"a") == b"a"
    client[1].close()
    await asyncio.wait_for(echo.ended.wait(), PATIENCE)


async def test_a_farewell_is_lost_in_a_silent_network_too(client: Client, proxy: Proxy, echo: Echo) -> None:
    assert await ask(client, b"a") == b"a"
    proxy.silence()
    client[1].close()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(echo.ended.wait(), MOMENT)
    await proxy.heal()
    await asyncio.wait_for(echo.ended.wait(), PATIENCE)


async def test_a_client_of_a_broker_that_is_gone_is_told_so_by_a_reset(echo: Echo) -> None:
    async with Proxy(echo.port) as proxy:
        assert echo.server is not None
        echo.server.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), PATIENCE)
        writer.transport.abort()
