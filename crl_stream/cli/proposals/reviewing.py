"""``crl proposals approve|reject|defer``: send a review; the monitor decides which review came first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.archive import milliseconds
from crl_stream.cli.clock import now_ms
from crl_stream.cli.consequences import show_result, touches_of
from crl_stream.cli.orders import Actor, Json, Timeout
from crl_stream.cli.proposals.enforcing import Enforced, enforce
from crl_stream.cli.proposals.source import deciding_review, find
from crl_stream.cli.talk import say, show
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages.parts import Touches
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.way_back import way_back
from crl_stream.errors import CommandRefused, UsageError
from crl_stream.kafka.commands import check_reason, give, task_command
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.proposals.page import enforcing_lines
from crl_stream.proposals.standing import ending, status_at, updated_at

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the proposal, as listed by crl proposals list.")]
Why = Annotated[str, typer.Option("--reason", "-m", help="Your reason; it is published with the result.")]


def approve(
    context: typer.Context,
    proposal_id: Id,
    rollout: Annotated[
        bool, typer.Option("--rollout", help="Also begin a rollout of the new variant, with a small share first.")
    ] = False,
    reason: Why = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Approve a proposal; refused if the active variant has changed since, or if someone else reviewed it first."""
    _review(context, proposal_id, m.ApproveProposal, reason, actor, timeout, json, rollout=rollout)


