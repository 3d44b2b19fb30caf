"""Poison records and broker faults, as the campaign induces them.  A fault that had no effect is inconclusive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from campaign.live.brokers import Broker
from campaign.live.fault import find_faults
from campaign.live.faults import f08_poison
from campaign.live.rounds import Played, Round, play

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(600)]


UNNOTICED = 40
"""Records per second.  A low rate is enough while the test waits for an effect that never happens."""


class Untouched(Broker):
    """A broker that keeps running when a fault tries to stop or kill it."""

    async def start(self) -> None:
        if self._kafka is None:
            await super().start()

    async def stop(self) -> None:
        """Do nothing."""

    async def kill(self) -> None:
        """Do nothing."""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with Broker(tmp_path / "kafka") as started:
        yield started


async def play_once(name: str, broker: Broker, folder: Path, **plan: object) -> Played:
    fault = find_faults()[name]
    planned = Round(replace(fault, plan=fault.plan | {"services": False, "workers": 2} | plan), 1, 1, 20261124)
    return await play(planned, broker, folder / "round", lambda _: None)


@pytest.mark.parametrize("name", ["F8", "F4"])
async def test_a_broker_that_goes_away_and_every_kind_of_poison_lose_and_double_nothing(
    name: str, broker: Broker, tmp_path: Path
) -> None:
    played = await play_once(name, broker, tmp_path)
    assert played.error is None
    assert played.findings is not None
    assert played.findings["complaints"] == []
    assert [each["engaged"] for each in played.engagements] == [True]


async def test_poison_that_was_never_sent_is_inconclusive(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f08_poison, "INPUTS", [])
    monkeypatch.setattr(f08_poison, "ORDERS", [])
    played = await play_once("F8", broker, tmp_path, rate=UNNOTICED)
    assert played.error is None
    assert [each["engaged"] for each in played.engagements] == [False]


async def test_a_broker_that_never_went_away_is_inconclusive(tmp_path: Path) -> None:
    untouched = Untouched(tmp_path / "kafka")
    async with untouched:
        played = await play_once("F4", untouched, tmp_path, rate=UNNOTICED)
        await Broker.stop(untouched)
    assert played.error is None
    assert [each["engaged"] for each in played.engagements] == [False]
