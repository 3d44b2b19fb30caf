"""The guide's improvement loop on a real broker: propose, review, explore, promote, degrade, roll back, confirm."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from builders import a_command, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from services_oracle import (
    assert_files_and_alerts_equal_the_topics,
    assert_services_equal_the_fold,
    services_settled,
    start_all,
)
from source_tree import ROOT

from crl_stream.core import messages as m
from crl_stream.core.proposer.step import approval_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, DECISIONS, PROPOSALS, ROLLBACKS

pytestmark = pytest.mark.integration

WEAK, NEW = "default", "default-v2"


async def approve(installation: Installation, kind: str) -> m.Proposal:
    """Wait for a pending proposal of ``kind`` and approve it exactly as proposed."""
    proposal = await installation.wait_for(
        PROPOSALS, m.Proposal, lambda p: p.proposal_type == kind and p.status == "pending"
    )
    fields = {"command_id": f"approve-{kind}", "timestamp": proposal.timestamp, "actor": "ada", "reason": "tried"}
    await installation.order(approval_of(proposal, schema_version=1, **fields))
    return proposal


async def tell(installation: Installation) -> AsyncIterator[str]:
    """Play the story, and yield after every step, so that the caller can disturb the processes."""
    await installation.publish(*invocations(WEAK, "S" * 60, quality=0.3))
    yield "the task has only one variant, a weak one"
    created = await approve(installation, "create_specialized_variant")
    assert created.change.variant_id == NEW
    yield "the approval of a new variant has been sent"
    await installation.wait_for(DECISIONS, m.CommandResult, lambda r: r.command == "ApproveProposal")
    yield "the new variant is registered"
    await installation.publish(*invocations(NEW, "S" * 12, quality=0.75, variant_source="explore"))
    yield "the new variant was explored"
    promoted = await approve(installation, "promote_variant_to_default")
    assert promoted.supporting_data["potential_improvement"] > 0.20
    yield "the approval of its promotion has been sent"
    active = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.variant_id == NEW)
    assert (active.epoch, active.cause) == (2, "approval")
    yield "the new variant is active"
    await installation.publish(*invocations(NEW, "S" * 15, quality=0.75, active_epoch=2))
    yield "the new variant does well"
    await installation.publish(*invocations(NEW, "F" * 12, active_epoch=2))
    yield "the new variant has degraded"
    event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    assert (event.from_variant, event.to_variant) == (NEW, WEAK)
    yield "the new variant was rolled back"
    await installation.order(a_command(m.ConfirmRollback, rollback_id=event.rollback_id))
    yield "the confirmation of the rollback has been sent"
    await installation.wait_for(DECISIONS, m.CommandResult, lambda r: r.command == "ConfirmRollback")


async def check(installation: Installation) -> None:
    """Check what must be true at the end, whatever happened along the way."""
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
    await services_settled(installation)
    page = await assert_services_equal_the_fold(installation)
    assert [(r.from_variant, r.to_variant) for r in page.rollbacks] == [(NEW, WEAK)]
    assert (page.tasks, page.q_table_entries) == (1, 2)
    proposals = await installation.messages(PROPOSALS)
    made = {(p.proposal_type, p.target_variant, p.proposal_id) for p in proposals}
    assert len({(kind, target) for kind, target, _ in made}) == len(made), "proposed twice"
    last = {p.proposal_id: p for p in sorted(proposals, key=lambda p: p.revision)}
    ended = {p.proposal_type: p.status for p in last.values()}
    assert ended["create_specialized_variant"] == ended["promote_variant_to_default"] == "approved"
    results = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult)]
    assert [(r.command, r.outcome) for r in results if r.command != "SetPolicy"] == [
        ("ApproveProposal", "applied"),
        ("ApproveProposal", "applied"),
        ("ConfirmRollback", "applied"),
    ]


async def check_the_dashboard(installation: Installation) -> None:
    """Check that ``crl dashboard`` and the guide's own command both show the story."""
    code, page, err = await installation.run_crl("dashboard", "--at", "2099-01-01T00:00:00Z")
    assert (code, err) == (0, "")
    assert f"{NEW} → {WEAK}" in page
    assert "Total Q-table Entries: 2" in page
    again = await asyncio.create_subprocess_exec(
        *(sys.executable, ROOT / "scripts" / "crl" / "safety_dashboard.py", "--at", "2099-01-01T00:00:00Z"),
        env=installation.environment(),
        cwd=installation.folder,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await again.communicate()
    assert (again.returncode, out.decode()) == (0, page)


async def test_a_weak_variant_is_improved_on_by_proposal_and_watched_like_any_other(
    installation: Installation,
) -> None:
    workers = await start_all(installation)
    async for _ in tell(installation):
        pass
    await check(installation)
    await assert_files_and_alerts_equal_the_topics(installation)
    await check_the_dashboard(installation)
    for worker in workers:
        assert await worker.stop() == 0


@pytest.mark.faults
async def test_killed_at_every_point_of_the_story_nothing_is_proposed_told_or_written_twice_and_nothing_is_lost(
    installation: Installation,
) -> None:
    workers, points = await start_all(installation), []
    async for point in tell(installation):
        for worker in workers:
            worker.kill()
        workers = await start_all(installation)
        points.append(point)
    assert len(points) >= 10
    await check(installation)
    await installation.wait_for(ALERTS, m.Alert, lambda a: a.kind == "weekly_review", seconds=90)
    reviews = [a for a in await installation.messages(ALERTS) if a.kind == "weekly_review"]
    assert len({a.alert_id for a in reviews}) == 1, "one review a week, however often it is requested"
    await assert_files_and_alerts_equal_the_topics(installation)
