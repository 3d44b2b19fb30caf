"""Proposals from outside in the monitor: what is accepted, what is refused, and when one is no longer open."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from builders import a_command

from crl_stream.core import messages as m
from crl_stream.core.monitor.filing import MAX_FILED, MAX_OPEN, still_open
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.policy import Limits, Policy, Proposals, Review

from .task import HOUR, Task, proven

PROMPT = {"prompt": "Answer briefly.", "model": "m-1", "temperature": 0.2}
CLAIM = m.CandidateEvidence(n=120, metric="accuracy", score_before=0.61, score_after=0.78, dataset="refund-dev")


def propose(task: Task, name: str = "v9", **fields: Any) -> m.CommandResult:
    given = {"source": "gepa@0.1.4", "parent": "default", "configuration": PROMPT, "evidence": CLAIM, "actor": "gepa"}
    return task.order(m.ProposeVariant, variant_id=name, **(given | fields))


def listed(task: Task) -> list[m.FiledProposal]:
    """Return the filed proposals in the newest snapshot."""
    found: list[m.FiledProposal] = task.stated(m.TaskSnapshot)[-1].filed
    return found


def approve(task: Task, filed: m.FiledProposal, **fields: Any) -> m.CommandResult:
    given = {"proposal_id": filed.proposal_id, "change": filed.change, "expected_epoch": task.row.epoch}
    return task.order(m.ApproveProposal, **(given | fields))


def test_a_candidate_is_listed_with_everything_that_was_filed_and_nothing_else_changes() -> None:
    task = proven()
    before = task.row.variants.keys() | set()
    result = propose(task, ref="langfuse:refund@12", provider="p", model="m-1", model_tier="big", reason="it is better")
    [filed] = listed(task)
    assert (result.outcome, result.proposal_id) == ("applied", filed.proposal_id)
    assert filed.change == m.Change(
        action="register",
        variant_id="v9",
        parent="default",
        model_tier="big",
        provider="p",
        model="m-1",
        configuration=PROMPT,
        ref="langfuse:refund@12",
    )
    assert (filed.filing.source, filed.filing.actor, filed.filing.reason) == ("gepa@0.1.4", "gepa", "it is better")
    assert filed.filing.evidence == CLAIM
    assert task.row.variants.keys() == before
    assert (task.row.active, task.row.epoch) == ("default", 1)


def test_an_approval_registers_exactly_what_was_filed_and_names_the_command_for_a_canary() -> None:
    task = proven()
    propose(task, provider="p", model="m-1")
    result = approve(task, listed(task)[0])
    known = task.variant("v9").configuration
    assert known is not None
    assert (known.parent, known.provider, known.model) == ("default", "p", "m-1")
    assert msgspec.json.decode(known.content) == PROMPT
    assert "crl rollout start backend-architect/api-design v9" in result.detail
    assert (result.proposal_id, listed(task)) == (task.stated(m.CommandResult)[0].proposal_id, [])


def test_an_approval_of_another_change_than_the_filed_one_is_refused() -> None:
    task = proven()
    propose(task)
    [filed] = listed(task)
    other = msgspec.structs.replace(filed.change, configuration=PROMPT | {"model": "m-2"})
    refused = approve(task, filed, change=other)
    assert (refused.outcome, "filed with another change" in refused.detail) == ("refused", True)
    assert "v9" not in task.row.variants
    assert approve(task, filed).outcome == "applied"


def test_only_one_is_open_for_each_variant_and_the_second_is_told_which() -> None:
    task = proven()
    first = propose(task)
    second = propose(task, configuration={"prompt": "another"})
    assert (second.outcome, second.proposal_id) == ("refused", None)
    assert f"already proposed as {first.proposal_id}" in second.detail


def test_a_command_that_arrives_twice_files_once() -> None:
    task = proven()
    command = a_command(m.ProposeVariant, variant_id="v9", source="s")
    task.take(command, command)
    assert len(listed(task)) == 1
    assert len([r for r in task.stated(m.CommandResult) if r.command == "ProposeVariant"]) == 1


def test_beyond_the_limit_a_proposal_is_refused_until_one_is_reviewed() -> None:
    task = proven()
    for number in range(MAX_OPEN):
        assert propose(task, f"c{number}").outcome == "applied"
    refused = propose(task, "one-more")
    assert f"{MAX_OPEN} filed proposals of the task are open already" in refused.detail
    task.order(m.RejectProposal, proposal_id=listed(task)[2].proposal_id)
    assert propose(task, "one-more").outcome == "applied"
    assert [filed.change.variant_id for filed in listed(task)] == ["c0", "c1", "c3", "one-more"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"configuration": {"prompt": "p" * 17_000}}, "takes 17013 bytes; it may take 16384"),
        (
            {"modifications": [m.Modification(section="s", operation="append", content="p" * 25_000)]},
            f"it may take {MAX_FILED}",
        ),
        ({"configuration": {"a": 2**64}}, "needs more than 64 bits"),
        ({"configuration": {"a": [[[[[[[[[[[[]]]]]]]]]]]]}}, "nested deeper than 12 levels"),
        ({"modifications": [m.Modification(parameter="p", value=[[[[[[[[[[[[[]]]]]]]]]]]]])]}, "nested deeper than 12"),
    ],
)
def test_what_could_not_be_kept_or_approved_is_refused_with_the_limit(fields: dict[str, Any], why: str) -> None:
    task = proven()
    result = propose(task, **fields)
    assert (result.outcome, why in result.detail) == ("refused", True), result.detail
    assert listed(task) == []


def test_a_full_task_takes_no_candidate_that_it_could_not_register() -> None:
    task = proven(Policy(limits=Limits(variants=2)))
    task.order(m.RegisterVariant, variant_id="v2")
    assert "already has 2 variants (limit 2); retire one first" in propose(task).detail
    task.order(m.RetireVariant, variant_id="v2")
    assert propose(task).outcome == "applied"
    assert approve(task, listed(task)[0]).outcome == "applied"


def test_a_drill_takes_no_candidate() -> None:
    task = Task()
    task.row.agent_name = "crl-drill"
    result = propose(task)
    assert "reserved for drills" in result.detail


def test_a_candidate_may_have_run_in_the_shadow_role_before() -> None:
    task = proven()
    task.run("v9", "SSS", role="shadow")
    assert propose(task).outcome == "applied"
    assert approve(task, listed(task)[0]).outcome == "applied"


def test_what_was_rejected_comes_back_only_changed_renamed_or_with_twice_the_evidence() -> None:
    task = proven()
    propose(task)
    task.order(m.RejectProposal, proposal_id=listed(task)[0].proposal_id, actor="ada", reason="too long")
    again = propose(task)
    assert "and rejected by ada: too long; change it" in again.detail
    assert "at least 240 examples" in again.detail
    assert propose(task, evidence=None).outcome == "refused"
    assert propose(task, "v10").outcome == "applied"
    assert propose(task, evidence=msgspec.structs.replace(CLAIM, n=240)).outcome == "applied"
    task.order(m.RejectProposal, proposal_id=listed(task)[-1].proposal_id)
    assert propose(task, configuration=PROMPT | {"temperature": 0.1}).outcome == "applied"


def test_an_expired_one_makes_room_and_cannot_be_approved() -> None:
    task = proven(Policy(proposals=Proposals(expires_days=1)))
    propose(task)
    [filed] = listed(task)
    task.pass_time(25 * HOUR)
    task.run("default", "S" * 10)
    assert listed(task) == []
    refused = approve(task, filed, valid_until=filed.expires_at)
    assert f"was valid until {filed.expires_at}" in refused.detail
    assert propose(task).outcome == "applied"


def test_one_whose_variant_was_registered_meanwhile_is_not_open_any_more() -> None:
    task = proven()
    propose(task)
    task.order(m.RegisterVariant, variant_id="v9")
    assert listed(task) == []


def test_a_deferred_one_stays_open() -> None:
    task = proven()
    propose(task)
    task.order(m.DeferProposal, proposal_id=listed(task)[0].proposal_id)
    assert len(listed(task)) == 1


def test_rows_of_older_engines_are_read_as_before_and_a_filing_survives_a_restart() -> None:
    task = proven()
    task.row.pace = None  # older engines did not count the outcomes of an hour
    older = msgspec.msgpack.decode(encode_row(task.row))
    place = [field.name for field in msgspec.structs.fields(task.row)].index("filings")
    assert decode_row(msgspec.msgpack.encode(older[:place])) == task.row
    propose(task)
    assert decode_row(encode_row(task.row)) == task.row


@pytest.mark.parametrize(("filer", "reviewer"), [("ada", "ada"), ("ada", "web:ada"), ("web:Ada", "ada")])
def test_with_four_eyes_nobody_approves_their_own_proposal_wherever_they_do_it(filer: str, reviewer: str) -> None:
    task = proven(Policy(review=Review(four_eyes=True)))
    propose(task, actor=filer)
    [filed] = listed(task)
    refused = approve(task, filed, actor=reviewer)
    assert refused.outcome == "refused"
    assert (
        refused.detail
        == f"{filed.proposal_id} was filed by {filer}, so somebody else must approve it (review.four_eyes)"
    )
    assert "v9" not in task.row.variants
    assert approve(task, filed, actor="grace").outcome == "applied"
    assert "v9" in task.row.variants


def test_with_four_eyes_one_may_still_reject_or_defer_ones_own_proposal() -> None:
    task = proven(Policy(review=Review(four_eyes=True)))
    propose(task, actor="ada")
    [filed] = listed(task)
    for kind in (m.DeferProposal, m.RejectProposal):
        assert task.order(kind, proposal_id=filed.proposal_id, actor="ada").outcome == "applied"


def test_without_four_eyes_one_person_may_do_both() -> None:
    task = proven()
    propose(task, actor="ada")
    [filed] = listed(task)
    assert approve(task, filed, actor="web:ada").outcome == "applied"


def test_a_claim_without_a_number_of_examples_counts_as_none() -> None:
    task = proven()
    vague = msgspec.structs.replace(CLAIM, n=None)
    propose(task, evidence=vague)
    task.order(m.RejectProposal, proposal_id=listed(task)[0].proposal_id)
    assert "give at least 1 examples" in propose(task, evidence=vague).detail
    assert propose(task, evidence=msgspec.structs.replace(CLAIM, n=1)).outcome == "applied"


def test_a_refusal_names_who_rejected_this_candidate_as_long_as_the_review_is_known() -> None:
    task = proven(Policy(limits=Limits(reviews=2)))
    for name, actor in (("other", "bob"), ("v9", "ada")):
        propose(task, name)
        task.order(m.RejectProposal, proposal_id=listed(task)[0].proposal_id, actor=actor, reason="no")
    assert "and rejected by ada: no; change it" in propose(task).detail
    for name in ("third", "fourth"):
        propose(task, name)
        task.order(m.RejectProposal, proposal_id=listed(task)[0].proposal_id, actor="bob")
    assert "and rejected; change it" in propose(task).detail


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(("levels", "outcome"), [(1, "applied"), (12, "applied"), (13, "refused")])
def test_a_configuration_may_be_nested_twelve_levels_deep(levels: int, outcome: str) -> None:
    assert propose(proven(), configuration=nested(levels)).outcome == outcome


def test_reviews_of_other_proposals_do_not_need_a_filed_one() -> None:
    task = proven()
    change = m.Change(action="register", variant_id="v9")
    given = {"proposal_id": "prop-1", "change": change, "expected_epoch": task.row.epoch}
    assert task.order(m.ApproveProposal, **given).outcome == "applied"
    assert task.order(m.RejectProposal, proposal_id="prop-2").outcome == "applied"


def test_a_filed_proposal_is_open_until_the_moment_it_expires() -> None:
    task = proven()
    propose(task)
    assert task.row.filings is not None
    task.row.time = task.row.filings.open[0].expires
    assert len(still_open(task.row)) == 1
    task.row.time += 1
    assert still_open(task.row) == []
