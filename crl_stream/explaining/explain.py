"""The explanation of one id: made of its message and the story of its task, without asking anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.figures import counted
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.policy import Policy
from crl_stream.core.reach import last_time_words, touches_words
from crl_stream.explaining.documents import Explanation, Kind, PolicyOrigin
from crl_stream.explaining.fates import status_of
from crl_stream.explaining.history import causes_of, fate_of, since_of
from crl_stream.explaining.ids import Found
from crl_stream.explaining.proof import Proof, baseline_of, figures_of, strip_of
from crl_stream.explaining.story import Story

_KINDS: Final[dict[type, Kind]] = {
    m.RollbackEvent: "rollback",
    m.DegradationAlert: "degradation",
    m.Alert: "alert",
    m.Decision: "decision",
    m.Activation: "activation",
    m.RolloutStep: "rollout",
    m.Hindsight: "hindsight",
    m.Benefit: "benefit",
    m.Adoption: "adoption",
    m.Proposal: "proposal",
    m.Receipt: "receipt",
    m.TagCondition: "tag",
}
_NO_UNDO: Final = frozenset(("first_seen", "undo"))
"""Causes of activations that cannot be undone."""


_WANTS: Final = {
    "create_specialized_variant": "create {}",
    "modify_variant_parameters": "modify {}",
    "promote_variant_to_default": "promote {}",
    "retire_underperforming_variant": "retire {}",
    "enforce_task": "enforce the rollbacks of the task",
}
"""What each type of proposal asks for."""


class Sources(NamedTuple):
    """What an explanation is made of, besides the message that is explained."""

    story: Story
    policy: Policy | None = None
    """The policy of the task that decided; None if it is no longer known."""
    origin: PolicyOrigin | None = None
    records: Mapping[int, Any] = {}
    """Messages of the log by offset: those of the judged outcomes that the log still has."""
    trace_url_template: str = ""


def proof_of(message: Any, story: Story) -> Proof | None:
    """Return the message whose verdict led to ``message``: itself, or one that it rests on; None if there is none."""
    for _ in range(_DEEPEST):
        if isinstance(message, m.RollbackEvent | m.DegradationAlert):
            return message
        name = getattr(message, "rollback_id", None) or getattr(message, "cause_id", None)
        message = None if name is None else story.get(name)
        if message is None:
            return None
    return None


_DEEPEST: Final = 5


def explain(wanted: str, found: Found, sources: Sources) -> Explanation:
    """Return the explanation of ``wanted``, which ``found`` has or names."""
    message, story = found.message, sources.story
    proof, task = proof_of(message, story), _task_of(message)
    undo, no_undo = _undo(message, story)
    review = further = None
    if isinstance(message, m.RollbackEvent):
        review = status_of(message, fate_of(message, story))
        further = _further(message, review)
    return Explanation(
        id=wanted,
        kind=_KINDS.get(type(message), "command"),
        sentence=_sentence(message),
        timestamp=message.timestamp,
        task=task,
        actor=_actor_of(message, story),
        reason=_reason(message),
        result=message.detail if isinstance(message, m.CommandResult) else "",
        fact=msgspec.to_builtins(message),
        topic=found.topic,
        review=review,
        epoch=getattr(message, "epoch", None),
        enforced=getattr(message, "enforced", None),
        position=getattr(message, "position", None),
        proof_id=None if proof is None else _id_of_proof(proof),
        figures=[] if proof is None else figures_of(proof, sources.policy),
        strip=None if proof is None else strip_of(proof, sources.records, sources.trace_url_template),
        baseline=None if proof is None else baseline_of(proof.judged),
        evidence=None if proof is None else proof.evidence,
        candidates=proof.candidates if isinstance(proof, m.RollbackEvent) and not proof.rollout_id else None,
        policy=sources.origin,
        causes=causes_of(message, story),
        since=since_of(message, story),
        undo_command=undo,
        no_undo=no_undo,
        touches=touches_words(getattr(message, "touches", None)),
        last_time=last_time_words(getattr(message, "last_time", None)),
        further_commands=further or _review_commands(message),
    )


def _id_of_proof(proof: Proof) -> str:
    return proof.rollback_id if isinstance(proof, m.RollbackEvent) else proof.alert_id


def _task_of(message: Any) -> str | None:
    agent = getattr(message, "agent_name", None)
    return None if agent is None else f"{agent}/{message.task_type}"


def _sentence(message: Any) -> str:
    """Return what happened, in one sentence."""
    match message:
        case m.RollbackEvent():
            if message.rollout_id:
                return f"The rollout of {message.from_variant} was aborted; {message.to_variant} stays active."
            done = "was rolled back" if message.enforced else "would have been rolled back"
            return f"{message.from_variant} {done} to {message.to_variant}."
        case m.DegradationAlert():
            return f"{message.variant_id} {'became degraded' if message.state == 'degraded' else 'recovered'}."
        case m.Alert():
            return f"{'No longer: ' if message.resolved else ''}{message.subject}: {message.kind.replace('_', ' ')}."
        case m.Decision():
            return f"The decision about {message.variant_id} is {message.decision}."
        case m.Activation():
            done = "became active" if message.enforced else "would have become active"
            return f"{message.to_variant} {done}, instead of {message.from_variant or 'nothing'} ({message.cause})."
        case m.RolloutStep():
            return f"The rollout of {message.variant_id}: {message.step.replace('_', ' ')}."
        case m.Hindsight():
            return f"The reported rollback {message.rollback_id} was judged: {message.finding}."
        case m.Benefit():
            return f"The change to {message.variant_id} ({message.cause}): {message.finding.replace('_', ' ')}."
        case m.Adoption():
            return f"The runtimes followed the change to {message.variant_id}, epoch {message.epoch}."
        case m.Proposal():
            return (
                f"The proposal to {_WANTS[message.proposal_type].format(message.target_variant)} is {message.status}."
            )
        case m.CommandResult():
            return f"{message.command} by {message.actor} was {message.outcome}."
        case m.Receipt():
            return f"{message.runtime_id} uses {message.variant_id}, epoch {message.epoch}."
        case m.TagCondition():
            return f"{message.variant_id} {message.state}: {message.tag}."
        case _:
            return f"{type(message).__name__} was sent by {message.actor}."


def _reason(message: Any) -> str:
    match message:
        case m.Decision() | m.Activation() | m.RolloutStep() | m.Hindsight() | m.Benefit():
            return str(message.reasoning)
        case m.Proposal():
            return message.reasoning.replace("\n", " ")
        case m.Alert():
            return message.action
        case m.Adoption():
            return f"{message.moved} of {counted(message.expected, 'runtime')} moved"
        case m.Receipt() | m.TagCondition():
            return ""
        case _:
            return message.reason or "no reason given"


def _actor_of(message: Any, story: Story) -> str:
    """Return who caused it: a change by a command was made by the command's sender."""
    if isinstance(message, m.Activation):
        command = story.get(message.cause_id)
        return getattr(command, "actor", None) or "monitor"
    if isinstance(message, m.Proposal):
        return "the proposer" if message.filing is None else message.filing.actor
    return getattr(message, "actor", None) or "monitor"


