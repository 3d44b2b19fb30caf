"""Runs monitor and proposer together on one task: outcomes, commands, and reviews of open proposals in any order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from builders import AT, a_command, invocations
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import TaskRow, new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import HumanApproval, Operations, Policy, Proposals
from crl_stream.core.proposer.step import approval_of, proposals_of, review_task

from .snapshots import REMEDIES, SECURITY
from .task import HOUR, KEY, NOON

POLICY = Policy(
    human_approval=HumanApproval(q_threshold=0.3),
    proposals=Proposals(
        min_invocations=8,
        create_below_q=0.8,
        promote_gap=0.4,
        modify_below_q=0.8,
        retire_after_rollbacks=1,
        expires_days=1,
        enforce_min_rollbacks=1,
        enforce_precision=0.0,
    ),
)
"""Limits low enough for short histories to reach."""
IN_SHADOW = msgspec.structs.replace(POLICY, operations=Operations(mode="shadow"))
CATALOGUE = msgspec.structs.replace(REMEDIES, tasks={"*": REMEDIES.tasks[SECURITY]})

VARIANTS = ["default", "default-v2", "v2", "v3"]
runs = st.tuples(
    st.just("run"),
    st.sampled_from(VARIANTS),
    st.sampled_from(["S" * 12, "F" * 12, "E" * 10, "SF" * 6, "SSSF" * 4, "SSSSSSSSF" * 3]),
)
reviews = st.tuples(st.sampled_from(["approve", "approve", "reject", "defer"]), st.integers(0, 3))
orders = st.tuples(
    st.just("order"),
    st.sampled_from(
        [m.ActivateVariant, m.RetireVariant, m.LiftQuarantine, m.AcceptLevel, m.RegisterVariant, m.PinVariant]
    ),
    st.sampled_from(VARIANTS),
)
filings = st.tuples(st.just("propose"), st.sampled_from([*VARIANTS, "v4", "v5"]), st.sampled_from(["p", "q"]))
pauses = st.tuples(st.just("pause"), st.integers(1, 30))
modes = st.tuples(st.just("mode"), st.sampled_from(["enforce", "shadow"]))
collapses = st.tuples(st.just("collapse"), st.sampled_from(["E" * 30, "F" * 60]))
_actions = runs | runs | runs | filings | reviews | reviews | orders | pauses | modes | collapses
sessions = st.lists(_actions, min_size=4, max_size=20)


class Seen(NamedTuple):
    """One snapshot, and the results of processing it."""

    snapshot: m.TaskSnapshot
    task: bytes
    """The monitor's row at the snapshot."""
    data: bytes
    """The proposer's row after the snapshot."""
    published: list[m.Proposal]
    position: Context
    policy: Policy


def play(session: list[Any]) -> Iterator[Seen]:
    """Fold a session, with one second between messages."""
    row, data, offset, now, policy = new_row(KEY), None, -1, NOON, POLICY
    for action, *arguments in session:
        if action == "mode":
            policy = POLICY if arguments == ["enforce"] else IN_SHADOW
            continue
        if action == "pause":
            now += arguments[0] * HOUR
            continue
        for message in _messages(action, arguments, row, data):
            offset, now = offset + 1, now + 1_000
            at = Context(0, offset, now, 0, "0" * 16)
            for fact in step(row, message, at, policy).facts:
                if isinstance(fact, m.TaskSnapshot):
                    data, published = review_task(data, fact, CATALOGUE)
                    yield Seen(fact, msgspec.msgpack.encode(row), data, published, at, policy)


def _messages(action: str, arguments: list[Any], row: TaskRow, data: bytes | None) -> list[Any]:
    if action == "run":
        variant_id, outcomes = arguments
        source = None if variant_id == row.active or row.active is None else "explore"
        return list(invocations(variant_id, outcomes, variant_source=source))
    if action == "collapse":  # the active variant collapses, whichever it is
        return list(invocations(row.active or "default", arguments[0]))
    if action == "order":
        kind, variant_id = arguments
        return [a_command(kind, variant_id=variant_id)]
    if action == "propose":
        name, prompt = arguments
        return [a_command(m.ProposeVariant, variant_id=name, source="gepa@1", configuration={"prompt": prompt})]
    waiting = [] if data is None else proposals_of(data)
    if not waiting:
        return []
    proposal = waiting[arguments[0] % len(waiting)]
    if action == "approve":
        return [approval(proposal)]
    kind = m.RejectProposal if action == "reject" else m.DeferProposal
    return [a_command(kind, proposal_id=proposal.proposal_id)]


def approval(proposal: m.Proposal) -> m.ApproveProposal:
    """Build Ada's approval of a proposal."""
    command = a_command(m.RejectProposal, proposal_id=proposal.proposal_id)
    return approval_of(
        proposal, schema_version=1, command_id=command.command_id, timestamp=AT, actor="ada", reason="yes"
    )
