"""Proposals from the first bad outcome to the last review, as bytes that monitor and proposer exchange."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from builders import AGENT, AT, TASK, a_command, a_policy, invocations

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy, PolicySet, Proposals
from crl_stream.core.proposer.step import approval_of
from crl_stream.settings import load_remedies
from crl_stream.stages.driver import Crash, ProposerCrash, TopologyDriver
from crl_stream.wire import topics
from stages.oracle import assert_exact
from stages.proposal_oracle import assert_proposals_exact

DAY = 86_400_000


def a_driver(**given: Any) -> TopologyDriver:
    return TopologyDriver(remedies=load_remedies(), **given)


def approval(proposal: m.Proposal, actor: str = "ada") -> m.ApproveProposal:
    command = a_command(m.RejectProposal, proposal_id=proposal.proposal_id)
    return approval_of(
        proposal, schema_version=1, command_id=command.command_id, timestamp=AT, actor=actor, reason="worth a try"
    )


def results(driver: TopologyDriver) -> list[m.CommandResult]:
    return [found for found in driver.read(topics.DECISIONS) if isinstance(found, m.CommandResult)]


def pending(driver: TopologyDriver) -> list[m.Proposal]:
    return [proposal for proposal in driver.proposals() if proposal.status == "pending"]


def newest(driver: TopologyDriver, proposal: m.Proposal) -> m.Proposal:
    [found] = [p for p in driver.proposals() if p.proposal_id == proposal.proposal_id]
    return found


def a_bad_start(driver: TopologyDriver) -> m.Proposal:
    """Let three of four outcomes of the only variant succeed, with a Q of about .5; return the resulting proposal."""
    driver.pipe_each(invocations("default", "SSSE" * 16))
    [proposal] = pending(driver)
    return proposal


CRASHES = [None, *Crash, *(ProposerCrash(point) for point in Crash)]


@pytest.mark.parametrize("crash", CRASHES, ids=str)
def test_a_lone_bad_variant_ends_with_a_better_one_and_that_one_when_it_fails_with_the_old(crash: Any) -> None:
    """The guide's whole loop, with ``crash`` near the start of each chapter."""
    driver = a_driver()

    def chapter(*messages: Any) -> None:
        driver.pipe(*messages[:1], *([] if crash is None else [crash]))
        driver.pipe_each(messages[1:])

    # One variant, Q < .6: a specialized one is proposed.
    create = a_bad_start(driver)
    assert (create.proposal_type, create.trigger, create.target_variant) == (
        "create_specialized_variant",
        "no_specialized_variant",
        "default-v2",
    )
    assert create.supporting_data["avg_q_default"] < 0.6
    assert create.recommended_modifications

    # Approved: registered with its parent and modifications; explored, but not activated.
    chapter(approval(create))
    assert newest(driver, create).status == "approved"
    [made] = [v for v in driver.read(topics.VARIANTS)[-1].variants if v.variant_id == "default-v2"]
    assert (made.state, made.parent, made.temperature) == ("registered", "default", create.change.temperature)
    assert made.modifications == create.change.modifications
    assert driver.snapshot(AGENT, TASK).active_variant == "default"

    # Better by more than .20: promotion is proposed but not carried out unless the matrix says auto_apply.
    chapter(*invocations("default-v2", "SSSSSSSE" * 3, variant_source="explore"))
    chapter(*invocations("default", "SSSE" * 5, active_epoch=1))
    [promote] = [p for p in pending(driver) if p.proposal_type == "promote_variant_to_default"]
    assert promote.supporting_data["potential_improvement"] > 0.20
    assert (promote.trigger, promote.target_variant) == ("performance_gap", "default-v2")
    assert driver.snapshot(AGENT, TASK).active_variant == "default"

    # Approved: active.
    chapter(approval(promote))
    active = driver.read(topics.ACTIVE_VARIANTS)[-1]
    assert (active.variant_id, active.epoch, active.cause) == ("default-v2", 2, "approval")
    assert newest(driver, promote).status == "approved"

    # The variant degrades and is rolled back, and a person confirms the rollback.
    chapter(*invocations("default-v2", "S" * 10, active_epoch=2))
    chapter(*invocations("default-v2", "E" * 12, active_epoch=2))
    [rollback] = driver.read(topics.ROLLBACKS)[:1]
    assert (rollback.from_variant, rollback.to_variant) == ("default-v2", "default")
    chapter(a_command(m.ConfirmRollback, rollback_id=rollback.rollback_id))
    assert results(driver)[-1].detail == f"{rollback.rollback_id} reviewed; default-v2 stays quarantined"
    assert [p for p in pending(driver) if p.target_variant == "default-v2" and "promote" in p.proposal_type] == []

    assert_exact(driver)
    assert_proposals_exact(driver)


