"""After a person's review, the log, the tracker, the files and the variants all show the same result."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, invocations
from installation import Installation
from services_oracle import (
    assert_files_and_alerts_equal_the_topics,
    assert_services_settled,
    lines,
    start_all,
)

from crl_stream.core import messages as m
from crl_stream.core.proposer.step import approval_of
from crl_stream.wire.topics import DECISIONS, PROPOSALS, VARIANTS

pytestmark = pytest.mark.integration

WEAK, NEW = "default", "default-v2"
OTHER = "code-review"


async def tracker_of(installation: Installation) -> dict[str, Any]:
    """Return every entry of the tracker export, by id."""
    code, out, err = await installation.run_crl("proposals", "export", "--format", "tracker", "--status", "all")
    assert code == 0, err
    return {entry["id"]: entry for entry in json.loads(out)["entries"]}


async def proposal_for(installation: Installation, task_type: str) -> m.Proposal:
    found: m.Proposal = await installation.wait_for(PROPOSALS, m.Proposal, lambda p: p.task_type == task_type)
    return found


async def test_the_guides_five_integration_points_are_one_story(installation: Installation) -> None:
    await start_all(installation)
    for task_type in (TASK, OTHER):
        await installation.publish(*invocations(WEAK, "S" * 60, quality=0.3, task_type=task_type))
    # 1. Variant proposer generates CRL proposals
    wanted, unwanted = await proposal_for(installation, TASK), await proposal_for(installation, OTHER)
    assert {wanted.tracker_type, unwanted.tracker_type} == {"crl_create_specialized_variant"}
    # 2. Proposals logged to telemetry/crl/variant_proposals.jsonl
    await assert_files_and_alerts_equal_the_topics(installation)
    file = installation.folder / "telemetry" / "crl" / "variant_proposals.jsonl"
    assert {line["proposal_id"] for line in lines(file)} == {wanted.proposal_id, unwanted.proposal_id}
    # 3. Human approval workflow via proposal tracker
    entry = (await tracker_of(installation))[wanted.proposal_id]
    assert (entry["type"], entry["status"]) == ("crl_create_specialized_variant", "pending")
    code, _, err = await installation.run_crl(*entry["approve"].split()[1:], "--actor", "ada")
    assert code == 0, err
    # 4. Approved proposals trigger variant modifications
    catalogue = await installation.wait_for(
        VARIANTS, m.VariantCatalogue, lambda c: NEW in {v.variant_id for v in c.variants}
    )
    [made] = [v for v in catalogue.variants if v.variant_id == NEW]
    assert (catalogue.agent_name, catalogue.task_type, made.state, made.parent) == (AGENT, TASK, "registered", WEAK)
    assert made.modifications == wanted.change.modifications != []
    # 5. Rejected proposals logged for analysis
    code, _, err = await installation.run_crl(
        "proposals", "reject", unwanted.proposal_id, "--reason", "the prompt is being rewritten", "--actor", "bob"
    )
    assert code == 0, err
    await assert_services_settled(installation)
    await assert_files_and_alerts_equal_the_topics(installation)
    [line] = [line for line in lines(file) if line["status"] == "rejected"]
    assert (line["proposal_id"], line["actor"]) == (unwanted.proposal_id, "bob")
    assert line["status_reason"] == "the prompt is being rewritten"
    entries = await tracker_of(installation)
    assert {entry["id"]: (entry["status"], entry["reviewed_by"]) for entry in entries.values()} == {
        wanted.proposal_id: ("approved", "ada"),
        unwanted.proposal_id: ("rejected", "bob"),
    }


async def test_of_two_reviewers_at_once_one_wins_and_the_other_is_told_why(installation: Installation) -> None:
    await start_all(installation)
    await installation.publish(*invocations(WEAK, "S" * 60, quality=0.3))
    proposal = await installation.wait_for(PROPOSALS, m.Proposal)
    fields = {"schema_version": 1, "timestamp": proposal.timestamp}
    approve = approval_of(proposal, command_id="ada-1", actor="ada", reason="worth a try", **fields)
    reject = a_command(m.RejectProposal, command_id="bob-1", actor="bob", proposal_id=proposal.proposal_id)
    await asyncio.gather(installation.order(approve), installation.order(reject))
    results = {}
    for command in (approve, reject):
        found = await installation.wait_for(
            DECISIONS, m.CommandResult, lambda r, wanted=command.command_id: r.command_id == wanted
        )
        results[found.outcome] = found
    winner, word = ("ada", "approved") if results["applied"].command_id == "ada-1" else ("bob", "rejected")
    assert f"already {word} by {winner}" in results["refused"].detail
    await assert_services_settled(installation)
    last = max(await installation.messages(PROPOSALS), key=lambda p: p.revision)
    assert (last.status, last.history[-1].actor) == (word, winner)
    code, _, err = await installation.run_crl("proposals", "reject", proposal.proposal_id, "--reason", "too late")
    assert (code, f"{word} by {winner}" in err, "hint:" in err) == (5, True, True), err
    entry = (await tracker_of(installation))[proposal.proposal_id]
    assert (entry["type"], entry["status"]) == ("crl_create_specialized_variant", word)
    await assert_files_and_alerts_equal_the_topics(installation)
