"""A short selection of the live campaign: kills, a stop and rebalances under load, then its oracle's check."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from campaign.live.brokers import GivenBroker
from campaign.live.fault import find_faults
from campaign.live.rounds import examine
from campaign.live.world import Plan, World

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SELECTION = ("F1", "F2", "F5", "F1")


async def test_kills_a_stop_and_rebalances_under_load_lose_nothing_and_apply_nothing_twice(
    kafka: str, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    faults, rng = find_faults(), random.Random(20261124)
    plan = Plan(name=f"s{tmp_path.parent.name}-{rng.random():.6f}", workers=2, services=True, rate=300)
    async with World(GivenBroker(kafka), plan, tmp_path, rng) as world:
        await world.start()
        engagements = [await faults[name].induce(world, rng) for name in SELECTION]
        findings = await examine(world)
    record_property("findings", findings.as_dict())
    assert findings.is_exact, findings.complaints
    assert [one for one in engagements if not one.engaged] == [], "a fault that had no effect proves nothing"
    assert any(one.raced for one in engagements)
    # If a kind of record was never sent, the round proves nothing about it.
    assert min(findings.outcomes, findings.commands, findings.poison, findings.forwarded, findings.outputs) > 10
