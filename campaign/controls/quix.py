"""Count records with Quix Streams, exactly once: ``python quix.py``, with settings from the environment."""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application, State

NAME = os.environ["CONTROL_NAME"]

app = Application(
    broker_address=os.environ["CONTROL_BROKER"],
    consumer_group=NAME,
    processing_guarantee="exactly-once",
    auto_offset_reset="earliest",
    commit_interval=1.0,
    state_dir=os.environ["CONTROL_FOLDER"],
    # The client library's default session is 45 seconds, and recovery from every kill would take that long.
    consumer_extra_config={"session.timeout.ms": 4_000, "heartbeat.interval.ms": 1_000},
)


def count(event: dict[str, Any], state: State) -> dict[str, Any]:
    """Add one to the count of the record's key."""
    number = state.get("n", 0) + 1
    state.set("n", number)
    return {"id": event["id"], "key": event["key"], "n": number}


if __name__ == "__main__":
    source = app.topic(f"{NAME}-events", value_deserializer="json")
    frame = app.dataframe(source).apply(count, stateful=True)
    frame.to_topic(app.topic(f"{NAME}-outputs", value_serializer="json"))
    app.run()
