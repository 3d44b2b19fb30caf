"""Stock Faust as in its documentation: an agent over a topic, one table, one send."""

from __future__ import annotations

import sys
from typing import Any

import faust

from benchmarks.contestants.job import is_outcome, publish, step
from benchmarks.contestants.meter import Course, Meter


def create_app(course: Course) -> faust.App:
    """Build the app, with defaults wherever the job allows."""
    app = faust.App(
        course.name,
        broker=f"kafka://{course.servers}",
        datadir=course.folder,
        topic_partitions=course.partitions,
        topic_replication_factor=1,
        web_enabled=False,
    )
    source = app.topic(course.source, key_serializer="raw", value_serializer="json")
    sink = app.topic(course.sink, key_serializer="raw", value_serializer="json")
    tasks = app.Table("tasks", partitions=course.partitions)
    meter = Meter()

    @app.agent(source)
    async def take(stream: Any) -> None:
        async for event in stream.events():
            message = event.value
            if not is_outcome(message):
                continue
            task = event.key.decode()
            state = step(tasks.get(task), message)
            page = publish(task, state, int(event.message.timestamp * 1_000), course.snapshot_seconds)
            tasks[task] = state
            if page is not None:
                await sink.send(key=event.key, value=page)
            meter.count += 1

    return app


if __name__ == "__main__":
    given = Course()
    sys.argv[1:] = ["worker", "--loglevel", "warn", "--without-web"]
    create_app(given).main()
