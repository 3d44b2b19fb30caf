"""Count records with stock Faust, at least once: ``python stock_faust.py``, with settings from the environment."""

from __future__ import annotations

import os
import sys
from typing import Any

import faust

NAME = os.environ["CONTROL_NAME"]
SESSION_SECONDS = 4.0
"""Faust's default session is a minute, and recovery from every kill would take that long."""

app = faust.App(
    NAME,
    broker=f"kafka://{os.environ['CONTROL_BROKER']}",
    store="memory://",
    datadir=os.environ["CONTROL_FOLDER"],
    topic_partitions=int(os.environ["CONTROL_PARTITIONS"]),
    broker_session_timeout=SESSION_SECONDS,
    broker_heartbeat_interval=1.0,
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
)
events = app.topic(f"{NAME}-events", value_serializer="json")
outputs = app.topic(f"{NAME}-outputs", value_serializer="json")
counts = app.Table("counts", default=int)


@app.agent(events)
async def count(stream: Any) -> None:
    """Add one to the count of the record's key."""
    async for event in stream:
        counts[event["key"]] += 1
        await outputs.send(key=event["key"], value={"id": event["id"], "key": event["key"], "n": counts[event["key"]]})


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "--without-web", "-l", "info"]
    app.main()
