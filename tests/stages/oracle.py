"""Checks that the state matches the log, whatever happened before, by folding the log again from its beginning."""

from __future__ import annotations

from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.entries import command_positions, decode_batch
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import partition_key
from crl_stream.stages.topology import INLET, MONITOR, outputs_of
from crl_stream.wire.records import Output
from crl_stream.wire.topics import DEAD_LETTERS


def refold(driver: TopologyDriver) -> tuple[list[dict[bytes, bytes]], list[Output]]:
    """Fold every partition of the driver's log in one batch from an empty state."""
    changelogs, outputs = [], []
    for partition, log in enumerate(driver.topics[MONITOR.source]):
        entries = decode_batch(log)
        commands = {
            (p, o): driver.topics[INLET.source][p][o].value
            for p, o in command_positions(entries)
            if p < driver.partitions and o < len(driver.topics[INLET.source][p])
        }
        folded = fold_batch(partition, driver.partitions, None, {}, entries, commands)
        # The changelog contains nothing for a partition that was never written to.
        changelog = dict(folded.rows) | ({partition_key(partition): folded.partition_row} if log else {})
        changelogs.append(changelog)
        outputs += folded.outputs
    return changelogs, outputs


def assert_exact(driver: TopologyDriver) -> None:
    """Check P2, P3 and P4 of the monitor: rows, outputs and last values equal those of the fold, bit for bit."""
    changelogs, outputs = refold(driver)
    assert driver.changelog == changelogs
    own = {
        (topic, record.key, record.value) for topic in outputs_of(MONITOR, INLET) for record in driver.records(topic)
    }
    expected = {(o.topic, o.key, o.value) for o in outputs if o.topic != MONITOR.source}
    from_the_inlet = {
        (DEAD_LETTERS, record.key, record.value)
        for record in driver.records(DEAD_LETTERS)
        if dict(record.headers).get("__streams.errors.topic") == INLET.source.encode()
    }
    assert own == expected | from_the_inlet