def test_of_two_reviewers_at_once_one_wins_and_the_other_is_told_by_whom_and_when() -> None:
    driver = a_driver()
    proposal = a_bad_start(driver)
    driver.pipe(
        approval(proposal, "ada"),
        a_command(m.RejectProposal, proposal_id=proposal.proposal_id, actor="bob", expected_epoch=proposal.epoch),
    )
    won, lost = results(driver)[-2:]
    assert (won.actor, won.outcome) == ("ada", "applied")
    assert (lost.actor, lost.outcome) == ("bob", "refused")
    assert lost.detail == f"{proposal.proposal_id} was already approved by ada at {won.timestamp}: worth a try"
    closed = newest(driver, proposal)
    assert (closed.status, closed.history[-1].actor) == ("approved", "ada")
    assert "default-v2" in {v.variant_id for v in driver.snapshot(AGENT, TASK).variants}


def test_of_two_reviewers_of_a_promotion_the_second_hears_of_the_first_and_not_of_the_epoch() -> None:
    driver = a_driver()
    driver.pipe_each(invocations("default", "SSSE" * 16))
    driver.pipe_each(invocations("v2", "ESSSSSSS" * 4, variant_source="explore"))
    [promote] = [p for p in pending(driver) if p.proposal_type == "promote_variant_to_default"]
    driver.pipe(approval(promote, "ada"), approval(promote, "bob"))
    assert results(driver)[-1].detail.startswith(f"{promote.proposal_id} was already approved by ada at ")
    assert driver.snapshot(AGENT, TASK).epoch == 2


def test_a_rejected_proposal_is_logged_with_its_reason_and_silent_until_its_evidence_has_doubled() -> None:
    driver = a_driver()
    proposal = a_bad_start(driver)
    driver.pipe(a_command(m.RejectProposal, proposal_id=proposal.proposal_id, reason="the prompt is being rewritten"))
    closed = newest(driver, proposal)
    assert closed.status == "rejected"
    assert (closed.history[-1].actor, closed.history[-1].reason) == ("ada", "the prompt is being rewritten")

    n = 64
    while not pending(driver):
        driver.pipe_each(invocations("default", "SSSE"))
        n += 4
        assert n < 200
    [again] = pending(driver)
    assert again.supporting_data["n_invocations"] >= 128
    assert n < 128 + 20, "at the next snapshot"


def test_an_approval_that_comes_too_late_is_refused_and_the_proposal_is_expired() -> None:
    driver = a_driver()
    proposal = a_bad_start(driver)
    driver.clock += 31 * DAY
    driver.pipe(approval(proposal))
    late = results(driver)[-1]
    assert (late.outcome, late.detail.partition(";")[0]) == (
        "refused",
        f"{proposal.proposal_id} was valid until {proposal.expires_at}",
    )
    assert newest(driver, proposal).status == "expired"
    assert "default-v2" not in {v.variant_id for v in driver.snapshot(AGENT, TASK).variants}


