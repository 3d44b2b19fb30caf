"""Proposer and monitor together: under any outcomes, commands and reviews, the proposer's laws always hold."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.messages.snapshots import OPEN_STATUSES, ProposalStatus, ProposalType, Trigger
from crl_stream.core.monitor.filing import MAX_OPEN
from crl_stream.core.monitor.row import TaskRow
from crl_stream.core.monitor.step import step
from crl_stream.core.proposer.row import encode_row, new_row
from crl_stream.core.proposer.rules import RULE_OF
from crl_stream.core.proposer.step import proposals_of, review_task
from crl_stream.core.proposer.step import step as look

from .review_sessions import CATALOGUE, Seen, approval, play, sessions
from .task import KEY


@settings(deadline=None, max_examples=150)
@given(sessions)
def test_whatever_happens_at_most_one_is_open_per_type_and_target_and_ids_are_unique(session: list[Any]) -> None:
    revisions: dict[str, list[m.Proposal]] = {}
    for seen in play(session):
        for proposal in seen.published:
            revisions.setdefault(proposal.proposal_id, []).append(proposal)
        waiting = proposals_of(seen.data)
        assert len({(p.proposal_type, p.target_variant) for p in waiting}) == len(waiting)
        assert {p.status for p in waiting} <= OPEN_STATUSES
        assert {p.epoch for p in waiting} <= {seen.snapshot.epoch}
    for life in revisions.values():
        assert [p.revision for p in life] == list(range(1, len(life) + 1))
        assert len({(p.proposal_type, p.target_variant, p.timestamp, p.expires_at) for p in life}) == 1
        assert life[0].filing is not None or len({p.epoch for p in life}) == 1, "only a filed one lives on"
        assert len({(p.filing is None, p.trigger == "external") for p in life}) == 1
        assert [p.status in OPEN_STATUSES for p in life[:-1]] == [True] * (len(life) - 1), "what is closed stays closed"
        assert len(life[-1].history) == min(len(life), 20)
        triggers = {"external"} if life[0].filing else set(RULE_OF[life[0].proposal_type].triggers)
        assert {p.trigger for p in life} <= triggers


def _active(seen: Seen) -> str | None:
    return seen.snapshot.active_variant


@settings(deadline=None, max_examples=150)
@given(sessions)
def test_the_monitor_never_refuses_a_proposal_that_is_approved_when_it_is_made_or_has_new_evidence(
    session: list[Any],
) -> None:
    for seen in play(session):
        for proposal in seen.published:
            if proposal.revision > 1 and not proposal.history[-1].reason.startswith(
                ("new evidence", f"{_active(seen)} is active now")
            ):
                continue
            row = msgspec.msgpack.decode(seen.task, type=TaskRow)
            at = msgspec.structs.replace(seen.position, offset=seen.position.offset + 1)
            [result] = [
                f for f in step(row, approval(proposal), at, seen.policy).facts if isinstance(f, m.CommandResult)
            ]
            assert result.outcome == "applied", result.detail


@settings(deadline=None, max_examples=60)
@given(sessions)
def test_what_is_published_follows_from_the_monitors_word_on_the_reviews(session: list[Any]) -> None:
    for seen in play(session):
        applied = {r.proposal_id: r for r in seen.snapshot.reviews if r.outcome == "applied"}
        for proposal in seen.published:
            if proposal.status in {"approved", "rejected"}:
                review = applied[proposal.proposal_id]
                last = proposal.history[-1]
                assert (proposal.status, last.actor, last.reason) == (review.review, review.actor, review.reason)
        for proposal in proposals_of(seen.data):
            review = applied.get(proposal.proposal_id)
            assert review is None or review.review == "deferred"


@settings(deadline=None, max_examples=100)
@given(sessions)
def test_what_is_open_from_outside_is_the_same_at_the_monitor_and_at_the_proposer(session: list[Any]) -> None:
    """And it is what a person would list who reads only the results of the commands."""
    for seen in play(session):
        listed = {filed.proposal_id: filed.change for filed in seen.snapshot.filed}
        assert {p.proposal_id: p.change for p in proposals_of(seen.data) if p.filing is not None} == listed
        assert len({change.variant_id for change in listed.values()}) == len(listed) <= MAX_OPEN
        reviewed = {r.proposal_id for r in seen.snapshot.reviews if r.outcome == "applied" and r.review != "deferred"}
        assert not reviewed & listed.keys()
        used = {v.variant_id for v in seen.snapshot.variants if v.n_visits or v.configuration is not None or v.retired}
        assert not used & {change.variant_id for change in listed.values()}


@settings(deadline=None, max_examples=60)
@given(sessions, st.data())
def test_snapshots_met_again_in_any_order_change_nothing(session: list[Any], data: st.DataObject) -> None:
    past: list[m.TaskSnapshot] = []
    for seen in play(session):
        past.append(seen.snapshot)
        for again in data.draw(st.lists(st.sampled_from(past), max_size=1)):
            assert review_task(seen.data, again, CATALOGUE) == (seen.data, [])


@settings(deadline=None, max_examples=60)
@given(sessions)
def test_a_row_that_stays_decoded_equals_one_that_is_written_each_time(session: list[Any]) -> None:
    kept = new_row(KEY)
    for seen in play(session):
        assert look(kept, seen.snapshot, CATALOGUE) == seen.published
        assert encode_row(kept) == seen.data


def test_these_sessions_reach_every_type_trigger_and_status() -> None:
    """The properties above prove only as much as their sessions cover."""
    met: set[str] = set()

    @settings(deadline=None, max_examples=150, derandomize=True, database=None)
    @given(sessions)
    def look_around(session: list[Any]) -> None:
        for seen in play(session):
            for proposal in seen.published:
                met.update((proposal.proposal_type, proposal.trigger, proposal.status))

    look_around()
    for words in (ProposalType, Trigger, ProposalStatus):
        assert set(get_args(words)) - met == set()
