"""The proof that ends each story: who followed a rollback, from the topics alone and from ``crl runtimes``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import DEAD_LETTERS, DECISIONS, INVOCATIONS, RECEIPTS

SECONDS = 120.0


async def prove_that_it_moved(installation: Installation, rollback: m.RollbackEvent, runtime_id: str) -> None:
    """Check that the only runtime of a task has followed a rollback, and that nothing was lost on the way.

    The receipt points to the outcome that proves the move, the adoption gives the figures for the rollback, and
    ``crl runtimes`` shows both to people.
    """
    epoch, variant = rollback.epoch, rollback.to_variant
    mine = (runtime_id, epoch)
    receipt = await installation.wait_for(RECEIPTS, m.Receipt, lambda r: (r.runtime_id, r.epoch) == mine, SECONDS)
    assert receipt.variant_id == variant
    await _check_the_outcome(installation, receipt)
    adoption = await installation.wait_for(
        DECISIONS, m.Adoption, lambda one: one.cause_id == rollback.rollback_id, SECONDS
    )
    assert (adoption.variant_id, adoption.epoch, adoption.cause) == (variant, epoch, "rollback")
    assert (adoption.expected, adoption.moved, adoption.stuck, adoption.complete) == (1, 1, [], True)
    assert adoption.median_invocations == receipt.late_invocations + 1
    shown = await standing(installation, f"{rollback.agent_name}/{rollback.task_type}", epoch)
    assert (shown["active_variant"], shown["epoch"], shown["behind"]) == (variant, epoch, [])
    assert runtime_id in {one["runtime_id"] for one in shown["moved"]}
    assert (shown["adoption"]["expected"], shown["adoption"]["moved"]) == (1, 1)
    assert await installation.messages(DEAD_LETTERS) == []


async def _check_the_outcome(installation: Installation, receipt: m.Receipt) -> None:
    """Check that the receipt points to an outcome of its runtime that used the new variant."""
    place = (receipt.position.partition, receipt.position.offset)
    log = await installation.records(INVOCATIONS)
    [outcome] = [found.message for found in log if (found.record.partition, found.record.offset) == place]
    assert (outcome.runtime_id, outcome.active_epoch) == (receipt.runtime_id, receipt.epoch)
    assert outcome.variant_id == receipt.variant_id


async def standing(installation: Installation, task: str, epoch: int) -> Any:
    """Return what ``crl runtimes --json`` shows about a task, once its snapshot has everybody who moved."""
    async with asyncio.timeout(SECONDS):
        while True:
            code, out, err = await installation.run_crl("runtimes", task, "--json")
            assert code == 0, err
            [found] = json.loads(out)["tasks"]
            if found["epoch"] == epoch and found["adoption"] and found["adoption"]["moved"]:
                return found
