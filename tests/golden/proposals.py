"""Proposals of every type, with every possible end: approved, rejected, deferred, superseded, expired, revised."""

from __future__ import annotations

from crl_stream.core import messages as m

from .scribe import Scribe, Task, instant

DAY = 86_400_000


def weak(scribe: Scribe, task_type: str, letters: str = "SSSE", times: int = 12) -> Task:
    """Write a task whose only variant performs badly."""
    task = scribe.task("security-auditor", task_type)
    task.run("default", letters * times)
    return task


def made(scribe: Scribe) -> None:
    """Approve a specialized variant, explore it, and approve its promotion; then change parameters."""
    task = weak(scribe, "review-code")
    for proposal in task.proposals():
        task.review(m.ApproveProposal, proposal)
    known = [v.variant_id for v in scribe.snapshot(**task.names).variants if v.variant_id != "default"]
    for name in known:
        task.explore(name, "S" * 20, reward=0.85)
    task.run("default", "SSE" * 4)
    for proposal in task.proposals():
        task.review(m.ApproveProposal, proposal)
    for name in known:
        task.run(name, "SFFE" * 12, active_epoch=task.epoch)
    for proposal in task.proposals():
        task.review(m.RejectProposal, proposal, reason="not now")
    task.run("default", "SE" * 12)
    slow = scribe.task("security-auditor", "slow")
    slow.run("default", "S" * 40, duration_seconds=4_000.0, quality=0.1)
    slow.explore("other", "F" * 40)
    for proposal in slow.proposals():
        slow.review(m.DeferProposal, proposal, until=instant(scribe.clock + 4_000))
    scribe.fall_silent(8_000)
    slow.run("default", "S" * 30, duration_seconds=4_000.0, quality=0.1)


def superseded(scribe: Scribe) -> None:
    """End open proposals without a review: by a new epoch, by better figures, and by their expiry."""
    task = weak(scribe, "better-soon")
    task.run("default", "S" * 40)
    task.run("default", "F" * 30)
    moved = weak(scribe, "moves-on")
    moved.explore("v2", "S" * 6, reward=0.8)
    moved.run("default", "SE" * 4)
    moved.order(m.ActivateVariant, variant_id="v2")
    moved.run("v2", "SSF" * 16)
    parameters = weak(scribe, "parameters", "SSEF")
    parameters.explore("v2", "SEFF" * 12)
    parameters.run("default", "SSEF" * 12)
    for proposal in parameters.proposals():
        if proposal.proposal_type == "modify_variant_parameters":
            parameters.review(m.ApproveProposal, proposal)
    parameters.run("default", "SSEF" * 6)
    weak(scribe, "waits")
    left = weak(scribe, "deferred-for-long")
    for proposal in left.proposals():
        left.review(m.DeferProposal, proposal, until=instant(scribe.clock + 3 * DAY), reason="")


def earned(scribe: Scribe) -> None:
    """Let shadow mode report rollbacks that turn out to be right, wrong or open; approve enforcing them."""
    task = scribe.task("shadow-runner", "earned")
    task.run("default", "S" * 40)
    task.explore("steady", "SSSSSSSSSF" * 4)
    task.run("default", "F" * 60 + "S" * 80 + "F" * 12)
    task.explore("steady", "S" * 12)
    task.run("default", "F" * 68)
    for proposal in task.proposals():
        task.review(m.ApproveProposal, proposal)
    task.run("default", "S" * 160 + "F" * 14 + "S" * 80 + "F" * 12)
    task.order(m.ActivateVariant, variant_id="steady")


def the_next_days(scribe: Scribe) -> None:
    """Let two days pass without reviews, then add more outcomes."""
    scribe.clock += 2 * DAY
    for task_type in ("waits", "deferred-for-long", "parameters", "slow"):
        scribe.task("security-auditor", task_type).run("default", "SSEE" * 4)
    scribe.fall_silent(DAY)


def filed(scribe: Scribe) -> None:
    """File candidates from outside: approved, rejected, refused, and one that stays open."""
    task = scribe.task("backend-architect", "filed")
    task.run("default", "S" * 12)
    given = {"source": "gepa@0.1", "parent": "default", "reason": "fewer retries", "ref": "git:3f2a"}
    for number, claim in enumerate((0.9, 0.8, 0.7)):
        evidence = m.CandidateEvidence(n=40, metric="accuracy", score_before=0.5, score_after=claim)
        configuration = {"prompt": f"p-{number}", "steps": [1, 2]}
        task.order(
            m.ProposeVariant, variant_id=f"made-{number}", configuration=configuration, evidence=evidence, **given
        )
    task.order(m.ProposeVariant, variant_id="made-0", **given)
    task.order(m.ProposeVariant, variant_id="default", **given)
    task.order(m.ProposeVariant, variant_id="orphan", **given | {"parent": "unknown"})
    scribe.fall_silent(3_000)
    first, second, *_ = task.proposals()
    task.review(m.ApproveProposal, first)
    task.review(m.RejectProposal, second, reason="too long")
    task.run("default", "S" * 12)
    scribe.fall_silent(3_000)
