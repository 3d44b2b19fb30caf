"""An agent that has only librdkafka and the contract: ``librdkafka_agent.py BROKER PREFIX``.

It reads the active variant from its topic and publishes its outcomes. ``told.py`` says what its stdin may ask.
"""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

AGENT, TASK = "refund-agent", "refund"
KEY = f"{AGENT}/{TASK}"


class Following:
    """The newest record of the active variant."""

    def __init__(self, broker: str, topic: str) -> None:
        self.active: dict[str, Any] = {"variant_id": "steady"}
        self._consumer = Consumer(
            {"bootstrap.servers": broker, "group.id": str(uuid.uuid4()), "enable.auto.commit": False}
        )
        partitions = self._consumer.list_topics(topic, 30).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

    def read(self, seconds: float) -> None:
        """Take what arrives within this time."""
        while (message := self._consumer.poll(seconds)) is not None:
            if message.error() is None and message.key() == KEY.encode() and message.value():
                found = json.loads(message.value())
                if self._age(found) > self._age(self.active):
                    self.active = found
            seconds = 0.0

    @staticmethod
    def _age(record: dict[str, Any]) -> tuple[int, int, int]:
        position = record.get("position", {"offset": -1})
        return record.get("incarnation", 0), record.get("epoch", 0), position["offset"]


def an_outcome(variant: str, epoch: int | None, *, explores: bool, fails: bool) -> bytes:
    """Return an outcome as the contract has it."""
    outcome: dict[str, Any] = {
        "schema_version": 1,
        "invocation_id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agent_name": AGENT,
        "task_type": TASK,
        "variant_id": variant,
        "status": "failure" if fails else "success",
        "variant_source": "explore" if explores else "default" if epoch is None else "live",
        "runtime_id": "runtime-1",
    }
    if epoch is not None:
        outcome["active_epoch"] = epoch
    return json.dumps(outcome).encode()


def main() -> None:
    """Do what the lines say."""
    broker, prefix = sys.argv[1:]
    producer = Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random"})
    following = Following(broker, f"{prefix}crl.active-variants")
    for line in sys.stdin:
        order = json.loads(line)
        following.read(0.1)
        while following.active.get("epoch", 0) < order.get("epoch", 0):
            following.read(1.0)
        done = []
        for _ in range(order["turns"]):
            variant, epoch = order.get("variant", following.active["variant_id"]), following.active.get("epoch")
            fails = variant in order.get("fails", ())
            value = an_outcome(variant, epoch, explores="variant" in order, fails=fails)
            producer.produce(f"{prefix}crl.invocations", value, KEY)
            done.append([variant, epoch])
        if producer.flush(60):
            raise SystemExit("Kafka has not taken every outcome")
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