def reject(
    context: typer.Context,
    proposal_id: Id,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Your reason; it is kept for analysis.")],
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Reject a proposal; the change is not proposed again until its evidence has doubled."""
    check_reason(m.RejectProposal, reason)
    _review(context, proposal_id, m.RejectProposal, reason, actor, timeout, json)


def defer(
    context: typer.Context,
    proposal_id: Id,
    until: Annotated[
        str | None, typer.Option(help="When to look again: 14d, 2w, 2026-01-31 or 2026-01-31T09:00:00Z.")
    ] = None,
    reason: Why = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Postpone a proposal; it may still be approved or rejected."""
    at = None if until is None else instant(until, datetime.now(UTC))
    _review(context, proposal_id, m.DeferProposal, reason, actor, timeout, json, until=at)


def instant(text: str, now: datetime) -> str:
    """Convert a date, a timestamp or a span from ``now`` to RFC 3339 in UTC; raises ``UsageError`` for past times."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except ValueError:
        try:
            found = now + timedelta(milliseconds=milliseconds(text))
        except (UsageError, OverflowError):
            raise UsageError(
                f"`{text}` is not a valid time.", hint="write 14d, 2w, 2026-01-31 or 2026-01-31T09:00:00Z"
            ) from None
    if found <= now:
        raise UsageError(f"{text} is in the past.", hint="name a time in the future")
    return to_text(from_text(found.isoformat()))


def _review(
    context: typer.Context,
    proposal_id: str,
    kind: type[Any],
    reason: str,
    actor: str | None,
    timeout: float,
    json: bool,
    *,
    rollout: bool = False,
    **fields: Any,
) -> None:
    policy: Enforced | None = None
    began: m.CommandResult | None = None

    async def reviewed() -> tuple[m.CommandResult, m.Proposal, Touches | None]:
        nonlocal policy, began
        async with KafkaSession(context.obj.kafka) as session:
            proposal = await find(session, proposal_id)
            if rollout:
                _check_rollout(proposal)
            result = await _send(session, proposal, kind, reason, actor, timeout, fields)
            why = f"{proposal_id} approved" + (f": {reason}" if reason else "")
            if rollout:
                began = await _begin(session, proposal, result, why, timeout)
            key = TaskKey(proposal.agent_name, proposal.task_type)
            if kind is m.ApproveProposal and proposal.change.action == "enforce":
                policy = await enforce(context.obj.connected, session, key, actor=result.actor, reason=why)
            return result, proposal, await touches_of(session, key) or proposal.touches

    result, proposal, touches = asyncio.run(reviewed())
    task = f"{result.agent_name}/{result.task_type}"
    more: dict[str, Any] = {} if policy is None else {"policy": policy.as_json()}
    more |= {} if began is None else {"rollout": msgspec.to_builtins(began)}
    show_result(result, touches, _back(result, proposal, began), json=json, **more)
    if json:
        return
    if began is not None:
        show(f"{task}: {began.detail} ({began.result_id}, epoch {began.epoch})")
    if policy is not None:
        show(f"policy {policy.digest} is set by {policy.actor}: {policy.words}")
        for line in enforcing_lines(task):
            say(line)


def _back(result: m.CommandResult, proposal: m.Proposal, began: m.CommandResult | None) -> str:
    """Return how a review is undone; ``began`` is the result of the rollout that it began."""
    task = f"{result.agent_name}/{result.task_type}"
    if began is not None:
        return way_back("StartRollout", task)
    undo = proposal.undo_command or f"crl undo {task} --epoch {result.epoch}"
    return way_back(result.command, task, proposal_id=proposal.proposal_id, undo_command=undo)


def _check_rollout(proposal: m.Proposal) -> None:
    if proposal.change.action != "register":
        raise UsageError(
            f"{proposal.proposal_id} makes no new variant, so there is nothing to roll out.", hint="leave out --rollout"
        )


async def _begin(
    session: KafkaSession, proposal: m.Proposal, approved: m.CommandResult, why: str, timeout: float
) -> m.CommandResult:
    """Begin the rollout of a variant that was just registered, in the reviewer's name."""
    key, name = TaskKey(proposal.agent_name, proposal.task_type), proposal.change.variant_id
    command = task_command(
        m.StartRollout, key, variant_id=name, expected_epoch=approved.epoch, actor=approved.actor, reason=why[:2_000]
    )
    try:
        return await give(session, command, timeout)
    except CommandRefused as refused:
        raise CommandRefused(
            f"{proposal.proposal_id} is approved and {name} is registered, but no rollout began: {refused.message}",
            hint=f"crl rollout start {key} {name}",
        ) from None


async def review(
    access: Access,
    proposal_id: str,
    kind: type[Any],
    *,
    reason: str,
    actor: str | None = None,
    timeout: float = 20.0,
    **fields: Any,
) -> m.CommandResult:
    """Send one review and return the monitor's result; ``CommandRefused`` names any earlier reviewer and the reason.

    This only records the approval of a proposal to enforce rollbacks; ``enforcing`` changes the policy.
    """
    return await _send(access, await find(access, proposal_id), kind, reason, actor, timeout, fields)


async def _send(
    access: Access,
    proposal: m.Proposal,
    kind: type[Any],
    reason: str,
    actor: str | None,
    timeout: float,
    fields: dict[str, Any],
) -> m.CommandResult:
    proposal_id = proposal.proposal_id
    if (status := status_at(proposal, now_ms())) not in OPEN_STATUSES:
        raise CommandRefused(_closed(proposal, status), hint=_other(proposal))
    if (
        "until" in fields
        and fields["until"] is not None
        and from_text(fields["until"]) >= from_text(proposal.expires_at)
    ):
        raise UsageError(
            f"{proposal_id} expires before that, at {proposal.expires_at}.", hint="defer it to an earlier time"
        )
    if kind is m.ApproveProposal:
        # Approve exactly the change that was shown, only in the epoch it was made for, and only until it expires.
        fields = fields | {
            "change": proposal.change,
            "expected_epoch": proposal.epoch,
            "valid_until": proposal.expires_at,
            "proposal_type": proposal.proposal_type,
        }
    key = TaskKey(proposal.agent_name, proposal.task_type)
    command = task_command(kind, key, proposal_id=proposal_id, reason=reason, actor=actor, **fields)
    try:
        return await give(access, command, timeout)
    except CommandRefused as refused:
        won = await deciding_review(access, proposal)
        if won is None:
            raise CommandRefused(refused.message, hint=f"see its state with crl proposals show {proposal_id}") from None
        why = f": {won.reason}" if won.reason else ", without a reason"
        raise CommandRefused(
            f"{proposal_id} was already {won.review} by {won.actor} at {won.timestamp}{why}.", hint=_other(proposal)
        ) from None


def _closed(proposal: m.Proposal, status: str) -> str:
    actor, why = ending(proposal)
    if status == "expired":
        return f"{proposal.proposal_id} expired at {proposal.expires_at}."
    who = f" by {actor}" if actor else ""
    return f"{proposal.proposal_id} has been {status}{who} since {updated_at(proposal)}: {why or 'without a reason'}."


def _other(proposal: m.Proposal) -> str:
    return f"crl proposals list --agent {proposal.agent_name} lists its open proposals"