def test_an_approval_for_an_epoch_that_is_over_is_refused_and_the_proposal_is_superseded() -> None:
    driver = a_driver()
    driver.pipe_each(invocations("default", "SSSE" * 16))
    driver.pipe_each(invocations("v2", "ESSSSSSS" * 4, variant_source="explore"))
    driver.pipe_each(invocations("v3", "SSE" * 4, variant_source="explore"))
    [promote] = [p for p in pending(driver) if p.proposal_type == "promote_variant_to_default"]
    driver.pipe(a_command(m.ActivateVariant, variant_id="v3"), approval(promote))
    refused = results(driver)[-1]
    assert refused.outcome == "refused"
    assert refused.detail.startswith("the epoch is 2, not 1: v3 has been active since ")
    closed = newest(driver, promote)
    assert closed.status == "superseded"
    assert closed.history[-1].reason == "made for epoch 1; v3 has since become active (epoch 2)"


def test_a_deferred_proposal_comes_back_when_it_was_said_and_can_still_be_approved() -> None:
    driver = a_driver()
    proposal = a_bad_start(driver)
    until = "2025-11-21T09:00:00Z"
    driver.pipe(a_command(m.DeferProposal, proposal_id=proposal.proposal_id, until=until, reason="after the release"))
    put_off = newest(driver, proposal)
    assert (put_off.status, put_off.deferred_until) == ("deferred", until)
    driver.clock += 2 * DAY
    driver.pipe_each(invocations("default", "SSSE" * 3))
    assert newest(driver, proposal).status == "pending"
    driver.pipe(approval(newest(driver, proposal)))
    assert newest(driver, proposal).status == "approved"


def test_a_variant_that_was_rolled_back_three_times_is_proposed_for_retirement_and_retired_when_approved() -> None:
    driver = a_driver()
    driver.pipe_each(invocations("default", "S" * 30))
    driver.pipe_each(invocations("v2", "S" * 30, variant_source="explore"))
    for _ in range(3):
        epoch = driver.snapshot(AGENT, TASK).epoch
        driver.pipe(a_command(m.LiftQuarantine, variant_id="v2"), a_command(m.ActivateVariant, variant_id="v2"))
        driver.pipe_each(invocations("v2", "S" * 12 + "F" * 12, active_epoch=epoch + 1))
    assert len(driver.read(topics.ROLLBACKS)) == 3
    [retire] = [p for p in pending(driver) if p.proposal_type == "retire_underperforming_variant"]
    assert retire.trigger == "rolled_back"
    driver.pipe(approval(retire))
    assert results(driver)[-1].detail == f"{retire.proposal_id} approved: v2 retired"
    assert newest(driver, retire).status == "approved"
    [v2] = [v for v in driver.snapshot(AGENT, TASK).variants if v.variant_id == "v2"]
    assert (v2.retired, v2.quarantined, v2.degraded) == (True, True, False)


def test_the_limits_are_those_of_the_tasks_policy_and_fit_the_guides_when_a_snapshot_has_none() -> None:
    driver = a_driver()
    proposal = a_bad_start(driver)
    assert proposal.history[0].reason.startswith("50 invocations")
    old = msgspec.structs.replace(driver.snapshot(AGENT, TASK), proposal_limits=None)
    assert m.ProposalLimits() == driver.snapshot(AGENT, TASK).proposal_limits
    assert old.proposal_limits is None


