"""The topics of other programs that bridges read: created if they are missing, and otherwise left as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from aiokafka.admin import NewTopic
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from crl_stream.errors import Unavailable
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings.model import Kafka

log = logging.getLogger(__name__)

_TIMEOUT_MS: Final = 15_000


async def create_sources(kafka: Kafka, topics: Iterable[str]) -> None:
    """Create the topics that do not exist; raises ``Unavailable`` if that fails.

    A consumer of a missing topic would wait silently, and would not notice for minutes that it has appeared.
    """
    async with KafkaSession(kafka).administering(request_timeout_ms=_TIMEOUT_MS) as admin:
        there = set(await admin.list_topics())
        missing = sorted({topic for topic in topics if topic} - there)
        if not missing:
            return
        new = [NewTopic(topic, kafka.partitions, kafka.replication_factor) for topic in missing]
        response = await admin.create_topics(new, timeout_ms=_TIMEOUT_MS)
    for name, code, *text in response.topic_errors:
        if (error := for_code(code)) not in {NoError, TopicAlreadyExistsError}:
            raise Unavailable(
                f"The bridge's topic {name} does not exist, and Kafka did not create it: "
                f"{(text and text[0]) or error.__name__}.",
                hint="create it, or allow this user to; is its name in [bridges.*] right?",
            )
        if error is NoError:
            log.info("created %s, which did not exist, with %d partitions", name, kafka.partitions)
