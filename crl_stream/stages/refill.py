"""Rebuilds a partition's records on the compacted topics from its rows, one record at a time.

If a compacted topic was deleted and recreated, or truncated by its broker, it lacks every task that has been silent
since.  Runtimes would not learn which variants to use.  The rows contain everything that is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from crl_stream.core.monitor.restatement import restate
from crl_stream.core.monitor.row import decode_row
from crl_stream.core.monitor.turn import Context
from crl_stream.core.overview import Ledger, make_page
from crl_stream.core.proposer.step import proposals_of
from crl_stream.stages.partition import decode_partition
from crl_stream.stages.topology import FIRST
from crl_stream.wire.codec import encode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import OVERVIEW_KEY, PARTITION_ROW, TOPIC_OF

Rows = Iterable[tuple[bytes, bytes]]
"""Keys and rows of one partition of a table, including the partition row."""


def tasks(partition: int, partition_row: bytes, rows: Rows) -> Iterator[Output]:
    """Yield the active variant, catalogue and snapshot of every task; skip unreadable rows."""
    state = decode_partition(partition_row)
    for key, data in rows:
        if key.startswith(PARTITION_ROW):
            continue
        try:
            row = decode_row(data)
        except msgspec.MsgspecError:
            continue
        at = Context(partition, row.offset, row.time, row.incarnation, state.policy_hash, state.fleet)
        for fact in restate(row, at, state.policies.for_task(row.key)):
            yield Output(TOPIC_OF[type(fact)], partition, key, encode(fact))


def proposals(partition: int, rows: Rows) -> Iterator[Output]:
    """Yield every open proposal as it was last published; closed proposals were lost with the topic."""
    for key, data in rows:
        if key.startswith(PARTITION_ROW):
            continue
        try:
            found = proposals_of(data)
        except msgspec.MsgspecError:
            continue
        for proposal in found:
            yield Output(TOPIC_OF[type(proposal)], partition, proposal.proposal_id.encode(), encode(proposal))


def overview(rows: Rows) -> Iterator[Output]:
    """Yield the overview page."""
    page = make_page(Ledger(dict(rows)), FIRST)
    yield Output(TOPIC_OF[type(page)], FIRST, OVERVIEW_KEY, encode(page))
