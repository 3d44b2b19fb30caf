"""Quix Streams with its state store and default settings: at least once, RocksDB, a changelog topic."""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State

from benchmarks.contestants.job import is_outcome, publish, step
from benchmarks.contestants.meter import Course, Meter


def main() -> None:
    """Run until SIGTERM."""
    course, meter = Course(), Meter()
    app = Application(
        broker_address=course.servers,
        consumer_group=course.name,
        auto_offset_reset="earliest",
        state_dir=course.folder,
        loglevel="WARNING",
    )

    def take(message: dict[str, Any], key: str, timestamp: int, _headers: object, state: State) -> Any:
        kept = step(state.get("task"), message)
        page = publish(key, kept, timestamp, course.snapshot_seconds)
        state.set("task", kept)
        meter.count += 1
        return page

    source = app.topic(course.source, key_deserializer="str", value_deserializer="json")
    sink = app.topic(course.sink, key_serializer="str", value_serializer="json")
    frame = app.dataframe(source)
    frame = frame.filter(is_outcome).apply(take, stateful=True, metadata=True)
    frame = frame.filter(lambda made: made is not None)
    frame.to_topic(sink)
    app.run()


if __name__ == "__main__":
    main()
