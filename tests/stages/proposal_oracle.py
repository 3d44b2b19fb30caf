"""Checks the proposals after any fault, by folding crl.tasks again: as it is, and as it would be without the fault."""

from __future__ import annotations

from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import partition_key
from crl_stream.stages.proposer import decode_snapshots, propose_batch
from crl_stream.stages.topology import PROPOSER
from crl_stream.wire.records import Output
from crl_stream.wire.topics import DEAD_LETTERS
from stages.oracle import refold

[_PROPOSALS] = PROPOSER.standing


def refold_proposals(driver: TopologyDriver) -> tuple[list[dict[bytes, bytes]], list[Output]]:
    """Fold every partition of the driver's crl.tasks in one batch from an empty state."""
    assert driver.remedies is not None
    changelogs, outputs = [], []
    for partition, log in enumerate(driver.topics[PROPOSER.source]):
        folded = propose_batch(partition, driver.partitions, None, {}, decode_snapshots(log), driver.remedies)
        changelogs.append(folded.rows | ({partition_key(partition): folded.partition_row} if log else {}))
        outputs += folded.outputs
    return changelogs, outputs


def assert_proposals_exact(driver: TopologyDriver) -> None:
    """Check that rows equal the fold's bit for bit, and that proposals are the same as without any crash."""
    changelogs, outputs = refold_proposals(driver)
    assert driver.proposals_changelog == changelogs
    there = {(r.key, r.value) for r in driver.records(_PROPOSALS)}
    assert there == {(o.key, o.value) for o in outputs if o.topic == _PROPOSALS}
    calm = TopologyDriver(partitions=driver.partitions, remedies=driver.remedies)
    _, monitor_outputs = refold(driver)
    for output in monitor_outputs:
        if output.topic == PROPOSER.source:
            calm._publish(output)
    calm.pipe()
    assert there == {(r.key, r.value) for r in calm.records(_PROPOSALS)}
    assert driver.proposal_rows() == calm.proposal_rows()
    buried = {(r.key, r.value) for r in driver.records(DEAD_LETTERS) if _from_tasks(r.headers)}
    assert buried == {(o.key, o.value) for o in outputs if o.topic == DEAD_LETTERS}


def _from_tasks(headers: tuple[tuple[str, bytes], ...]) -> bool:
    return dict(headers).get("__streams.errors.topic") == PROPOSER.source.encode()
