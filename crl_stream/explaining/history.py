"""What led to a fact, and what has happened since: the chain of facts around the one that is explained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.figures import noun
from crl_stream.explaining.adoption import followed
from crl_stream.explaining.documents import Step
from crl_stream.explaining.fates import Event, Fates
from crl_stream.explaining.ids import id_of
from crl_stream.explaining.story import Story

_LONGEST: Final = 8
"""How many causes are followed back; a real chain has at most five."""
MONITOR: Final = "monitor"


def step_of(message: Any) -> Step:
    """Return a fact, command or proposal as one step of a chain."""
    what, words, actor = _told(message)
    return Step(
        what=what,
        id=id_of(message),
        timestamp=message.timestamp,
        words=words,
        actor=actor,
        position=getattr(message, "position", None),
    )


def _told(message: Any) -> tuple[str, str, str]:
    """Return what happened in one or two words, the whole of it, and who did it."""
    match message:
        case m.DegradationAlert():
            return message.state, f"{message.variant_id}: {message.reason}", MONITOR
        case m.RollbackEvent():
            what = "rolled back" if message.enforced else "reported only"
            return what, f"{message.from_variant} -> {message.to_variant}: {message.reason}", MONITOR
        case m.Activation():
            what = "activated" if message.enforced else "reported only"
            change = f"{message.from_variant or 'nothing'} -> {message.to_variant}"
            return what, f"{change} ({message.cause}): {message.reasoning}", MONITOR
        case m.Decision():
            return "decided", f"{message.variant_id}: {message.decision}. {message.reasoning}", MONITOR
        case m.RolloutStep():
            share = f"{message.variant_id} gets {100 * message.share:.3g} %"
            return f"rollout {message.step.replace('_', ' ')}", f"{share}: {message.reasoning}", message.actor
        case m.CommandResult():
            return message.outcome, f"{message.command}: {message.detail}", message.actor
        case m.Alert():
            what = "alert over" if message.resolved else "alerted"
            return what, f"{message.kind}: {message.action}", MONITOR
        case m.Adoption():
            return "adopted", followed(msgspec.to_builtins(message)), MONITOR
        case m.Hindsight():
            return f"judged {message.finding}", message.reasoning, MONITOR
        case m.Benefit():
            return message.finding.replace("_", " "), message.reasoning, MONITOR
        case m.Proposal():
            why = message.history[-1].reason if message.history else message.reasoning
            words = f"{message.proposal_type} {message.target_variant}: {why}".replace("\n", " ")
            return message.status, words, _reviewer(message)
        case m.Receipt():
            n = message.late_invocations
            late = f", after {n} late {noun(n, 'invocation')}" if n else ", with its next invocation"
            words = f"{message.runtime_id} uses {message.variant_id}{late}"
            return "moved", words, message.runtime_id
        case m.TagCondition():
            return message.state, f"{message.variant_id}: {message.tag}", MONITOR
        case m.SetPolicy():
            return "policy set", f"policy {message.policy_hash}: {message.reason or 'no reason given'}", message.actor
        case _:
            return "commanded", f"{type(message).__name__}: {message.reason or 'no reason given'}", message.actor


def _reviewer(proposal: m.Proposal) -> str:
    return next((step.actor for step in reversed(proposal.history) if step.actor), MONITOR)


def causes_of(message: Any, story: Story) -> list[Step]:
    """Return what led to a fact, oldest first: each fact names the one that caused it."""
    found: list[Step] = []
    seen = {id_of(message)}
    while len(found) < _LONGEST:
        message = _cause_of(message, story)
        if message is None or id_of(message) in seen:
            break
        seen.add(id_of(message))
        found.append(step_of(message))
    return found[::-1]


def _cause_of(message: Any, story: Story) -> Any | None:
    name = getattr(message, "cause_id", None)
    if isinstance(message, m.RolloutStep):
        name = message.rollback_id or next(
            (one.cause_id for one in story.each(m.Activation) if one.cause_id == message.rollout_id), None
        )
        if name == message.rollout_id:
            name = None
    elif isinstance(message, m.CommandResult):
        name = message.command_id
        command = story.facts.get(name)
        if command is not None:
            return command[1]
        return None if message.proposal_id is None else story.get(message.proposal_id)
    elif isinstance(message, m.ApproveProposal | m.RejectProposal | m.DeferProposal):
        name = message.proposal_id
    elif isinstance(message, m.Hindsight | m.ConfirmRollback | m.UndoRollback):
        name = message.rollback_id
    elif isinstance(message, m.DegradationAlert):
        return _how_it_became_active(message, story)
    return None if not name else story.get(name)


def _how_it_became_active(alert: m.DegradationAlert, story: Story) -> m.Activation | None:
    """Return the change that made the degraded variant the active one: often a person's, and often the real cause."""
    changes = [
        one
        for one in story.each(m.Activation)
        if one.enforced and one.to_variant == alert.variant_id and one.epoch <= alert.epoch
    ]
    return max(changes, key=lambda one: one.epoch, default=None)


