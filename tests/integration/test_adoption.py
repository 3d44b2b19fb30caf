"""Four runtimes on real Kafka after a rollback: two move, one keeps its session, and one is stuck."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest
from installation import Installation

from crl_stream.client import Client, Publisher
from crl_stream.core import messages as m
from crl_stream.settings import load_settings
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS, DECISIONS, RECEIPTS, ROLLBACKS

pytestmark = pytest.mark.integration
AGENT, TASK = "support", "refund"
KEY = f"{AGENT}/{TASK}"


def turn(client: Client, *, good: bool = True, session: str | None = None) -> Any:
    """Do one invocation; return it."""
    with client.invocation(AGENT, TASK, default="steady", session_id=session) as inv:
        if not good and inv.variant_id == "steady":
            inv.failed()
    return inv


async def test_three_of_four_runtimes_move_and_the_fourth_is_stuck(installation: Installation) -> None:
    at_once = {"operations_stuck_grace": "0"}  # the runtimes report each outcome at once
    await installation.worker(profile="guide", operations_on_change="next_session", **at_once)
    settings = load_settings(environment=installation.environment(client_cache_dir=str(installation.folder / "cache")))
    with ExitStack() as stack:
        first, second, keeper = (
            stack.enter_context(Client(settings, runtime_id=name)) for name in ("moves-1", "moves-2", "keeps")
        )
        stuck = stack.enter_context(Publisher(settings, runtime_id="deaf"))
        turn(first)
        for client in (first, second, keeper):
            assert await asyncio.to_thread(client.resolver.wait_for_epoch, AGENT, TASK, 1)
        for _ in range(12):
            turn(first)
            turn(second)
            turn(keeper, session="a long conversation")
            stuck.invocation(AGENT, TASK, "steady", "success", active_epoch=1, variant_source="live")
            stuck.invocation(AGENT, TASK, "spare", "success", active_epoch=1, variant_source="explore")
        rollback = asyncio.create_task(installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=90.0))
        while not rollback.done():
            turn(first, good=False)
            turn(second, good=False)
            turn(keeper, good=False, session="a long conversation")
            stuck.invocation(AGENT, TASK, "steady", "failure", active_epoch=1, variant_source="live")
            await asyncio.wait({rollback}, timeout=0.3)
        assert ((await rollback).to_variant, (await rollback).epoch) == ("spare", 2)
        for client in (first, second, keeper):
            assert await asyncio.to_thread(client.resolver.wait_for_epoch, AGENT, TASK, 2)
        assert [turn(client).variant_id for client in (first, second)] == ["spare", "spare"]
        kept = turn(keeper, session="a long conversation")
        assert (kept.variant_id, kept.source, kept.epoch) == ("steady", "session", 2)
        assert turn(keeper, session="a new conversation").variant_id == "spare"
        for _ in range(8):
            stuck.invocation(
                AGENT, TASK, "steady", "failure", active_epoch=1, variant_source="live", duration_seconds=0.001
            )
        adoption = await installation.wait_for(DECISIONS, m.Adoption, lambda one: one.epoch == 2, 60.0)
    assert (adoption.expected, adoption.moved, adoption.stuck, adoption.complete) == (4, 3, ["deaf"], True)
    receipts = {one.runtime_id for one in await installation.messages(RECEIPTS) if one.epoch == 2}
    assert receipts == {"moves-1", "moves-2", "keeps"}
    alerts = [one for one in await installation.messages(ALERTS) if one.kind == "rollback_stuck"]
    assert [(one.subject, one.severity, one.resolved) for one in alerts] == [(f"{KEY} deaf", "critical", False)]
    code, out, err = await installation.run_crl("runtimes", KEY)
    assert code == 0, err
    assert "3 of 4 runtimes moved, median " in out and "1 is stuck" in out
    code, out, err = await installation.run_crl("rollbacks", "show", (await rollback).rollback_id)
    assert code == 0, err
    assert "adopted: 3 of 4 runtimes moved" in " ".join(out.split())
    assert await installation.messages(DEAD_LETTERS) == []
