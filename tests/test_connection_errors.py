"""Which errors are attributed to the broker, and which are not."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.producer.sender import Sender
from builders import a_command

from crl_stream.core import messages as m
from crl_stream.errors import Unavailable
from crl_stream.kafka.commands import give, give_all
from crl_stream.kafka.connection import reaching
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings.model import Kafka


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_not_called_a_silent_broker(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as raised, reaching(Kafka()):
        raise OSError(number, os.strerror(number))
    assert raised.value.errno == number


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ECONNRESET])
def test_a_network_that_does_not_answer_is_said_with_the_address(number: int) -> None:
    with pytest.raises(Unavailable, match="Kafka does not answer"), reaching(Kafka()):
        raise OSError(number, os.strerror(number))


def test_brokers_that_are_paused_do_not_answer_and_have_not_refused() -> None:
    with pytest.raises(Unavailable, match="Kafka does not answer") as raised, reaching(Kafka()):
        raise KafkaError("Unable to get cluster metadata over all known brokers")
    assert "topics diff" not in (raised.value.hint or "")


async def test_a_command_to_a_broker_that_is_paused_ends_after_the_seconds_that_were_asked_for() -> None:
    ended = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    kafka = Kafka(bootstrap_servers=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    orders = [
        (give_all, {"command": a_command(m.HoldAll)}),
        (give, {"command": a_command(m.HoldTask)}),
    ]
    try:
        async with asyncio.timeout(20):  # without the limit, each takes the 40 s of aiokafka
            for send, command in orders:
                with pytest.raises(Unavailable, match=r"does not answer.*The command was not sent"):
                    await send(kafka, timeout=0.5, **command)
    finally:
        ended.set()
        server.close()


async def test_a_topic_that_is_kept_from_this_user_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of all topics omits a forbidden one as if it did not exist; only a request by name is refused."""

    async def refuse(_: Any, cluster: Any, topics: Any) -> bool:
        cluster.unauthorized_topics = set(topics or ())
        return True

    async def found(_: Any) -> None:
        """Do nothing, as if the brokers had been found."""

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", refuse)
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", found)
    monkeypatch.setattr(Sender, "start", found)
    with pytest.raises(Unavailable, match=r"does not let this user in.*orders"):
        async with KafkaSession(Kafka()) as session, session.producing() as producer:
            await producer.send_and_wait("orders", b"{}", partition=0)
