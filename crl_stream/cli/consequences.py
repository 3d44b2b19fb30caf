"""What the answer to a command adds to the monitor's sentence: what the command touches, and how it is undone."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from crl_stream.cli.talk import show, show_json
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.parts import Touches
from crl_stream.core.reach import touched, touches_words
from crl_stream.errors import CrlError
from crl_stream.kafka.commands import home_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.wire.topics import TASKS

LOOKED_AT: Final = 256
"""How many of the newest snapshots of the task's partition are searched: each command publishes one of its task."""
PATIENCE: Final = 5.0
"""Seconds to wait for them; the command is applied already, so its answer must not wait for long."""


async def touches_of(access: Access, key: TaskKey) -> Touches | None:
    """Return what a change of the task touches, from its newest snapshot; None if that is not known."""
    newest = await newest_snapshot(access, key)
    return None if newest is None else newest.touches


async def newest_snapshot(access: Access, key: TaskKey) -> m.TaskSnapshot | None:
    """Return the newest snapshot of a task, from the newest of its partition; None if it is not among them."""
    try:
        async with asyncio.timeout(PATIENCE):
            received = await TopicReader(access).read_last(TASKS, home_of(access, key), LOOKED_AT)
    except (CrlError, TimeoutError):
        return None  # the command is applied; only the figures are missing
    found = [one.message for one in received if isinstance(one.message, m.TaskSnapshot)]
    mine = [one for one in found if (one.agent_name, one.task_type) == key]
    return max(mine, key=lambda one: (one.incarnation, one.as_of.offset), default=None)


def show_result(result: m.CommandResult, touches: Touches | None, back: str, *, json: bool, **more: Any) -> None:
    """Show the monitor's result of a command for one task, with what it touches and how it is undone.

    ``back`` is a sentence of ``way_back``, and ``more`` further fields of the JSON object.
    """
    if json:
        added = {"touches": None if touches is None else msgspec.to_builtins(touches), "way_back": back}
        show_json(msgspec.to_builtins(result) | added | more)
        return
    show(f"{result.agent_name}/{result.task_type}: {result.detail} ({result.result_id}, epoch {result.epoch})")
    show_consequences(touched(touches_words(touches)), back)


def show_consequences(*sentences: str) -> None:
    """Show sentences below a result, each on a line of its own."""
    for sentence in sentences:
        show(f"  {sentence}")
