"""Leaving shadow mode on a real broker: reported rollbacks were right, a person approves, rollbacks are enforced."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from builders import AGENT, TASK, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from services_oracle import assert_services_settled, start_all

from crl_stream.cli.proposals.enforcing import enforced
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.kafka import policy_change
from crl_stream.kafka.fleet_policy import FleetPolicy, read_fleet_policy, send_policy
from crl_stream.kafka.policy_change import change_policy
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import load_settings
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DECISIONS, PROPOSALS, ROLLBACKS

pytestmark = pytest.mark.integration

NAME = f"{AGENT}/{TASK}"
SHADOW = {"operations_mode": "shadow", "proposals_enforce_min_rollbacks": "1"}


async def run(installation: Installation, *words: str) -> str:
    port = installation.workers[0].url.rpartition(":")[2]
    code, out, err = await installation.run_crl(*words, worker_web_port=port, **SHADOW)
    assert code == 0, err
    return out


async def test_shadow_mode_files_the_proposal_and_its_approval_makes_the_task_enforce(
    installation: Installation,
) -> None:
    await start_all(installation, **SHADOW)
    await installation.publish(*invocations("default", "S" * 40))
    await installation.publish(*invocations("steady", "SSSSSSSSSF" * 4, variant_source="explore"))
    await installation.publish(*invocations("default", "F" * 70))
    event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    assert not event.enforced
    hindsight = await installation.wait_for(DECISIONS, m.Hindsight)
    assert (hindsight.rollback_id, hindsight.finding, hindsight.avoidable) == (event.rollback_id, "right", 45)
    proposal = await installation.wait_for(PROPOSALS, m.Proposal, lambda p: p.proposal_type == "enforce_task")
    assert proposal.reasoning.startswith("1 of 1 right, 45 bad invocations avoidable")
    await assert_services_settled(installation)

    shown = await run(installation, "rollbacks", "show", event.rollback_id)
    assert "shadow: right" in shown
    assert "45 of 50 bad invocations avoidable" in " ".join(shown.split())
    document = json.loads(await run(installation, "rollbacks", "show", event.rollback_id, "--json"))
    assert document["became"][0]["hindsight"]["avoidable"] == 45
    words = "rollbacks in shadow mode: 1 of 1 right, 45 bad invocations avoidable"
    assert words in await run(installation, "window", NAME)
    status = json.loads(await run(installation, "status", "--json"))
    assert status["scorecard"] == {"right": 1, "wrong": 0, "open": 0, "avoidable": 45, "caused": 0}
    assert f"note scorecard: {words}" in status["notes"]
    assert f'[tasks."{NAME}".operations]' in await run(installation, "proposals", "show", proposal.proposal_id)

    out = await run(installation, "proposals", "approve", proposal.proposal_id, "--actor", "ada", "--json")
    answer = json.loads(out)
    assert (answer["outcome"], answer["policy"]["set_by"], answer["policy"]["pending"]) == ("applied", "ada", [])
    await installation.publish(*invocations("default", "F"))
    active = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.variant_id == "steady")
    assert (active.mode, active.cause) == ("enforce", "rollback")
    await assert_services_settled(installation)
    in_force = json.loads(await run(installation, "policy", "show", "--json"))
    assert in_force["set_by"] == "ada"
    assert f"{proposal.proposal_id} approved" in in_force["reason"]
    last = [p for p in await installation.messages(PROPOSALS) if p.proposal_id == proposal.proposal_id][-1]
    assert (last.status, last.history[-1].actor) == ("approved", "ada")
    await assert_topics_equal_the_fold(installation)


async def test_a_change_of_the_policy_keeps_what_somebody_else_changed_since_it_was_read(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(
        load_settings(environment={}, flags={"worker.app_id": installation.app_id}), kafka=installation.kafka
    )
    shadow = PolicySet(default=Policy(operations=Operations(mode="shadow")))
    theirs = PolicySet(default=Policy(operations=Operations(mode="shadow", exploration=0.05)))
    key = TaskKey(AGENT, TASK)
    async with KafkaSession(installation.kafka) as session:
        await send_policy(session, shadow, actor="ann", reason="first")
        stale = await read_fleet_policy(settings, session)
        await send_policy(session, theirs, actor="bob", reason="meanwhile")

        async def read_too_early(*_: Any) -> FleetPolicy:
            return stale

        monkeypatch.setattr(policy_change, "read_fleet_policy", read_too_early)
        done = await change_policy(settings, session, lambda now: enforced(now, key), actor="ada", reason="approved")
        now = await read_fleet_policy(settings, session)
    assert now.policies == done.policies == enforced(theirs, key)
    assert now.policies.for_task(key).operations == Operations(mode="enforce", exploration=0.05)
    sent = [found.actor for found in await installation.messages(COMMANDS)]
    assert sent == ["ann", "bob", "ada", "ada"]


def test_an_override_differs_from_what_applied_before_only_in_the_mode() -> None:
    key = TaskKey(AGENT, TASK)
    own = Policy(operations=Operations(mode="shadow", exploration=0.1))
    before = PolicySet(default=Policy(), agents={AGENT: own})
    after = enforced(before, key)
    wanted = msgspec.structs.replace(own, operations=Operations(mode="enforce", exploration=0.1))
    assert (after.for_task(key), after.default, after.agents) == (wanted, before.default, before.agents)
    assert enforced(after, key) is after
