"""Computes what the topics must contain by folding the log on the broker: the oracle of every test on a real Kafka."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from installation import Installation

from crl_stream.core.overview.notes import OWN_ALERTS
from crl_stream.stages.entries import command_positions, decode_batch
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.topology import INLET, MONITOR, outputs_of
from crl_stream.wire.dead_letter import read_letter, read_mark
from crl_stream.wire.topics import DEAD_LETTERS, TAG_CONDITIONS, TICK_KEY

OUTPUTS = outputs_of(MONITOR, INLET)
"""The topics to which the monitor and the inlet write."""


class Compared(NamedTuple):
    """The figures of a successful comparison."""

    rows: int
    outputs: int
    physical_duplicates: int


async def assert_topics_equal_the_fold(installation: Installation) -> Compared:
    """Check that the topics hold exactly the rows and the distinct outputs of the fold, with the outputs in order.

    Waits until nothing more is written.  Ticks at the end of the log that no worker has folded are ignored.
    """
    await installation.silent()
    partitions = installation.kafka.partitions
    log: dict[int, list[Any]] = {p: [] for p in range(partitions)}
    for received in await installation.records(MONITOR.source):
        log[received.record.partition].append(received.record)
    commands = {(r.record.partition, r.record.offset): r.record for r in await installation.records(INLET.source)}
    state = await installation.changelog()
    expected: dict[tuple[str, int], list[Any]] = defaultdict(list)
    rows = 0
    for partition, records in log.items():
        folded_to = decode_partition(state[partition].get(partition_key(partition))).next_offset
        while records and records[-1].key == TICK_KEY and records[-1].offset >= folded_to:
            records.pop()
        entries = decode_batch(records)
        named = {place: commands[place].value if place in commands else None for place in command_positions(entries)}
        folded = fold_batch(partition, partitions, None, {}, entries, named)
        key = partition_key(partition)
        there = state[partition]
        assert {k: v for k, v in there.items() if k != key} == folded.rows, f"rows of partition {partition}"
        if records:
            assert there.get(key) == folded.partition_row, f"partition row {partition}"
        rows += len(folded.rows)
        for output in folded.outputs:
            expected[output.topic, output.partition].append(output)
    for partition in range(partitions):
        own = [record for (p, _), record in sorted(commands.items()) if p == partition]
        for output in reference_commands(partition, partitions, own):
            expected[output.topic, output.partition].append(output)
    outputs = duplicates = 0
    for topic in OUTPUTS:
        actual: dict[int, list[Any]] = defaultdict(list)
        for received in await installation.records(topic):
            if getattr(received.message, "kind", None) in OWN_ALERTS:
                continue  # an alert from the overview
            if topic == DEAD_LETTERS and read_mark(received.record.headers) is not None:
                continue  # a mark, written when an operator replays a dead letter
            actual[received.record.partition].append(received.record)
        for partition in range(partitions):
            found = [_identity(topic, r.key, r.value, r.headers) for r in actual[partition]]
            wanted = [_identity(topic, o.key, o.value, o.headers) for o in expected[topic, partition]]
            distinct = list(dict.fromkeys(found))
            if topic in {DEAD_LETTERS, TAG_CONDITIONS}:
                # Several stages or partitions write here, so only the order of each one's own records is fixed.
                assert sorted(distinct, key=repr) == sorted(wanted, key=repr), f"{topic} {partition}"
            else:
                assert distinct == list(dict.fromkeys(wanted)), f"{topic} {partition}"
            outputs += len(distinct)
            duplicates += len(found) - len(distinct)
    for partition in range(partitions):
        there = {(r.key, r.value, tuple(r.headers)) for r in log[partition]}
        for output in expected[MONITOR.source, partition]:
            assert (output.key, output.value, output.headers) in there, f"{output} is not in the log"
    return Compared(rows, outputs, duplicates)


def _identity(topic: str, key: bytes | None, value: bytes | None, headers: Any) -> Any:
    if topic == DEAD_LETTERS:
        letter = read_letter(headers)
        return key, value, letter.reason, letter.topic, letter.partition, letter.offset
    return key, value
