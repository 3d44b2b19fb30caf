"""The state of one log partition beyond its task rows: how far it is folded, and the policy in force.

The partition row is the last record of every changelog write, so everything it covers is in the rows written before it.
It determines where reading starts; the committed offset of the consumer group is only a hint.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from crl_stream.core.ids import record_digest
from crl_stream.core.instant import from_text
from crl_stream.core.messages import ReportTag
from crl_stream.core.monitor.row import StandingOrder, TagReport
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.wire.records import Record
from crl_stream.wire.topics import PARTITION_ROW

_GUIDE_TEXT = GUIDE.canonical()
_GUIDE_HASH = GUIDE.digest()

MOST_TAGS = 64
"""How many reports about tags a partition remembers; beyond that, the report that expires first is dropped."""


class PartitionRow(msgspec.Struct, array_like=True, gc=False):
    """How far a partition is folded, and the policy, hold and reports for all of it; a function of the log alone."""

    next_offset: int = 0
    """The first offset that has not been folded yet."""
    last_hash: bytes = b""
    """Hash of the record at ``next_offset - 1``; it no longer matches if the log was recreated."""
    incarnation: int = 0
    """Grows when an operator adopts a recreated log; rows of an older incarnation are replaced."""
    policy: bytes = _GUIDE_TEXT
    policy_hash: str = _GUIDE_HASH
    commanded: dict[int, int] = {}
    """For each partition of ``crl.commands``: the highest offset that a reference has named here."""
    origins: dict[int, int] = {}
    """For each partition of the log: the offset up to which forwards from it are no longer remembered."""
    forwards: bytes = b""
    """The last records that were forwarded here, packed by ``stages.forwards``."""
    policy_actor: str = ""
    """Who set the policy; empty if none was set, or if an older engine recorded it."""
    policy_time: int = 0
    """When the policy came into force here, in milliseconds; 0 if ``policy_actor`` is empty."""
    fleet: StandingOrder | None = None
    """The hold on the whole fleet, according to this partition of the log."""
    tags: dict[str, TagReport] = {}
    """The tags that are failing in many tasks, according to this partition of the log; at most ``MOST_TAGS``."""

    @property
    def policies(self) -> PolicySet:
        """The policy set in force at ``next_offset``."""
        return _parse(self.policy)

    @property
    def has_policy(self) -> bool:
        """Whether a policy was set; otherwise the guide's policy is in force."""
        return bool(self.policy_time) or self.policy_hash != _GUIDE_HASH

    def set_policy(self, policies: PolicySet, actor: str, time: int) -> None:
        """Apply ``policies`` from here on."""
        self.policy, self.policy_hash = policies.canonical(), policies.digest()
        self.policy_actor, self.policy_time = actor, time

    def report_tag(self, command: ReportTag, now: int) -> bool:
        """Remember or end a report about a tag, and forget those that are over; return whether it was applied."""
        tags, until = self.tags, from_text(command.valid_until)
        for tag in [tag for tag, report in tags.items() if report.until <= now]:
            del tags[tag]
        known = tags.get(command.tag)
        if not command.failing:
            if known is None or known.incident_id != command.incident_id:
                return False
            del tags[command.tag]
            return True
        if until <= now:
            return False
        tags[command.tag] = TagReport(command.incident_id, until, command.reason)
        if len(tags) > MOST_TAGS:
            del tags[min(tags, key=lambda tag: (tags[tag].until, tag))]
        return True


@lru_cache(maxsize=64)
def _parse(text: bytes) -> PolicySet:
    return PolicySet.parse(text)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(PartitionRow)


def partition_key(partition: int) -> bytes:
    """Return the changelog key of a partition row; no task key can equal it."""
    return PARTITION_ROW + b"%d" % partition


def encode_partition(row: PartitionRow) -> bytes:
    """Return the row as stored in the changelog; equal rows have equal bytes."""
    return _ENCODER.encode(row)


def decode_partition(data: bytes | None) -> PartitionRow:
    """Decode a partition row; None stands for a partition that was never folded."""
    return PartitionRow() if data is None else _DECODER.decode(data)


def record_hash(record: Record) -> bytes:
    """Return eight bytes that distinguish this record from another at the same offset."""
    return record_digest(record.key, record.value, b"%d %d " % (record.offset, record.timestamp))
