"""``crl runtimes``: which runtimes use the active variant, which do not yet, and for how long."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.session import task_key
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.core.drills import is_drill
from crl_stream.core.figures import counted
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import AdoptionSnapshot, Receipt, RuntimeBehind, TaskSnapshot
from crl_stream.errors import NotFound
from crl_stream.explaining.adoption import followed
from crl_stream.kafka.commands import home_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.wire.topics import RECEIPTS, TASKS


class Standing(msgspec.Struct, kw_only=True):
    """The runtimes of one task."""

    agent_name: str
    task_type: str
    active_variant: str
    epoch: int
    since: str | None
    """When the task's current epoch began; None if the worker runs an older release."""
    runtimes: int
    """How many runtimes the monitor remembers; to make room, it forgets the one that has been silent longest."""
    current: int
    """How many of the remembered runtimes use the active variant."""
    behind: list[RuntimeBehind]
    adoption: AdoptionSnapshot | None
    """How the runtimes that worked shortly before the change have followed it; None if none did."""
    moved: list[Receipt]
    """The receipts of the task's current epoch that are still on the topic."""
    incarnation: int = 0
    offset: int = -1

    @property
    def task(self) -> str:
        """The task as ``agent_name/task_type``."""
        return f"{self.agent_name}/{self.task_type}"


def runtimes(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[AGENT/TASK]", help="Show only runtimes of this task.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which runtimes use the active variant, which do not yet, and for how long.

    Reads topics and needs no worker. A runtime has moved once one of its outcomes names the current epoch.
    """
    key = None if task is None else task_key(task)
    found = asyncio.run(read_runtimes(context.obj.kafka, key))
    if key is not None and not found:
        raise NotFound(f"No active variant of {key} is known.", hint="crl status lists the tasks")
    if json:
        show_json({"tasks": [_document(standing) for standing in found]})
        return
    for standing in found:
        if key is not None or standing.behind:
            since = f" since {standing.since}" if standing.since else ""
            moved = f"{standing.current} of {counted(standing.runtimes, 'runtime has', 'runtimes have')} moved"
            show(f"{standing.task}: {standing.active_variant}, epoch {standing.epoch}{since}; {moved}")
            if standing.adoption is not None:
                show(f"  of those at work before the change: {followed(msgspec.to_builtins(standing.adoption))}")
    show_table(
        ("task", "runtime", "state", "epoch", "since", "late", "last seen"),
        [row for standing in found for row in _rows(standing)],
        empty="No runtime has sent a runtime_id with an outcome yet.",
    )


async def read_runtimes(access: Access, key: TaskKey | None) -> list[Standing]:
    """Return every task that has an active variant, or one task, sorted by name."""
    home = None if key is None else home_of(access, key)
    found: dict[TaskKey, Standing] = {}
    receipts: dict[tuple[TaskKey, str], Receipt] = {}
    async with TopicReader(access) as reader:
        async for received in reader.each(TASKS, home):
            snapshot = received.message
            if not isinstance(snapshot, TaskSnapshot) or snapshot.active_variant is None:
                continue
            if key is None and is_drill(snapshot.agent_name):
                continue
            name = TaskKey(snapshot.agent_name, snapshot.task_type)
            known = found.get(name)
            place = (snapshot.incarnation, snapshot.as_of.offset)
            if key in {None, name} and (known is None or (known.incarnation, known.offset) <= place):
                found[name] = _standing(snapshot)
        async for received in reader.each(RECEIPTS, home):
            receipt = received.message
            if not isinstance(receipt, Receipt):
                continue
            name = TaskKey(receipt.agent_name, receipt.task_type)
            # The topic may have receipts of any number of runtimes, but only a few of them are of the current epoch.
            if name in found and receipt.epoch == found[name].epoch:
                receipts[name, receipt.runtime_id] = receipt
    for (name, _), receipt in sorted(receipts.items()):
        found[name].moved.append(receipt)
    return [found[name] for name in sorted(found)]


def _standing(snapshot: TaskSnapshot) -> Standing:
    return Standing(
        agent_name=snapshot.agent_name,
        task_type=snapshot.task_type,
        active_variant=snapshot.active_variant or "",
        epoch=snapshot.epoch,
        since=snapshot.active_since,
        runtimes=snapshot.runtimes,
        current=snapshot.runtimes_current,
        behind=list(snapshot.runtimes_behind or ()),
        adoption=snapshot.adoption,
        moved=[],
        incarnation=snapshot.incarnation,
        offset=snapshot.as_of.offset,
    )


def _document(standing: Standing) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(standing)
    return {name: value for name, value in fields.items() if name not in {"incarnation", "offset"}}


def _rows(standing: Standing) -> list[tuple[Any, ...]]:
    """Return the rows; runtimes that have not moved come first."""
    behind = [
        (
            standing.task,
            one.runtime_id,
            "STUCK" if one.stuck else "NOT MOVED" if one.epoch else "NAMES NO EPOCH",
            one.epoch,
            standing.since or "",
            one.late_invocations,
            one.last_seen or "",
        )
        for one in standing.behind
    ]
    moved = [
        (standing.task, one.runtime_id, "moved", one.epoch, one.timestamp, one.late_invocations, "")
        for one in standing.moved
    ]
    return [*behind, *moved]