def _undo(message: Any, story: Story) -> tuple[str | None, str | None]:
    """Return the command that undoes the change, or why it can no longer be undone; both None if it changed nothing."""
    epoch = getattr(message, "epoch", None)
    if isinstance(message, m.Proposal):
        if message.status not in OPEN_STATUSES | {"approved"}:
            return None, None
        _, names_epoch, began = (message.undo_command or "").rpartition("--epoch ")
        if message.status == "approved" and names_epoch and story.epoch > int(began):
            return None, f"epoch {story.epoch} has followed, and only the latest change can be undone"
        return message.undo_command, None
    changed = isinstance(message, m.RollbackEvent | m.Activation) and message.enforced
    if isinstance(message, m.Alert) and message.undo_command is not None:
        undone = message.undo_command.rpartition("--epoch ")
        if not undone[1]:
            return message.undo_command, None
        changed, epoch = True, int(undone[2])
    if not changed or epoch is None or getattr(message, "cause", "") in _NO_UNDO:
        return None, None
    if story.epoch > epoch:
        return None, f"epoch {story.epoch} has followed, and only the latest change can be undone"
    command = getattr(message, "undo_command", None) or f"crl undo {_task_of(message)} --epoch {epoch}"
    if isinstance(message, m.RollbackEvent) and any(one.what == "undone" for one in fate_of(message, story)):
        return None, "it has been undone"
    return command, None


def _further(event: m.RollbackEvent, review: str) -> list[str]:
    """Return what else a person may do about a rollback."""
    return [f"crl confirm {event.rollback_id}"] if review == "not reviewed" and event.enforced else []


def _review_commands(message: Any) -> list[str]:
    if isinstance(message, m.Proposal) and message.status in OPEN_STATUSES:
        name = message.proposal_id
        return [f"crl proposals approve {name}", f"crl proposals reject {name} --reason ..."]
    return []
