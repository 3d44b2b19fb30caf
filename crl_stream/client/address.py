"""Finds the Kafka that a runtime uses: the configured address, or else the embedded broker on this machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

if TYPE_CHECKING:
    from crl_stream.broker import Endpoint
    from crl_stream.settings.runtime_sections import Kafka, RuntimeSettings


def kafka_of(settings: RuntimeSettings) -> Kafka:
    """Return the Kafka to connect to.

    Call it before every connection, because the embedded broker may start later. Raises ``KafkaConnectionError`` if no
    Kafka is configured and no embedded broker is running.
    """
    if settings.kafka.bootstrap_servers:
        return settings.kafka
    running = _embedded(settings)
    if running is None:
        raise KafkaConnectionError(
            "no Kafka is configured, and the embedded broker is not running; see CRL_BOOTSTRAP_SERVERS"
        )
    return settings.kafka.model_copy(update={"bootstrap_servers": running.bootstrap_servers})


def _embedded(settings: RuntimeSettings) -> Endpoint | None:
    """Return the embedded broker that runs on this machine; None if there is none."""
    try:
        from crl_stream.broker import EmbeddedBroker  # imported only here, because most runtimes have an address
    except ModuleNotFoundError as error:
        if error.name not in _OF_POSIX:
            raise
        return None  # no embedded broker can run where it cannot be imported
    return EmbeddedBroker(settings.broker.data_dir, settings.client.cache_dir).status()


_OF_POSIX: Final = {"fcntl", "pwd"}
"""Modules that the embedded broker needs and Windows lacks."""
_ADDRESS: Final = re.compile(r"\('([^']+)', (\d+)")


def reason_of(error: BaseException) -> str:
    """Return one readable line that says why a client cannot reach Kafka."""
    text = " ".join(str(error).split()).removeprefix(f"{type(error).__name__}: ").rstrip(".")
    if text.startswith("Unable to bootstrap from"):
        return f"no broker at {', '.join(':'.join(found) for found in _ADDRESS.findall(text))}"
    if isinstance(error, UnknownTopicOrPartitionError):
        return "its topics do not exist: run `crl topics apply`"
    if isinstance(error, TimeoutError) and not text:
        return "no answer in time"
    return text or type(error).__name__
