"""One fold of a recorded log under one policy, and the decisions that it makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from crl_stream.core import messages as m
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.stages.entries import Entry
from crl_stream.stages.fold import Counts
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import PartitionRow, decode_partition, encode_partition, partition_key
from crl_stream.stages.waiting import Waiting, fleet_of
from crl_stream.trial.decisions import Decided, decision_of
from crl_stream.wire.codec import Rejected, decode
from crl_stream.wire.topics import ALERTS, COMMANDS, DECISIONS, POLICY_KEY, ROLLBACKS

READ: Final = frozenset((ALERTS, DECISIONS, ROLLBACKS))
"""The topics whose facts can be decisions."""


class Piece(NamedTuple):
    """Consecutive records of one partition of the log."""

    partition: int
    entries: Sequence[Entry]
    commands: Mapping[tuple[int, int], bytes | None]
    """The commands that the records refer to, by position; None for one that is gone."""


class Activated(NamedTuple):
    """The active variant of a task, from a position in the log onwards."""

    offset: int
    variant: str


class Run:
    """A fold from the first record of each partition, without earlier state.

    If ``policies`` are given, they apply to the whole log, and its ``SetPolicy`` commands are left out. Otherwise, each
    such command applies from its position on. Before the first one, ``first`` gives the policies, based on the first
    piece of the partition (default: the guide's policy, as in a worker).
    """

    def __init__(
        self, partitions: int, policies: PolicySet | None, first: Callable[[Piece], PolicySet] = lambda _: GUIDE
    ) -> None:
        self.partitions, self._fixed, self._first = partitions, policies, first
        self._rows: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self._waiting = [Waiting() for _ in range(partitions)]
        self._sent: dict[str, PolicySet] = {}
        """The policies that commands in the log set, by digest."""
        self.decided: dict[str, list[Decided]] = defaultdict(list)
        """The decisions about each task (``agent_name/task_type``), in the order of the log."""
        self.active: dict[str, list[Activated]] = defaultdict(list)
        """The active variants of each task, in the order of the log."""
        self.total = Counts()
        """Counts of what happened to the records."""
        self.judged_by: dict[str, PolicySet] = {} if policies is None else {policies.digest(): policies}
        """The policies that judged a record, by digest, in the order in which they came into force."""
        self.last = policies or GUIDE
        """The policies in force at the end of the latest piece."""

    def fold(self, piece: Piece) -> None:
        """Fold the next records of a partition."""
        partition, entries = piece.partition, piece.entries
        if self._fixed is None:
            self._learn(piece)
        else:
            entries = [entry for entry in entries if entry.record.key != POLICY_KEY]
        rows, waiting = self._rows[partition], self._waiting[partition]
        if (before := rows.get(partition_key(partition))) is None:
            before = self._begin(piece)
        folded = fold_batch(
            partition, self.partitions, before, rows, entries, piece.commands, waiting, render=_as_it_is
        )
        rows.update(folded.rows)
        rows[partition_key(partition)] = folded.partition_row
        state = decode_partition(folded.partition_row)
        self.last = state.policies
        if waiting.fleet == fleet_of(state):
            waiting.settle(folded.wakes, folded.born)
        else:
            self._waiting[partition] = Waiting.of(rows)
        self.total = Counts(*(one + other for one, other in zip(self.total, folded.counts, strict=True)))
        for output in folded.outputs:
            if output.topic in READ:
                self._note(output.topic, output.value, output.key)

    def _begin(self, piece: Piece) -> bytes:
        row, policies = PartitionRow(), self._fixed or self._first(piece)
        if policies != GUIDE:
            row.set_policy(policies, "crl replay", 0)
        if piece.entries[0].record.key != POLICY_KEY:
            self.judged_by.setdefault(policies.digest(), policies)
        return encode_partition(row)

    def _learn(self, piece: Piece) -> None:
        """Keep the policies that the piece's commands name, because the facts about them have only the digest."""
        for entry in piece.entries:
            ref = entry.message
            if entry.record.key == POLICY_KEY and type(ref) is m.CommandRef:
                value = piece.commands.get((ref.partition, ref.offset))
                decoded = None if value is None else decode(COMMANDS, value, POLICY_KEY)
                if decoded is not None and not isinstance(decoded, Rejected):
                    self._sent[decoded.message.policy.digest()] = decoded.message.policy

    def _note(self, topic: str, value: Any, key: bytes | None) -> None:
        if isinstance(value, bytes):
            decoded = decode(topic, value, key)
            if isinstance(decoded, Rejected):
                return
            value = decoded.message
        if isinstance(value, m.Activation) and value.enforced:
            task = f"{value.agent_name}/{value.task_type}"
            self.active[task].append(Activated(value.position.offset, value.to_variant))
        if isinstance(value, m.CommandResult) and value.policy_hash in self._sent and value.outcome == "applied":
            self.judged_by.setdefault(value.policy_hash, self._sent[value.policy_hash])
        if (found := decision_of(value)) is not None:
            task, decided = found
            self.decided[task].append(decided)


def _as_it_is(fact: Any) -> Any:
    return fact
