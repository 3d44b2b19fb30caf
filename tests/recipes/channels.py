"""The example channel ``syslog``: the settings accept it, it delivers, and it retries while nothing listens."""

from __future__ import annotations

import asyncio

import pytest
from notifiers.stage import a_notifier, an_alert, records

from crl_stream.errors import ConfigError
from crl_stream.notifiers.channels import KINDS
from crl_stream.settings.notifiers import resolve_notifiers
from crl_stream.settings.origin import Origin
from crl_stream.wire.topics import ALERTS


def settings(**fields: object) -> object:
    layers = [(f"notifiers.ops.{name}", Origin(value, "crl.toml")) for name, value in fields.items()]
    return resolve_notifiers(layers).usable["ops"]


def test_it_is_a_kind_with_settings_of_its_own() -> None:
    options = settings(kind="syslog", host="logs.example.com")
    assert options.place() == "logs.example.com:601"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"notifiers\.ops\.port"):
        settings(kind="syslog", host="logs.example.com", port=0)


async def test_it_delivers_as_soon_as_somebody_listens() -> None:
    lines: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    options = settings(kind="syslog", host="127.0.0.1", port=port)
    notifier = a_notifier(KINDS["syslog"].channel("ops", options), settings=options)  # type: ignore[arg-type]
    sleep = notifier._sleep

    async def listen_while_it_waits(seconds: float) -> None:
        nonlocal server
        if notifier.attempts_failed == 2:
            server = await asyncio.start_server(take, "127.0.0.1", port)
        await sleep(seconds)

    notifier._sleep = listen_while_it_waits
    await notifier.deliver(ALERTS, records([an_alert()]))
    while not lines:
        await asyncio.sleep(0.01)
    server.close()
    assert (notifier.attempts_failed, notifier.delivered) == (2, 1)
    assert lines[0].startswith(b"<10>1 ")
    assert lines[0].endswith(b"v0: rolled back; undo: crl undo a/t\n")
