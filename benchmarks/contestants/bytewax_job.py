"""Bytewax with its Kafka connectors and ``stateful_map``; a recovery store on disk makes its state durable."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.contestants.job import is_outcome, publish, step
from benchmarks.contestants.meter import Course, Meter

EPOCH = timedelta(seconds=10)
"""The interval between two snapshots of the state; 10 s is the default of Bytewax's command line."""


def create_flow(course: Course) -> Dataflow:
    """Build the flow: source, parse, state, sink."""
    meter = Meter()

    def parse(record: Any) -> tuple[str, tuple[int, dict[str, Any]]] | None:
        message = json.loads(record.value)
        return (record.key.decode(), (record.timestamp[1], message)) if is_outcome(message) else None

    def take(state: dict[str, Any] | None, given: tuple[int, dict[str, Any]]) -> tuple[dict[str, Any], Any]:
        time, message = given
        state = step(state, message)
        meter.count += 1
        task = f"{message['agent_name']}/{message['task_type']}"
        return state, publish(task, state, time, course.snapshot_seconds)

    def to_record(made: tuple[str, Any]) -> Any:
        task, page = made
        return None if page is None else KafkaSinkMessage(task.encode(), json.dumps(page).encode())

    flow = Dataflow("tasks")
    source = KafkaSource([course.servers], [course.source], batch_size=1_000)
    records = op.input("source", flow, source)
    keyed = op.filter_map("parse", records, parse)
    made = op.stateful_map("window", keyed, take)
    out = op.filter_map("serialize", made, to_record)
    op.output("sink", out, KafkaSink([course.servers], course.sink))
    return flow


if __name__ == "__main__":
    given = Course()
    store = Path(given.folder) / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    cli_main(create_flow(given), epoch_interval=EPOCH, recovery_config=RecoveryConfig(store))
