"""The example rule ``retire_idle_variant``: its drafts are published, approved, exported, and can lapse."""

from __future__ import annotations

import json

from core.snapshots import REMEDIES, SECURITY, a_snapshot, a_variant

from crl_stream.core import messages as m
from crl_stream.core.proposer.rules import RULES
from crl_stream.core.proposer.step import approval_of, review_task
from crl_stream.proposals.export import tracker
from crl_stream.proposals.standing import TYPES
from crl_stream.wire.codec import decode, encode
from crl_stream.wire.topics import PROPOSALS

ACTIVE = a_variant("default", q=0.9, n=300, active=True)
IDLE = a_variant("v2", q=0.0, n=0)


def proposed() -> tuple[bytes, m.Proposal]:
    data, [proposal] = review_task(None, a_snapshot(ACTIVE, IDLE), REMEDIES)
    return data, proposal


def test_it_is_asked_in_its_place() -> None:
    assert [rule.name for rule in RULES][-2:] == ["retire_idle_variant", "enforce_task"]
    assert TYPES[-1] == "retire_idle_variant"


def test_what_it_drafts_is_published_read_and_ready_to_be_approved() -> None:
    _, proposal = proposed()
    assert (proposal.proposal_type, proposal.trigger) == ("retire_idle_variant", "idle")
    key = f"{proposal.agent_name}/{SECURITY}".encode()
    assert decode(PROPOSALS, encode(proposal), key).message == proposal
    command = approval_of(
        proposal, schema_version=1, command_id="c1", timestamp=proposal.timestamp, actor="ada", reason="yes"
    )
    assert command.change == m.Change(action="retire", variant_id="v2")


def test_it_lapses_when_the_variant_is_tried() -> None:
    data, _ = proposed()
    tried = a_snapshot(ACTIVE, a_variant("v2", n=1), offset=101)
    _, [closed] = review_task(data, tried, REMEDIES)
    assert (closed.status, closed.history[-1].reason) == ("superseded", "v2 has outcomes by now")


def test_a_tracker_has_its_title() -> None:
    _, proposal = proposed()
    [entry] = json.loads(tracker.write([proposal], 0))["entries"]
    assert entry["title"] == f"Retire v2 of {proposal.agent_name}/{SECURITY}, which is never tried"