def since_of(message: Any, story: Story) -> list[Step]:
    """Return what has happened because of a fact, oldest first."""
    if isinstance(message, m.RollbackEvent):
        events = [step_of_event(event) for event in fate_of(message, story)]
        return _in_order([*events, *_later(message, story)])
    return _in_order([*_followers(message, story), *_later(message, story)])


def fate_of(event: m.RollbackEvent, story: Story) -> list[Event]:
    """Return what became of a rollback."""
    fates = Fates([event])
    for _, message in story.facts.values():
        fates.take(message)
    return fates.found()[event.rollback_id]


def step_of_event(event: Event) -> Step:
    """Return an event in the life of a rollback as a step."""
    detail = None if event.hindsight is None else msgspec.to_builtins(event.hindsight)
    return Step(
        what=event.what, id=event.id, timestamp=event.timestamp, words=event.reason, actor=event.actor, detail=detail
    )


def _followers(message: Any, story: Story) -> Iterator[Step]:
    """Yield the facts that name this one as their cause, and what concerns the same change or subject."""
    names = {id_of(message), getattr(message, "command_id", None), getattr(message, "rollout_id", None)} - {None}
    if isinstance(message, m.Proposal):  # what an approval does names the reviewer's command
        names |= {one.command_id for one in story.each(m.CommandResult) if one.proposal_id == message.proposal_id}
    for _, other in story.facts.values():
        if id_of(other) == id_of(message):
            continue
        if getattr(other, "cause_id", None) in names or _continues(message, other, names):
            yield step_of(other)
    if isinstance(message, m.HoldAll) or getattr(message, "command", "") == "HoldAll":
        ends = [one for one in story.each(m.ResumeAll) if one.timestamp >= message.timestamp]
        yield from map(step_of, sorted(ends, key=lambda one: one.timestamp)[:1])


def _continues(message: Any, other: Any, names: set[Any]) -> bool:
    """Return whether ``other`` is a later part of the same matter."""
    kind = type(other)
    match message:
        case m.DegradationAlert():
            same = kind is m.DegradationAlert and other.variant_id == message.variant_id
            return same and other.state == "recovered" and _first_recovery(message, other)
        case m.Alert():
            same = kind is m.Alert and (other.kind, other.subject) == (message.kind, message.subject)
            return same and other.resolved and not message.resolved and other.timestamp >= message.timestamp
        case m.Activation():
            if not message.enforced:
                return False
            adopted = kind in {m.Adoption, m.Benefit} and other.epoch == message.epoch
            return adopted or (kind is m.Activation and other.enforced and other.epoch == message.epoch + 1)
        case m.RolloutStep():
            return kind is m.RolloutStep and other.rollout_id in names and other.timestamp > message.timestamp
        case m.Proposal():
            reviews = m.ApproveProposal | m.RejectProposal | m.DeferProposal | m.CommandResult | m.Benefit
            return isinstance(other, reviews) and other.proposal_id in names
        case m.Decision():
            begins = kind is m.RolloutStep and other.step == "started"
            return begins and (other.variant_id, other.epoch) == (message.variant_id, message.epoch)
        case _:
            return kind is m.CommandResult and other.command_id in names


def _first_recovery(message: m.DegradationAlert, other: m.DegradationAlert) -> bool:
    return message.state == "degraded" and other.timestamp >= message.timestamp


def _later(message: Any, story: Story) -> list[Step]:
    """Return how far the runtimes have followed a change, and who has moved since a fact summed it up."""
    epoch = getattr(message, "epoch", 0)
    if not (isinstance(message, m.RollbackEvent | m.Activation) and message.enforced):
        return []
    summed_up = next((one for one in story.each(m.Adoption) if one.epoch == epoch), None)
    receipts = [one for one in story.receipts.values() if one.epoch == epoch]
    if summed_up is not None:  # who was stuck when it was published may have moved since
        receipts = [one for one in receipts if one.runtime_id in {*summed_up.stuck, *summed_up.waiting}]
    moved = sorted(receipts, key=lambda one: (one.timestamp, one.runtime_id))
    return [step_of(one) for one in moved]


def _in_order(steps: list[Step]) -> list[Step]:
    return sorted({step.id: step for step in steps}.values(), key=lambda step: step.timestamp)
