"""How to reach Kafka: one place that turns settings into options of aiokafka and its errors into ours."""

from __future__ import annotations

import errno
import math
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from crl_stream.errors import Unavailable
from crl_stream.settings.model import Kafka

_OF_THE_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def connection_options(kafka: Kafka) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client takes: where Kafka is and how to be let in."""
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
    """TLS as the settings say: certificates are checked, also the host's name."""
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile or None)
        if kafka.ssl_certfile:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile or None)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(
            f"The certificates cannot be read: {error}.", hint="see kafka.ssl_cafile, ssl_certfile and ssl_keyfile"
        ) from error
    return context


@contextmanager
def reaching(kafka: Kafka) -> Iterator[None]:
    """Turn what aiokafka raises while a broker is asked into ``Unavailable`` with a hint.

    A disk that takes no more is not the broker's: that error passes as it is.
    """
    where = kafka.bootstrap_servers
    try:
        yield
    except (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, TimeoutError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise Unavailable(
            f"Kafka does not answer at {where}.",
            hint="is it running? `crl up` starts everything; CRL_BOOTSTRAP_SERVERS names another address",
        ) from error
    except (AuthenticationFailedError, TopicAuthorizationFailedError) as error:
        raise Unavailable(
            f"Kafka at {where} does not let this user in: {error}.",
            hint="see kafka.security_protocol, sasl_username and the ACLs",
        ) from error
    except KafkaError as error:
        raise Unavailable(
            f"Kafka at {where} refused: {error}.", hint="`crl topics diff` shows what is wrong"
        ) from error


def wait_through_outages(producer: Any) -> None:
    """Let what an idempotent producer was given wait for as long as an outage lasts.

    aiokafka repeats what it has sent for ever, and yet fails what waits to be sent after the request timeout where the
    last metadata named no leader: a broker that is about to stop says so, and so does one that has lost its topics.
    """
    producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001


async def partitions_of(consumer: Any, topics: Iterable[str]) -> dict[str, list[int]]:
    """The partitions of each topic that exists, as the cluster has them now.

    aiokafka asks the cluster in ``AIOKafkaConsumer.topics()`` too, and keeps the partitions to itself.
    """
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001
    return {topic: sorted(found) for topic in topics if (found := cluster.partitions_for_topic(topic))}


async def group_state(admin: Any, group: str) -> str:
    """State of a consumer group, in Kafka's words; ``Dead`` when it never was, or has no member.

    Ask for one group at a time: aiokafka misreads the answer about several and closes the connection.
    """
    for response in await admin.describe_consumer_groups([group]):
        for code, _, state, _, _, members, *_ in response.groups:
            return str(state) if not code and members else "Dead"
    return "Dead"
