"""When the newest record of a topic says that it was written."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition


async def newest_timestamp(servers: str, topic: str, partitions: int) -> float:
    """Of the last records of the partitions the one with the highest offset; seconds since the epoch, 0 without any."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=None)
    await consumer.start()
    try:
        found: list[tuple[int, int]] = []
        for partition in range(partitions):
            place = TopicPartition(topic, partition)
            end = (await consumer.end_offsets([place]))[place]
            if end:
                consumer.assign([place])
                consumer.seek(place, end - 1)
                record = await consumer.getone(place)
                found.append((record.offset, record.timestamp))
        return max(found)[1] / 1_000 if found else 0.0
    finally:
        await consumer.stop()
