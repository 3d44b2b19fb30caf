"""A rollout on a real broker: started from the command line, followed by a runtime, aborted, and started again."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from builders import AGENT, TASK, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation

from crl_stream.client import Client
from crl_stream.core import messages as m
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.topics import DECISIONS, RECEIPTS, ROLLBACKS

pytestmark = pytest.mark.integration
NAME = f"{AGENT}/{TASK}"


def settings_of(installation: Installation) -> Settings:
    told = {"bootstrap_servers": installation.kafka.bootstrap_servers, "topic_prefix": installation.kafka.topic_prefix}
    flags = {f"kafka.{name}": value for name, value in told.items()}
    return load_settings(environment={}, flags=flags | {"client.cache_dir": str(installation.folder / "cache")})


def work(client: Client, *, until_epoch: int, works: bool) -> dict[str, int]:
    """Run an agent until its runtime follows the epoch; return how often each variant was used.

    The candidate succeeds if it ``works``; an invocation takes 5 ms.
    """
    used: dict[str, int] = {}
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with client.invocation(AGENT, TASK) as running:
            if running.variant_id == "v2" and not works:
                running.failed()
            time.sleep(0.005)
        used[running.variant_id] = used.get(running.variant_id, 0) + 1
        if (running.epoch or 0) >= until_epoch:
            return used
    raise AssertionError(f"epoch {until_epoch} was not reached: {used}")


async def crl(installation: Installation, *words: str) -> Any:
    code, out, err = await installation.run_crl(*words, "--json")
    assert code == 0, err
    return json.loads(out)


async def test_a_bad_candidate_is_taken_back_from_a_small_share_and_a_good_one_replaces_the_active_variant(
    installation: Installation,
) -> None:
    await installation.worker(rollout_stages="0.3, 0.5", rollout_min_outcomes="10")
    await installation.publish(*invocations("default", "S" * 30))
    await installation.settled()
    await crl(installation, "register", NAME, "v2")
    assert (await crl(installation, "rollout", "status"))["rollouts"] == []
    started = await crl(installation, "rollout", "start", NAME, "v2", "--reason", "cheaper")
    assert "began with 30 % of the invocations, then 50 %" in started["detail"]

    with Client(settings_of(installation), runtime_id="r1", exploration=0.0) as client:
        assert await asyncio.to_thread(client.resolver.wait_for_epoch, AGENT, TASK, 1, 30.0)
        used = await asyncio.to_thread(work, client, until_epoch=2, works=False)
        event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
        assert (event.from_variant, event.to_variant, event.epoch) == ("v2", "default", 2)
        assert used["default"] > used["v2"] >= 10
        receipt = await installation.wait_for(RECEIPTS, m.Receipt, lambda r: r.epoch == 2)
        assert (receipt.runtime_id, receipt.variant_id) == ("r1", "default")

        await crl(installation, "undo", event.rollback_id)
        await crl(installation, "rollout", "start", NAME, "v2", "--stages", "40,50", "--outcomes", "5")
        await asyncio.to_thread(work, client, until_epoch=3, works=True)
    receipt = await installation.wait_for(RECEIPTS, m.Receipt, lambda r: r.epoch == 3)
    assert receipt.variant_id == "v2"
    steps = [step.step for step in await installation.messages(DECISIONS) if isinstance(step, m.RolloutStep)]
    assert steps == ["started", "aborted", "started", "stage_passed", "completed"]
    await installation.settled()
    await assert_topics_equal_the_fold(installation)


async def test_a_person_follows_a_rollout_pauses_it_and_decides_about_every_step(installation: Installation) -> None:
    await installation.worker()
    await installation.publish(*invocations("default", "S" * 30))
    await installation.settled()
    await crl(installation, "register", NAME, "v2")
    code, _, err = await installation.run_crl("rollout", "promote", NAME)
    assert (code, "No rollout of" in err, "crl rollout start" in err) == (4, True, True)
    await crl(installation, "rollout", "start", NAME, "v2", "--stages", "10,20")
    await crl(installation, "rollout", "pause", NAME, "--reason", "experts look", "--actor", "bob")
    code, out, err = await installation.run_crl("rollout", "status")
    assert code == 0, err
    assert f"{NAME}: v2 gets 10 % of the invocations (stage 1 of 2: 10 %, 20 %)" in out
    assert "the next stage waits for: paused by bob" in out
    assert (await crl(installation, "rollout", "status", NAME))["rollouts"][0]["control_variant"] == "default"
    code, out, _ = await installation.run_crl("window", NAME)
    await crl(installation, "rollout", "resume", NAME)
    assert "now gets 20 % (stage 2, the last)" in (await crl(installation, "rollout", "promote", NAME))["detail"]
    aborted = await crl(installation, "rollout", "abort", NAME, "--reason", "enough")
    assert "v2 is not quarantined" in aborted["detail"]
    assert (await crl(installation, "rollout", "status"))["rollouts"] == []
    await assert_topics_equal_the_fold(installation)
