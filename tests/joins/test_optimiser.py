"""A real optimiser (GEPA, with scripted models) improves a prompt and proposes it; a person and the figures decide."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from typing import Any

import pytest
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from services_oracle import (
    assert_files_and_alerts_equal_the_topics,
    assert_services_equal_the_fold,
    lines,
    services_settled,
    start_all,
)
from source_tree import ROOT

from crl_stream.client import Client
from crl_stream.core import messages as m
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.topics import ACTIVE_VARIANTS, DEAD_LETTERS, DECISIONS, PROPOSALS, RECEIPTS, ROLLBACKS

from .environments import python_of
from .proof import prove_that_it_moved

pytestmark = pytest.mark.integration

AGENT, KIND = "support", "refund"
TASK, OLD, NEW = f"{AGENT}/{KIND}", "refund-v1", "refund-gepa-1"
SEED = {"prompt": "You decide about refunds.", "model": "scripted"}


async def crl(installation: Installation, *words: str) -> Any:
    """Run ``crl`` with ``--json`` and return what it prints; fail if it fails."""
    code, out, err = await installation.run_crl(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def settings_of(installation: Installation) -> Settings:
    told = {"bootstrap_servers": installation.kafka.bootstrap_servers, "topic_prefix": installation.kafka.topic_prefix}
    flags = {f"kafka.{name}": value for name, value in told.items()}
    return load_settings(environment={}, flags=flags | {"client.cache_dir": str(installation.folder / "cache")})


def serve(client: Client, *, until_epoch: int = 0, times: int = 10_000, fails: str = "") -> set[str]:
    """Run the agent with the prompt that it gets; it is better if the prompt names the refund policy.

    ``fails`` is a variant whose invocations all fail. Returns the variants that it used, once its runtime follows
    ``until_epoch`` or after ``times`` invocations.
    """
    used: set[str] = set()
    end = time.monotonic() + 90
    for _ in range(times):
        assert time.monotonic() < end, f"epoch {until_epoch} was not reached"
        with client.invocation(AGENT, KIND, default=OLD) as running:
            running.quality = 0.9 if "Deny" in (running.configuration or SEED)["prompt"] else 0.6
            if running.variant_id == fails:
                running.failed()
            time.sleep(0.005)
        used.add(running.variant_id)
        if until_epoch and (running.epoch or 0) >= until_epoch:
            break
    return used


async def run_optimiser(installation: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the example in the environment of the optimiser."""
    words = [str(python_of("optimiser")), str(ROOT / "examples" / "08_optimiser_proposes.py"), *arguments]
    return await asyncio.to_thread(
        lambda: subprocess.run(
            words,
            env=installation.environment(),
            cwd=installation.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    )


async def test_what_an_optimiser_proposes_is_approved_by_a_person_and_carried_to_active_by_its_own_outcomes(
    installation: Installation,
) -> None:
    python_of("optimiser")
    await start_all(installation, rollout_stages="0.3, 0.5", rollout_min_outcomes="10")
    await crl(installation, "register", TASK, OLD, "--configuration", json.dumps(SEED))
    with Client(settings_of(installation), runtime_id="r1", exploration=0.0) as client:
        await asyncio.to_thread(serve, client, times=60)
        assert await asyncio.to_thread(client.resolver.wait_for_epoch, AGENT, KIND, 1, 30.0)

        done = await run_optimiser(installation, TASK, NEW)
        assert done.returncode == 0, done.stderr
        found = re.search(r"is proposed: (\S+) -> (\S+)\..*crl proposals show (prop-\S+)", done.stdout)
        assert found is not None, done.stdout
        before, after, proposal_id = float(found[1]), float(found[2]), found[3]
        assert after > before
        proposal = await installation.wait_for(PROPOSALS, m.Proposal, lambda p: p.proposal_id == proposal_id)
        assert proposal.filing is not None and proposal.filing.evidence is not None
        assert proposal.filing.source.startswith("gepa@")
        assert (proposal.filing.evidence.score_before, proposal.filing.evidence.score_after) == (before, after)
        _, shown, _ = await installation.run_crl("proposals", "show", proposal_id)
        assert f"The configuration, compared with {OLD}" in shown
        assert "+Deny requests that have no receipt." in shown
        again = await run_optimiser(installation, TASK, NEW)
        assert (again.returncode, f"already proposed as {proposal_id}" in again.stderr) == (5, True), again.stderr

        answer = await crl(installation, "proposals", "approve", proposal_id, "--rollout", "--actor", "ada")
        assert "began with 30 % of the invocations" in answer["rollout"]["detail"]
        assert await asyncio.to_thread(serve, client, until_epoch=2) == {OLD, NEW}
        # A person approved it and its first outcomes were good, but it collapses later.
        assert await asyncio.to_thread(serve, client, times=20) == {NEW}
        assert await asyncio.to_thread(serve, client, until_epoch=3, fails=NEW) == {OLD, NEW}
        rollback = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
        assert (rollback.from_variant, rollback.to_variant) == (NEW, OLD)
    active = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == 2)
    assert (active.variant_id, active.cause) == (NEW, "rollout")
    receipt = await installation.wait_for(RECEIPTS, m.Receipt, lambda r: r.epoch == 2)
    assert (receipt.runtime_id, receipt.variant_id) == ("r1", NEW)
    assert rollback.epoch == 3
    await prove_that_it_moved(installation, rollback, "r1")
    await assert_the_ledger(installation, proposal_id)


async def assert_the_ledger(installation: Installation, proposal_id: str) -> None:
    """Check that audit, log and telemetry name who proposed and who approved, and that all is the fold of its input."""
    audit = (await crl(installation, "audit", TASK))["audit"]
    commands = {"ProposeVariant", "ApproveProposal", "StartRollout"}
    assert [(e["actor"], e["action"], e["outcome"]) for e in reversed(audit) if e["action"] in commands] == [
        ("nightly-optimiser", "ProposeVariant", "applied"),
        ("nightly-optimiser", "ProposeVariant", "refused"),
        ("ada", "ApproveProposal", "applied"),
        ("ada", "StartRollout", "applied"),
    ]
    decisions = await installation.messages(DECISIONS)
    results = [r for r in decisions if isinstance(r, m.CommandResult) and r.proposal_id == proposal_id]
    assert [(r.command, r.actor) for r in results] == [
        ("ProposeVariant", "nightly-optimiser"),
        ("ApproveProposal", "ada"),
    ]
    steps = [step.step for step in decisions if isinstance(step, m.RolloutStep)]
    assert steps == ["started", "stage_passed", "completed"]
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
    await services_settled(installation)
    await assert_services_equal_the_fold(installation)
    await assert_files_and_alerts_equal_the_topics(installation)
    told = lines(installation.folder / "telemetry" / "crl" / "variant_proposals.jsonl")
    assert [(line["status"], line["actor"], line["filed_by"]) for line in told if line["trigger"] == "external"] == [
        ("pending", "nightly-optimiser", "nightly-optimiser"),
        ("approved", "ada", "nightly-optimiser"),
    ]
    assert await installation.messages(DEAD_LETTERS) == []


async def test_an_optimiser_of_an_unknown_task_ends_with_a_sentence_and_no_traceback(
    installation: Installation,
) -> None:
    python_of("optimiser")
    done = await run_optimiser(installation, "support/unknown", NEW)
    assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert "support/unknown has no active variant whose configuration has a prompt" in done.stderr