@pytest.mark.parametrize("crash", CRASHES, ids=str)
def test_shadow_mode_earns_trust_and_is_left_when_a_person_approves_and_the_policy_follows(crash: Any) -> None:
    shadow = Policy(operations=Operations(mode="shadow"), proposals=Proposals(enforce_min_rollbacks=2))
    driver = a_driver()

    def chapter(*messages: Any) -> None:
        driver.pipe(*messages[:1], *([] if crash is None else [crash]))
        driver.pipe_each(messages[1:])

    driver.pipe(a_policy(PolicySet(default=shadow)))
    chapter(*invocations("default", "S" * 40))
    driver.pipe_each(invocations("steady", "SSSSSSSSSF" * 6, variant_source="explore"))
    driver.pipe_each(invocations("default", "F" * 60))
    assert [found.proposal_type for found in pending(driver)] != ["enforce_task"], "one is not enough"
    driver.pipe_each(invocations("default", "S" * 80))
    chapter(*invocations("default", "F" * 80))
    [proposal] = [found for found in pending(driver) if found.proposal_type == "enforce_task"]
    reported = driver.read(topics.ROLLBACKS)
    judged = [found for found in driver.read(topics.DECISIONS) if isinstance(found, m.Hindsight)]
    assert [found.rollback_id for found in judged] == [event.rollback_id for event in reported]
    avoidable = sum(found.avoidable for found in judged)
    assert proposal.reasoning.startswith(f"2 of 2 right, {avoidable} bad invocations avoidable")

    chapter(approval(proposal))
    assert results(driver)[-1].outcome == "applied"
    assert driver.snapshot(AGENT, TASK).mode == "shadow", "the monitor cannot change the policy of the fleet"
    enforcing = msgspec.structs.replace(shadow, operations=Operations(mode="enforce"))
    driver.pipe(a_policy(PolicySet(default=shadow, tasks={f"{AGENT}/{TASK}": enforcing})))
    driver.pipe_each(invocations("default", "F"))
    assert (driver.read(topics.ROLLBACKS)[-1].enforced, driver.snapshot(AGENT, TASK).active_variant) == (True, "steady")
    assert newest(driver, proposal).status == "approved"
    assert not [found for found in pending(driver) if found.proposal_type == "enforce_task"]
    assert_exact(driver)
    assert_proposals_exact(driver)


@pytest.mark.parametrize("crash", CRASHES, ids=str)
def test_a_candidate_from_outside_is_proposed_once_approved_and_rolled_out_whatever_crashes(crash: Any) -> None:
    driver = a_driver()

    def chapter(*messages: Any) -> None:
        driver.pipe(*messages[:1], *([] if crash is None else [crash]))
        driver.pipe_each(messages[1:])

    driver.pipe_each(invocations("default", "S" * 30))
    given = {"variant_id": "v2", "source": "gepa@0.1.4", "parent": "default", "configuration": {"prompt": "better"}}
    chapter(a_command(m.ProposeVariant, command_id="file-1", actor="nightly", **given))
    [filed] = pending(driver)
    assert (filed.trigger, filed.target_variant, filed.epoch) == ("external", "v2", 1)
    assert results(driver)[-1].proposal_id == filed.proposal_id

    # Another variant becomes active: the candidate is not lost, and its old approval is not valid any more.
    driver.pipe_each(invocations("v3", "S" * 12, variant_source="explore"))
    chapter(a_command(m.ActivateVariant, variant_id="v3"), approval(filed))
    assert "the epoch is 2, not 1" in results(driver)[-1].detail
    moved = newest(driver, filed)
    assert (moved.status, moved.epoch, moved.change) == ("pending", 2, filed.change)

    chapter(approval(moved), a_command(m.StartRollout, variant_id="v2"))
    assert newest(driver, filed).status == "approved"
    [made] = [v for v in driver.read(topics.VARIANTS)[-1].variants if v.variant_id == "v2"]
    assert (made.state, made.configuration) == ("registered", {"prompt": "better"})
    assert driver.snapshot(AGENT, TASK).rollout is not None
    assert [p.proposal_id for p in driver.proposals() if p.trigger == "external"] == [filed.proposal_id]
    assert driver.snapshot(AGENT, TASK).filed == []
    assert_exact(driver)
    assert_proposals_exact(driver)


def test_an_approval_of_what_the_policy_already_enforces_is_refused() -> None:
    driver = a_driver()
    driver.pipe_each(invocations("default", "S" * 12))
    command = a_command(m.RejectProposal, proposal_id="prop-1")
    change = m.Change(action="enforce", variant_id="default")
    fields = {name: getattr(command, name) for name in ("schema_version", "command_id", "timestamp", "actor")}
    driver.pipe(m.ApproveProposal(agent_name=AGENT, task_type=TASK, proposal_id="prop-1", change=change, **fields))
    [result] = results(driver)
    assert (result.outcome, result.detail) == ("refused", "the policy already enforces the task's rollbacks")
