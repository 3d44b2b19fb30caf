"""Reads rollbacks with a plain Kafka client; they are JSON, as described in topics/README.md.

``python examples/follow_rollbacks.py 127.0.0.1:9092`` prints each rollback.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError


async def main(bootstrap_servers: str) -> None:
    """Print each rollback once; after a crash, a rollback may arrive twice with the same id."""
    seen: set[str] = set()
    consumer = AIOKafkaConsumer(
        "crl.rollbacks", bootstrap_servers=bootstrap_servers, group_id="my-pager", auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        async for record in consumer:
            event = json.loads(record.value)
            if event["rollback_id"] not in seen:
                seen.add(event["rollback_id"])
                print(f"{event['from_variant']} -> {event['to_variant']}: {event['reason']}")
                print(f"  undo it with: {event['undo_command']}")
    finally:
        await consumer.stop()


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # the message below replaces its log lines
    try:
        asyncio.run(main(address))
    except (KafkaError, OSError, ValueError) as error:
        print(f"Rollbacks cannot be read at {address}: {error}", file=sys.stderr)
        print("hint: crl broker status shows the embedded Kafka's address; crl up starts it", file=sys.stderr)
        sys.exit(69)
    except KeyboardInterrupt:
        sys.exit(130)
