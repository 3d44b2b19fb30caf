"""How many tasks with the same provider or model have fallen: one row for each tag, folded from ``crl.tags``.

A task announces when its active variant starts or stops using a tag, falls, or recovers.  If enough of a tag's tasks
fall within a given time, the tag is failing, and every partition of the log gets a report.  The limits come with each
message, so the policy in the log decides, not a setting of the process.
"""

from __future__ import annotations

from typing import Final

import msgspec

from crl_stream.core.ids import fact_id
from crl_stream.core.instant import to_text
from crl_stream.core.messages import ReportTag, TagCondition
from crl_stream.core.packing import pack

MOST: Final = 2_000
"""Maximum number of tasks in a row; beyond it, tasks that have not fallen are dropped, the longest silent first."""
_MINUTE: Final = 60_000


class Member(msgspec.Struct, array_like=True, gc=False):
    """A task that uses the tag: the position of its last announcement, and when it fell (ms); 0 if it has not."""

    incarnation: int
    offset: int
    fell: int = 0
    uses: bool = True


class TagRow(msgspec.Struct, array_like=True, gc=False):
    """What is known about a tag; times in milliseconds."""

    tag: str
    incarnation: int = 0
    """Incarnation of ``crl.tags``; with ``offset``, the position of the last record that was applied."""
    offset: int = -1
    tasks: dict[str, Member] = {}
    """The tasks that use the tag, or have fallen lately, by ``agent_name/task_type``."""
    incident_id: str = ""
    """The incident that has been reported; empty if the tag is not failing."""
    until: int = 0
    """When the last report expires."""
    reports: int = 0
    """Number of reports sent so far in this incident."""

    def fallen(self, now: int, span: int) -> int:
        """Return how many tasks have fallen within ``span`` milliseconds."""
        return sum(member.fell > now - span for member in self.tasks.values())


_DECODER: Final = msgspec.msgpack.Decoder(TagRow)


def row_position(data: bytes) -> tuple[int, int]:
    """Return the position of the last record that changed a row; of two rows of a tag, the higher one is newer."""
    row = _DECODER.decode(data)
    return row.incarnation, row.offset


def take(data: bytes | None, said: TagCondition, place: tuple[int, int], now: int) -> tuple[bytes, ReportTag | None]:
    """Fold an announcement, appended at ``now`` (ms) at ``place`` (incarnation, offset), into the row of its tag.

    Returns the row and the report to send to all partitions of the log, if any.  A repeated announcement changes
    nothing; one that is older than the last of its task is ignored.
    """
    row = TagRow(said.tag) if data is None else _DECODER.decode(data)
    row.incarnation, row.offset = place
    span = said.limits.span_minutes * _MINUTE
    _note(row, said, now, span)
    report = _report(row, said, now, span)
    return pack(row), report


def _note(row: TagRow, said: TagCondition, now: int, span: int) -> None:
    task, tasks = f"{said.agent_name}/{said.task_type}", row.tasks
    known = tasks.get(task)
    position = said.incarnation, said.position.offset
    if known is not None and position < (known.incarnation, known.offset):
        return
    member = tasks[task] = Member(*position, 0 if known is None else known.fell, known is None or known.uses)
    if said.state == "fell":
        member.fell = now
    elif said.state == "recovered":
        member.fell = 0
    else:
        member.uses = said.state == "uses"
    gone = [name for name, one in tasks.items() if not one.uses and one.fell <= now - span]
    if len(tasks) - len(gone) > MOST:
        silent = sorted((one.incarnation, one.offset, name) for name, one in tasks.items() if one.fell <= now - span)
        gone += [name for *_, name in silent[: len(tasks) - len(gone) - MOST]]
    for name in gone:
        tasks.pop(name, None)


def _report(row: TagRow, said: TagCondition, now: int, span: int) -> ReportTag | None:
    limits, fallen, known = said.limits, row.fallen(now, span), len(row.tasks)
    if row.until <= now:
        row.incident_id, row.until, row.reports = "", 0, 0
    many = limits.tasks > 0 and fallen >= limits.tasks and fallen >= limits.share * known
    few = not limits.tasks or fallen < limits.tasks or 2 * fallen < limits.share * known
    if row.incident_id and few:
        report = _command(row, said, now, fallen, failing=False)
        row.incident_id, row.until, row.reports = "", 0, 0
        return report
    if not many or (row.incident_id and row.until - now > span // 2):
        return None
    if not row.incident_id:
        row.incident_id = fact_id("tag", now, "tag", row.tag, row.incarnation, row.offset)
    row.until = now + span
    return _command(row, said, now, fallen, failing=True)


def _command(row: TagRow, said: TagCondition, now: int, fallen: int, *, failing: bool) -> ReportTag:
    row.reports += 1
    minutes, known = said.limits.span_minutes, len(row.tasks)
    words = f"{fallen} of {known} tasks on {row.tag} fell within {minutes} minutes"
    return ReportTag(
        schema_version=1,
        command_id=f"{row.incident_id}-{row.reports}",
        timestamp=to_text(now),
        actor="tags",
        reason=words if failing else f"only {words}",
        tag=row.tag,
        failing=failing,
        incident_id=row.incident_id,
        valid_until=to_text(row.until),
    )
