"""An agent that reports with CloudEvents on Kafka: ``cloudevents_agent.py BROKER TOPIC structured|binary``.

It runs with the packages of ``requirements/bridges.txt``. ``told.py`` says what its stdin may ask.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer
from cloudevents.core.bindings.kafka import KafkaMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from told import TASK, Turn, work

MODES = {"structured": to_structured_event, "binary": to_binary_event}


def event_of(turn: Turn) -> CloudEvent:
    """Return the outcome of a turn as an event."""
    data: dict[str, Any] = {
        "variant_id": turn.variant,
        "status": "error" if turn.fails else "success",
        "runtime_id": "runtime-1",
    }
    if turn.epoch is not None:
        data["active_epoch"] = turn.epoch
    if turn.explores:
        data["variant_source"] = "explore"
    attributes = {
        "id": str(uuid.uuid4()),
        "source": "/refunds",
        "type": "crl.Invocation.v1",
        "specversion": "1.0",
        "time": datetime.now(UTC),
        "subject": "/".join(TASK),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes=attributes, data=data)


async def send(broker: str, topic: str, messages: list[KafkaMessage]) -> None:
    """Send the events in order."""
    async with AIOKafkaProducer(bootstrap_servers=broker, acks="all") as producer:
        for message in messages:
            await producer.send_and_wait(topic, message.value, headers=list(message.headers.items()))


def main() -> None:
    """Report each turn as an event."""
    broker, topic, mode = sys.argv[1:]
    waiting: list[KafkaMessage] = []

    def flush() -> None:
        asyncio.run(send(broker, topic, waiting))
        waiting.clear()

    work(lambda turn: waiting.append(MODES[mode](event_of(turn))), flush)


if __name__ == "__main__":
    main()
