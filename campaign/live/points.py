"""Named lines of code at which a worker can be made to die or pause; the launcher patches the process, not the product.

At these lines a crash can leave topics, rows, memory and committed offsets inconsistent with each other.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from campaign.live.world import REACHED
from crl_stream.worker import monitor_stages
from crl_stream.worker.monitor_stages import InletStage, MonitorStage
from crl_stream.worker.service_stages import OverviewStage, ProposerStage, TallyStage
from crl_stream.worker.stages import TableStage
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport.consumer import Consumer
from crl_stream.worker.transport.producer import Producer


class Point(NamedTuple):
    """A line in the code: just before a call of ``owner.function``, which is patched, or just after it returns."""

    what: str
    owner: Any
    function: str
    before: bool
    role: str = "monitor"
    only: Callable[..., bool] = lambda *_arguments, **_options: True
    """Decides by a call's arguments whether the call counts."""


def _for_rows(_self: Any, topic: str, *_: Any, **__: Any) -> bool:
    return topic.endswith("-changelog")


def _for_outputs(_self: Any, topic: str, *_: Any, **__: Any) -> bool:
    return not topic.endswith("-changelog")


POINTS: Final[dict[str, Point]] = {
    "decode": Point("before a batch is decoded", monitor_stages, "decode_batch", before=True),
    "fold": Point("after the fold, before any output", MonitorStage, "fold", before=False),
    "amid_outputs": Point("between two topics' outputs", Producer, "write", before=False, only=_for_outputs),
    "outputs": Point("after the outputs, before the rows", MonitorStage, "_persist", before=True),
    "amid_rows": Point("while the rows are written", Producer, "write", before=True, only=_for_rows),
    "rows": Point("after the rows, before memory is updated", Producer, "write", before=False, only=_for_rows),
    "memory": Point("after memory is updated, before the commit", MonitorStage, "_persist", before=False),
    "commit": Point("before the commit is sent", Consumer, "_commit", before=True),
    "committed": Point("after the commit, before the worker records it in memory", Consumer, "_commit", before=False),
    "revoke": Point("when partitions are taken", Consumer, "wait_empty", before=True),
    "revoked": Point("when partitions are given up", Consumer, "on_partitions_revoked", before=False),
    "recovery": Point("while rows are recovered", TaskTable, "_recover", before=True),
    "position": Point("where reading starts", TableStage, "position", before=False),
    "inlet": Point("before a command is referenced", InletStage, "work", before=True),
    "inlet_done": Point("after the reference, before the commit", InletStage, "work", before=False),
    "proposer": Point("after the proposals, before the rows", ProposerStage, "_persist", before=True, role="services"),
    "overview": Point("after the page, before the rows", OverviewStage, "_persist", before=True, role="services"),
    "tally": Point("after the notes, before the commit", TallyStage, "work", before=False, role="services"),
}
_ASYNC: Final = frozenset(
    ("fold", "write", "_persist", "_commit", "wait_empty", "on_partitions_revoked", "position", "work")
)


def arm(name: str, number: int, sign: signal.Signals) -> None:
    """Send the signal ``sign`` to this process when it reaches the line for the ``number``-th time."""
    point = POINTS[name]
    original = getattr(point.owner, point.function)
    calls = 0

    def strike(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        nonlocal calls
        calls += point.only(*arguments, **options)
        if calls == number and point.only(*arguments, **options):
            print(f"{REACHED}{name}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), sign)

    def plain(*arguments: Any, **options: Any) -> Any:
        if point.before:
            strike(arguments, options)
        result = original(*arguments, **options)
        if not point.before:
            strike(arguments, options)
        return result

    async def awaited(*arguments: Any, **options: Any) -> Any:
        if point.before:
            strike(arguments, options)
        result = await original(*arguments, **options)
        if not point.before:
            strike(arguments, options)
        return result

    chosen: Callable[..., Awaitable[Any]] = awaited if point.function in _ASYNC else plain
    # If the class only inherits the function, it gets its own patched copy here.
    setattr(point.owner, point.function, chosen)
