"""What operators send about rollouts: start, pause, resume, promote, abort."""

from __future__ import annotations

from crl_stream.core import messages as m
from crl_stream.core.figures import counted
from crl_stream.core.monitor.changes import (
    QuarantineLifted,
    RolloutAborted,
    RolloutPaused,
    RolloutResumed,
    StagePassed,
)
from crl_stream.core.monitor.decision_matrix import barred, no_rollback
from crl_stream.core.monitor.lifecycle import apply
from crl_stream.core.monitor.refusal import Refused, known
from crl_stream.core.monitor.rollout import is_held, is_last, next_stage, start
from crl_stream.core.monitor.row import RETIRED, Rollout, StandingOrder, Variant
from crl_stream.core.monitor.turn import Turn


def start_rollout(turn: Turn, command: m.StartRollout) -> str:
    """Begin a rollout of a known variant."""
    row = turn.row
    variant = known(turn, command.variant_id)
    if variant.quarantined:
        raise Refused(
            f"{command.variant_id} is quarantined after a rollback; run crl quarantine lift "
            f"{row.agent_name}/{row.task_type} {command.variant_id} first"
        )
    return begin_rollout(
        turn, variant, command, cause="command", stages=command.stages, min_outcomes=command.min_outcomes
    )


def begin_rollout(
    turn: Turn,
    variant: Variant,
    command: m.StartRollout | m.ApproveProposal,
    *,
    cause: str,
    stages: list[float] | None = None,
    min_outcomes: int | None = None,
) -> str:
    """Begin the rollout that a person requests or approves; raise ``Refused`` if it cannot begin now."""
    row, name = turn.row, variant.variant_id
    if row.active is None:
        raise Refused("no variant is active yet, so there is nothing to compare with; use crl activate")
    if name == row.active:
        raise Refused(f"{name} is already the active variant")
    if variant.state == RETIRED:
        raise Refused(f"{name} is retired; register it again first")
    if row.rollout is not None:
        if row.rollout.variant_id == name:
            raise Refused(f"{name} is already being rolled out; crl rollout status shows its progress")
        raise Refused(
            f"a rollout of {row.rollout.variant_id} is in progress; end it first: crl rollout abort "
            f"{row.agent_name}/{row.task_type}"
        )
    if row.pinned is not None:
        raise Refused(f"{row.active} is pinned by {row.pinned.actor}, so nothing replaces it; unpin the task first")
    if not turn.rules.enforced:
        raise Refused(
            f"{turn.rules.mode} mode: a bad candidate would not be aborted; enforce the task (operations.mode), or "
            f"use crl activate"
        )
    words = command.reason or f"requested by {command.actor}"
    started = start(
        turn,
        variant,
        cause=cause,
        cause_id=command.command_id,
        actor=command.actor,
        words=words,
        stages=stages,
        min_outcomes=min_outcomes,
    )
    apply(turn, [QuarantineLifted(variant), started])
    first, *others = [f"{share / 10:g} %" for share in started.shares]
    then = f", then {', '.join(others)}" if others else ""
    text = (
        f"{started.rollout_id} of {name} began with {first} of the invocations{then}; each stage takes at least "
        f"{counted(started.min_outcomes, 'outcome')}"
    )
    return f"{text}{_if_it_waits(turn)}"


def pause_rollout(turn: Turn, command: m.PauseRollout) -> str:
    """Pause the rollout at its present stage."""
    rollout = _running(turn, command)
    if rollout.paused is not None:
        raise Refused(f"the rollout of {rollout.variant_id} is already paused by {rollout.paused.actor}")
    apply(turn, [RolloutPaused(StandingOrder(command.actor, command.reason, turn.row.time))])
    return f"{rollout.variant_id} stays at {_place(rollout)} until resumed{_protection(turn)}"


def resume_rollout(turn: Turn, command: m.ResumeRollout) -> str:
    """Resume the rollout."""
    rollout = _running(turn, command)
    if rollout.paused is None:
        raise Refused(f"the rollout of {rollout.variant_id} is not paused")
    apply(turn, [RolloutResumed(command.actor, command.reason)])
    return f"{rollout.variant_id} continues at {_place(rollout)}{_if_it_waits(turn)}"


def promote_rollout(turn: Turn, command: m.PromoteRollout) -> str:
    """Begin the next stage now, or make the candidate active."""
    row = turn.row
    rollout = _running(turn, command)
    if command.stage is not None and command.stage != rollout.stage + 1:
        raise Refused(f"stage {rollout.stage + 1} is in progress, not {command.stage}; look again: crl rollout status")
    if row.pinned is not None:
        raise Refused(f"{row.active} is pinned by {row.pinned.actor}, so nothing replaces it; unpin the task first")
    words = command.reason or f"requested by {command.actor}"
    if not known(turn, rollout.variant_id).life.n and (command.full or is_last(rollout)):
        raise Refused(
            f"{rollout.variant_id} has no outcome yet; to use it untested for all invocations: crl activate "
            f"{row.agent_name}/{row.task_type} {rollout.variant_id} --untested"
        )
    change = next_stage(row, command.actor, words, full=command.full)
    apply(turn, [change])
    if isinstance(change, StagePassed):
        return f"{rollout.variant_id} now gets {_place(rollout)}{_if_it_waits(turn)}"
    return f"{rollout.variant_id} is active, epoch {row.epoch}"


def abort_rollout(turn: Turn, command: m.AbortRollout) -> str:
    """End the rollout without a quarantine."""
    rollout = _running(turn, command)
    words = command.reason or f"requested by {command.actor}"
    candidate = known(turn, rollout.variant_id)
    apply(turn, [RolloutAborted(candidate, command.actor, words, command.command_id)])
    back = f"all invocations use {turn.row.active} again"
    return f"{rollout.rollout_id} aborted: {back}; {rollout.variant_id} is not quarantined"


def _running(turn: Turn, command: m.RolloutCommand) -> Rollout:
    row = turn.row
    rollout: Rollout | None = row.rollout
    if rollout is None:
        raise Refused("no rollout is in progress")
    if command.rollout_id is not None and command.rollout_id != rollout.rollout_id:
        raise Refused(f"{command.rollout_id} is over; {rollout.rollout_id} of {rollout.variant_id} is in progress")
    return rollout


def _place(rollout: Rollout) -> str:
    stage, last = rollout.stage + 1, ", the last" if is_last(rollout) else ""
    return f"{rollout.shares[rollout.stage] / 10:g} % (stage {stage}{last})"


def _if_it_waits(turn: Turn) -> str:
    """Return what the rollout waits for in addition to outcomes, as the end of a sentence."""
    row = turn.row
    block = barred(row, turn.policy, turn.at.fleet, rollout=False)
    return "" if block is None else f"; the next stage does not begin yet: {block}{_protection(turn)}"


def _protection(turn: Turn) -> str:
    """Return whether the rollout is aborted if its candidate is degraded, as the end of a sentence."""
    if turn.rules.enforced and not is_held(turn):
        return "; it is still aborted if degraded"
    return f"; it is not aborted even if degraded: {no_rollback(turn.row, turn.policy, turn.at.fleet)}"
