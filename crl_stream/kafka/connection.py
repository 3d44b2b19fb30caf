"""Turns settings into options for aiokafka, and errors of aiokafka into errors of crl-stream."""

from __future__ import annotations

import asyncio
import errno
import math
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from crl_stream.errors import Unavailable

if TYPE_CHECKING:
    from crl_stream.settings.runtime_sections import Kafka

CONNECT_SECONDS: Final = 5.0
"""How long brokers may take to answer at first, however short the time for a command is."""
_OF_THE_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def connection_options(kafka: Kafka) -> dict[str, Any]:
    """Return the keyword arguments for every aiokafka client: Kafka's address and the credentials."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = kafka.sasl_password.get_secret_value()
    return options


def tls_context(kafka: Kafka) -> ssl.SSLContext:
    """Return the TLS context for the settings; it checks certificates and host names."""
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile or None)
        if kafka.ssl_certfile:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile or None)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(
            f"The certificates cannot be read: {error}.", hint="see kafka.ssl_cafile, ssl_certfile and ssl_keyfile"
        ) from error
    return context


def _no_answer(where: str) -> Unavailable:
    return Unavailable(
        f"Kafka does not answer at {where}.",
        hint="`crl up` starts everything; if Kafka runs elsewhere, set CRL_BOOTSTRAP_SERVERS",
    )


@contextmanager
def reaching(kafka: Kafka) -> Iterator[None]:
    """Turn errors of aiokafka during a call to a broker into ``Unavailable`` with a hint.

    An error about a full or read-only disk on this machine does not come from Kafka, so it is raised unchanged.
    """
    where = kafka.bootstrap_servers
    try:
        yield
    except (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, TimeoutError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise _no_answer(where) from error
    except (AuthenticationFailedError, TopicAuthorizationFailedError) as error:
        raise Unavailable(
            f"Kafka at {where} does not let this user in: {error}.",
            hint="see kafka.security_protocol, sasl_username and the ACLs",
        ) from error
    except KafkaError as error:
        if type(error) is KafkaError and "metadata" in str(error):  # aiokafka's word for brokers that are silent
            raise _no_answer(where) from error
        raise Unavailable(
            f"Kafka at {where} refused: {error}.", hint="`crl topics diff` shows what is wrong"
        ) from error


@asynccontextmanager
async def reaching_within(kafka: Kafka, seconds: float) -> AsyncIterator[None]:
    """Do as ``reaching`` does, and also if the brokers have not answered within ``seconds``, or ``CONNECT_SECONDS``."""
    with reaching(kafka):
        async with asyncio.timeout(max(seconds, CONNECT_SECONDS)):
            yield


def wait_through_outages(producer: Any) -> None:
    """Keep the records of an idempotent producer waiting for as long as an outage lasts.

    aiokafka retries records that it has already sent, without limit.  But if the last metadata named no leader, it
    fails records that are still unsent after the request timeout.  A broker names no leader when it is about to stop or
    has lost its topics.
    """
    producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001


async def partitions_of(consumer: Any, topics: Iterable[str]) -> dict[str, list[int]]:
    """Ask the cluster for the current partitions of each topic that exists.

    ``AIOKafkaConsumer.topics()`` also asks the cluster, but does not return the partitions.
    """
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001
    return {topic: sorted(found) for topic in topics if (found := cluster.partitions_for_topic(topic))}


async def group_state(admin: Any, group: str) -> str:
    """Return the state of a consumer group in Kafka's terms; ``Dead`` if it never existed or has no members.

    Ask for one group at a time: aiokafka misreads the answer about several and closes the connection.
    """
    for response in await admin.describe_consumer_groups([group]):
        for code, _, state, _, _, members, *_ in response.groups:
            return str(state) if not code and members else "Dead"
    return "Dead"
