"""Candidates from outside on a real broker: from the command line and from Python, reviewed like all proposals."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from services_oracle import (
    assert_files_and_alerts_equal_the_topics,
    assert_services_equal_the_fold,
    lines,
    services_settled,
    start_all,
)

from crl_stream.core import messages as m
from crl_stream.core.proposer.step import approval_of
from crl_stream.errors import CommandRefused, NotFound, UsageError
from crl_stream.proposals import propose
from crl_stream.wire.topics import DEAD_LETTERS, DECISIONS, PROPOSALS, VARIANTS

pytestmark = pytest.mark.integration

NAME = f"{AGENT}/{TASK}"
OLD, NEW = {"prompt": "Be brief.\nBe kind.", "model": "m-1"}, {"prompt": "Be brief.\nBe exact.", "model": "m-1"}


async def crl(installation: Installation, *words: str) -> Any:
    """Run ``crl`` with ``--json`` and return what it prints; fail if it fails."""
    code, out, err = await installation.run_crl(*words, "--json")
    assert code == 0, err
    return json.loads(out)


async def begin(installation: Installation, **settings: str) -> None:
    """Start all roles, and a task whose active variant has a configuration."""
    await start_all(installation, **settings)
    await crl(installation, "register", NAME, "default", "--configuration", json.dumps(OLD))
    await installation.publish(*invocations("default", "S" * 30))
    await installation.settled()


async def test_a_candidate_filed_from_the_command_line_is_shown_approved_and_rolled_out(
    installation: Installation,
) -> None:
    await begin(installation)
    (installation.folder / "candidate.json").write_text(json.dumps(NEW), encoding="utf-8")
    claim = '{"n": 120, "metric": "accuracy", "score_before": 0.61, "score_after": 0.78, "dataset": "dev\\u001b[31m"}'
    (installation.folder / "evidence.json").write_text(claim, encoding="utf-8")
    code, out, err = await installation.run_crl(
        *("propose", NAME, "v2", "--configuration", "@candidate.json", "--evidence", "@evidence.json"),
        *("--parent", "default", "--source", "gepa@0.1.4", "--ref", "langfuse:p@2", "--reason", "exact is better"),
        *("--actor", "nightly"),
    )
    assert code == 0, err
    proposal = await installation.wait_for(PROPOSALS, m.Proposal)
    assert proposal.proposal_id in out
    assert (proposal.status, proposal.trigger, proposal.target_variant) == ("pending", "external", "v2")

    code, shown, err = await installation.run_crl("proposals", "show", proposal.proposal_id)
    assert code == 0, err
    for line in (
        "  Filed by: nightly",
        "  Source: gepa@0.1.4",
        "Claimed by gepa@0.1.4, not measured by crl-stream",
        "  score_after: 0.78",
        "The configuration, compared with default",
        "      -Be kind.",
        "      +Be exact.",
        f"crl proposals approve {proposal.proposal_id} --rollout",
    ):
        assert line in shown, shown
    assert "\x1b" not in shown

    answer = await crl(installation, "proposals", "approve", proposal.proposal_id, "--rollout", "--actor", "ada")
    assert (answer["outcome"], answer["proposal_id"]) == ("applied", proposal.proposal_id)
    assert answer["rollout"]["detail"].split(" ", 1)[1].startswith("of v2 began with 5 %"), answer["rollout"]
    catalogue = await installation.wait_for(
        VARIANTS, m.VariantCatalogue, lambda c: "v2" in {v.variant_id for v in c.variants}
    )
    [made] = [v for v in catalogue.variants if v.variant_id == "v2"]
    assert (made.configuration, made.ref, made.parent, made.state) == (NEW, "langfuse:p@2", "default", "registered")

    audit = (await crl(installation, "audit", NAME))["audit"]
    people = [e for e in reversed(audit) if e["actor"] in {"nightly", "ada"} and not e["action"].startswith("rollout")]
    assert [(e["actor"], e["action"], e["outcome"]) for e in people] == [
        ("nightly", "ProposeVariant", "applied"),
        ("ada", "ApproveProposal", "applied"),
        ("ada", "StartRollout", "applied"),
    ]
    await check(installation)
    file = installation.folder / "telemetry" / "crl" / "variant_proposals.jsonl"
    told = [line for line in lines(file) if line["proposal_id"] == proposal.proposal_id]
    assert [(line["status"], line["actor"], line["filed_by"], line["source"]) for line in told] == [
        ("pending", "nightly", "nightly", "gepa@0.1.4"),
        ("approved", "ada", "nightly", "gepa@0.1.4"),
    ]


async def check(installation: Installation) -> None:
    """Check that every topic, table and file is the fold of its input, and that nothing was dropped."""
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
    await services_settled(installation)
    await assert_services_equal_the_fold(installation)
    await assert_files_and_alerts_equal_the_topics(installation)
    assert await installation.messages(DEAD_LETTERS) == []


async def tell(installation: Installation) -> AsyncIterator[str]:
    """Play the story of one candidate, and yield after every step, so that the caller can kill the processes."""
    await installation.publish(*invocations("default", "S" * 30))
    yield "a task without a candidate"
    candidate = {"variant_id": "v2", "source": "gepa@0.1.4", "parent": "default", "configuration": NEW}
    await installation.order(a_command(m.ProposeVariant, command_id="file-1", actor="nightly", **candidate))
    yield "the candidate has been sent"
    filed = await installation.wait_for(PROPOSALS, m.Proposal, lambda p: p.trigger == "external")
    yield "it is proposed"
    await installation.publish(*invocations("v3", "S" * 12, variant_source="explore"))
    await installation.order(a_command(m.ActivateVariant, command_id="activate-1", variant_id="v3"))
    yield "another variant has been activated"
    moved = await installation.wait_for(PROPOSALS, m.Proposal, lambda p: p.trigger == "external" and p.epoch == 2)
    assert (moved.proposal_id, moved.status) == (filed.proposal_id, "pending")
    yield "the proposal has followed"
    fields = {"command_id": "approve-1", "timestamp": moved.timestamp, "actor": "ada", "reason": "tried"}
    await installation.order(approval_of(moved, schema_version=1, **fields))
    yield "the approval has been sent"
    await installation.wait_for(
        PROPOSALS, m.Proposal, lambda p: p.proposal_id == filed.proposal_id and p.status == "approved"
    )


@pytest.mark.faults
async def test_killed_at_every_point_a_candidate_is_filed_once_and_never_lost(installation: Installation) -> None:
    workers, points = await start_all(installation), []
    async for point in tell(installation):
        for worker in workers:
            worker.kill()
        workers = await start_all(installation)
        points.append(point)
    assert len(points) == 6
    await check(installation)
    filed = [p for p in await installation.messages(PROPOSALS) if p.trigger == "external"]
    assert len({p.proposal_id for p in filed}) == 1
    assert [p.status for p in sorted(filed, key=lambda p: p.revision)] == ["pending", "pending", "approved"]
    answered = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult)]
    assert [(r.command, r.outcome) for r in answered if r.command in {"ProposeVariant", "ApproveProposal"}] == [
        ("ProposeVariant", "applied"),
        ("ApproveProposal", "applied"),
    ]


async def test_a_script_gets_the_id_or_the_reason_even_inside_a_running_event_loop(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(installation)
    for name, value in installation.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CRL_KAFKA_PARTITIONS", "7")  # a script that knows only the address has the default
    first = propose(NAME, "v2", source="dspy@3", parent="default", configuration=NEW, evidence={"n": 20}, actor="bot")
    await installation.wait_for(PROPOSALS, m.Proposal, lambda p: p.proposal_id == first)
    with pytest.raises(CommandRefused, match=f"already proposed as {first}"):
        propose(NAME, "v2", source="dspy@3")
    with pytest.raises(CommandRefused, match="variant v9 is unknown"):
        propose(NAME, "v3", source="dspy@3", parent="v9")
    with pytest.raises(NotFound, match="Nothing is known of backend-architect/api-desing"):
        propose(f"{AGENT}/api-desing", "v3", source="dspy@3")
    with pytest.raises(UsageError, match="Evidence has no field accuracy"):
        propose(NAME, "v3", source="dspy@3", evidence={"accuracy": 1.0})

    code, _, err = await installation.run_crl(
        "proposals", "reject", first, "--reason", "the prompt is being rewritten", "--actor", "ada"
    )
    assert code == 0, err
    again = {"source": "dspy@3", "parent": "default", "configuration": NEW}
    with pytest.raises(CommandRefused, match=r"rejected by ada: the prompt is being rewritten; change it"):
        propose(NAME, "v2", evidence={"n": 39}, **again)  # type: ignore[arg-type]
    second = propose(NAME, "v2", evidence={"n": 40}, **again)  # type: ignore[arg-type]
    assert second != first
    await installation.wait_for(PROPOSALS, m.Proposal, lambda p: p.proposal_id == second)
    refused = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult)]
    assert sum(r.command == "ProposeVariant" and r.outcome == "refused" for r in refused) == 3
    await check(installation)
