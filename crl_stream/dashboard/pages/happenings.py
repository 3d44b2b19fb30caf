"""What happened, one line each: activations, commands, rollbacks, degradations, rollouts, for lists and histories."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import fact_id_of, task_of
from crl_stream.explaining.adoption import followed

_COMMAND_ICONS: Final = {
    "UndoRollback": "undo",
    "ConfirmRollback": "check",
    "HoldTask": "pause",
    "HoldAll": "pause",
    "PinVariant": "pin",
    "RegisterVariant": "plus",
    "RetireVariant": "minus",
    "ActivateVariant": "right",
    "ApproveProposal": "check",
    "RejectProposal": "minus",
    "DeferProposal": "clock",
}
_CHANGES_EPOCH: Final = frozenset(("ActivateVariant", "UndoRollback"))
ORDERED: Final = frozenset(("command", "undo", "approval"))
"""Causes of an activation that a command has; the command's result tells about it, with who gave it."""
_CAUSE_ICONS: Final = {
    "rollback": "undo",
    "rollback_verified_worse": "undo",
    "rollout_aborted": "undo",
    "common_cause": "undo",
    "undo": "undo",
    "auto_apply": "up",
    "approval": "check",
    "rollout": "up",
}


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    id: str
    timestamp: str
    key: TaskKey | None
    """The task; None if it is about the whole fleet."""
    icon: str
    css: str
    what: str
    who: str
    """The person or program that caused it."""
    why: str = ""
    epoch: int | None = None
    """The epoch that began with it."""
    rollback_id: str | None = None


def happening_of(fact: Any) -> Happening:
    """Return one fact of ``crl.decisions``, a rollback, a degradation or an alert as a line."""
    told: Happening = _KINDS[type(fact)](fact)
    return told


def _activation(fact: m.Activation) -> Happening:
    done = "became active" if fact.enforced else "would have become active (shadow)"
    cause = fact.cause.replace("_", " ")
    return Happening(
        id=fact.activation_id,
        timestamp=fact.timestamp,
        key=task_of(fact),
        icon=_CAUSE_ICONS.get(fact.cause, "right"),
        css="bad" if _CAUSE_ICONS.get(fact.cause) == "undo" else "",
        what=f"{fact.to_variant} {done} ({cause})" + (f", instead of {fact.from_variant}" if fact.from_variant else ""),
        who="monitor",
        why=fact.reasoning,
        epoch=fact.epoch if fact.enforced else None,
        rollback_id=fact.cause_id if fact.cause == "rollback" else None,
    )


def _result(fact: m.CommandResult) -> Happening:
    return Happening(
        id=fact.result_id,
        timestamp=fact.timestamp,
        key=task_of(fact),
        icon=_COMMAND_ICONS.get(fact.command, "person") if fact.outcome == "applied" else "x-circle",
        css="hold" if fact.outcome == "applied" else "warn",
        what=f"{fact.command} {fact.outcome}: {fact.detail if fact.tasks is None else fact.detail.partition(': ')[0]}",
        who=fact.actor,
        why=fact.reason,
        epoch=fact.epoch if fact.outcome == "applied" and fact.command in _CHANGES_EPOCH else None,
    )


def _decision(fact: m.Decision) -> Happening:
    return Happening(
        id=fact.decision_id,
        timestamp=fact.timestamp,
        key=task_of(fact),
        icon={"auto_apply": "up", "human_approval": "person"}.get(fact.decision, "minus"),
        css="",
        what=f"{fact.variant_id}: {fact.decision}",
        who="monitor",
        why=fact.reasoning,
    )


def _rollout(fact: m.RolloutStep) -> Happening:
    return Happening(
        id=fact.step_id,
        timestamp=fact.timestamp,
        key=task_of(fact),
        icon="undo" if fact.step == "aborted" else "up",
        css="bad" if fact.step == "aborted" else "",
        what=f"rollout of {fact.variant_id}: {fact.step.replace('_', ' ')}, stage {fact.stage} of {len(fact.stages)}",
        who=fact.actor,
        why=fact.reasoning,
    )


def _hindsight(fact: m.Hindsight) -> Happening:
    return Happening(
        id=fact.hindsight_id,
        timestamp=fact.timestamp,
        key=task_of(fact),
        icon={"right": "check", "wrong": "x-circle"}.get(fact.finding, "dots"),
        css="",
        what=f"the reported rollback {fact.rollback_id} was judged: {fact.finding}",
        who="monitor",
        why=fact.reasoning,
        rollback_id=fact.rollback_id,
    )


def _benefit(fact: m.Benefit) -> Happening:
    return Happening(
        id=fact.benefit_id,
        timestamp=fact.timestamp,
        key=task_of(fact),
        icon={"helped": "check", "hurt": "x-circle"}.get(fact.finding, "dots"),
        css={"helped": "ok", "hurt": "bad"}.get(fact.finding, ""),
        what=f"the change to {fact.variant_id}: {fact.finding.replace('_', ' ')}",
        who="monitor",
        why=fact.reasoning,
        rollback_id=fact.cause_id if fact.cause == "rollback" else None,
    )


def _adoption(fact: m.Adoption) -> Happening:
    return Happening(
        id=fact.adoption_id,
        timestamp=fact.timestamp,
        key=task_of(fact),
        icon="right",
        css="warn" if fact.stuck else "",
        what=followed(msgspec.to_builtins(fact)),
        who="runtimes",
        why=f"{fact.variant_id}, epoch {fact.epoch}",
    )


def _rollback(event: m.RollbackEvent) -> Happening:
    done = "rolled back to" if event.enforced else "would have been rolled back to"
    return Happening(
        id=event.rollback_id,
        timestamp=event.timestamp,
        key=task_of(event),
        icon="undo",
        css="bad" if event.enforced else "info",
        what=f"{event.from_variant} {done} {event.to_variant}",
        who="monitor",
        why=event.reason,
        epoch=event.epoch if event.enforced else None,
        rollback_id=event.rollback_id,
    )


def _degradation(event: m.DegradationAlert) -> Happening:
    where = "" if event.active else ", not the active variant"
    return Happening(
        id=event.alert_id,
        timestamp=event.timestamp,
        key=task_of(event),
        icon="warn" if event.state == "degraded" else "check",
        css="warn" if event.state == "degraded" else "ok",
        what=f"{event.variant_id} {event.state}{where}",
        who="monitor",
        why=event.reason,
    )


_KINDS: Final[dict[type, Any]] = {
    m.Activation: _activation,
    m.CommandResult: _result,
    m.Decision: _decision,
    m.RolloutStep: _rollout,
    m.Hindsight: _hindsight,
    m.Benefit: _benefit,
    m.Adoption: _adoption,
    m.RollbackEvent: _rollback,
    m.DegradationAlert: _degradation,
}


def id_of(fact: Any) -> str:
    """Return the id of a fact, a rollback or a degradation."""
    if isinstance(fact, m.RollbackEvent):
        return fact.rollback_id
    return fact.alert_id if isinstance(fact, m.DegradationAlert) else fact_id_of(fact)
