"""Facts: what is published about each change, in the order of publication.  Nothing is decided or changed here.

Every function reads the row as it was before the changes.  All facts are built here, so that their ids, times and
positions have one source.
"""

# Over 300 lines because every fact is built here, each with all of its fields.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from crl_stream.core.figures import counted
from crl_stream.core.instant import to_text
from crl_stream.core.messages import (
    Activation,
    Adoption,
    Alert,
    Benefit,
    CommandResult,
    Decision,
    DegradationAlert,
    Gain,
    Hindsight,
    Position,
    Receipt,
    RollbackEvent,
    RolloutStep,
    TagCondition,
    TagLimits,
)
from crl_stream.core.messages.facts import AlertKind, Severity
from crl_stream.core.messages.parts import ActivationCause
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor.adoption import Followers, followers_of
from crl_stream.core.monitor.benefit import conclude
from crl_stream.core.monitor.grounds import Grounds
from crl_stream.core.monitor.pace import touches
from crl_stream.core.monitor.past import KIND_OF_ALERT, last_time
from crl_stream.core.monitor.promise import Promise, delivered_as, gain, promise_of
from crl_stream.core.monitor.row import MICRO, Rollout, Runtime, Sums, Variant
from crl_stream.core.monitor.staging import delivered_so_far, takes_part
from crl_stream.core.monitor.tags import tags_of
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.version import ENGINE_VERSION


def common(turn: Turn) -> dict[str, Any]:
    """Return the fields that facts have in common."""
    row, at = turn.row, turn.at
    return {
        "timestamp": to_text(row.time),
        "agent_name": row.agent_name,
        "task_type": row.task_type,
        "position": Position(at.partition, at.offset),
        "policy_hash": at.policy_hash,
        "engine_version": ENGINE_VERSION,
    }


def _undo_command(turn: Turn, epoch: int) -> str:
    """Return the command that undoes the change that began ``epoch``."""
    return f"crl undo {turn.row.agent_name}/{turn.row.task_type} --epoch {epoch}"


def alert(
    turn: Turn,
    kind: AlertKind,
    severity: Severity,
    action: str,
    *,
    cause_id: str,
    about: str = "",
    number: float | None = None,
    limit: float | None = None,
    undo_epoch: int | None = None,
    resolved: bool = False,
) -> Alert:
    """Build an alert for operators: subject, action, number, limit and undo command in one line.

    ``about`` names the variant, if the alert is about one.  ``undo_epoch`` is the epoch of the change that can be
    undone.  ``resolved`` ends the alert of the same kind about the same subject.
    """
    row = turn.row
    subject = f"{row.agent_name}/{row.task_type} {about}".rstrip()
    past = None if resolved else KIND_OF_ALERT.get(kind)
    undo_command = None if undo_epoch is None else _undo_command(turn, undo_epoch)
    return Alert(
        alert_id=turn.identify("alert", kind, f"{about} {resolved}"),
        kind=kind,
        severity=severity,
        subject=subject,
        action=action,
        text=f"{subject}: {action}" + (f"; undo: {undo_command}" if undo_command else ""),
        cause_id=cause_id,
        number=number,
        limit=limit,
        undo_command=undo_command,
        resolved=resolved,
        touches=None if resolved else touches(row),
        last_time=None if past is None else last_time(row, past, cause_id),
        **common(turn),
    )


# -- a variant's condition ---------------------------------------------------------------------------
def became_degraded(turn: Turn, change: c.BecameDegraded) -> Sequence[Any]:
    """Return the transition into the degraded state."""
    fell = _degradation(turn, change.variant, change.grounds, change.alert_id, recovered=False)
    return (fell, *_conditions(turn, change.variant, "fell")) if fell.active else (fell,)


def recovered(turn: Turn, change: c.Recovered) -> Sequence[Any]:
    """Return the transition out of the degraded state, and the end of the alerts about it."""
    row, variant = turn.row, change.variant
    alert_id = turn.identify("deg", "recovered", variant.variant_id)
    told: list[Any] = [_degradation(turn, variant, change.grounds, alert_id, recovered=True)]
    clean = variant.clean + 1
    words = f"recovered: {clean} healthy verdicts in a row, {change.needed} needed"
    told += _end_of_alert(turn, variant, words, float(clean), float(change.needed))
    if variant.variant_id == row.active:
        told += _conditions(turn, variant, "recovered")
    if variant.variant_id == row.active and row.no_target_n >= 0:
        about, cause = variant.variant_id, variant.alert_id
        told.append(
            alert(
                turn, "no_target", "info", "resolved: the variant recovered", about=about, cause_id=cause, resolved=True
            )
        )
    if variant.variant_id == row.active:
        told += _end_of_held(turn, "the variant recovered")
        told += _end_of_one_runtime(turn, "resolved: the variant recovered", variant.alert_id)
    return told


def given_up(turn: Turn, change: c.GivenUp) -> Sequence[Any]:
    """Return the end of the alert about a variant that will have no more outcomes."""
    return _end_of_alert(turn, change.variant, f"resolved: {change.why}")


def level_accepted(turn: Turn, change: c.LevelAccepted) -> Sequence[Any]:
    """Return the end of the alerts about a variant whose level a person has accepted."""
    row, variant, words = turn.row, change.variant, f"resolved: {change.who} accepted the level"
    told = _end_of_alert(turn, variant, words)
    told += _end_of_guardrails(turn, variant, f"{change.who} accepted the level")
    if variant.variant_id == row.active and row.no_target_n >= 0:
        about, cause = variant.variant_id, variant.alert_id
        told.append(alert(turn, "no_target", "info", words, about=about, cause_id=cause, resolved=True))
    if variant.variant_id == row.active:
        told += _end_of_held(turn, f"{change.who} accepted the level")
        told += _end_of_one_runtime(turn, words, variant.alert_id)
    return told


def alert_opened(turn: Turn, change: c.AlertOpened) -> Sequence[Any]:
    """Return the alert about a degraded variant that is not rolled back."""
    variant, grounds = change.variant, change.grounds
    return (
        alert(
            turn,
            "degradation",
            "critical" if variant.variant_id == turn.row.active or takes_part(turn.row, variant) else "warning",
            grounds.reason,
            about=variant.variant_id,
            number=grounds.number,
            limit=grounds.limit,
            cause_id=change.alert_id,
        ),
    )


def _degradation(turn: Turn, variant: Variant, grounds: Grounds, alert_id: str, *, recovered: bool) -> DegradationAlert:
    return DegradationAlert(
        alert_id=alert_id,
        variant_id=variant.variant_id,
        state="recovered" if recovered else "degraded",
        active=variant.variant_id == turn.row.active,
        metric=grounds.metric,
        reason=grounds.reason,
        degradation_metrics=grounds.metrics,
        evidence=grounds.evidence,
        judged=grounds.judged,
        enforced=turn.rules.enforced,
        epoch=turn.row.epoch,
        **common(turn),
    )


def _end_of_alert(
    turn: Turn, variant: Variant, why: str, number: float | None = None, limit: float | None = None
) -> list[Any]:
    """Return the end of the alert about a degraded variant, if one is open."""
    if not variant.alerted:
        return []
    about, cause = variant.variant_id, variant.alert_id
    return [
        alert(turn, "degradation", "info", why, about=about, number=number, limit=limit, cause_id=cause, resolved=True)
    ]


# -- protection of the active variant ----------------------------------------------------------------
def held_back(turn: Turn, change: c.HeldBack) -> Sequence[Any]:
    """Return the alert about a degraded active variant that a hold keeps active."""
    action, about = f"degraded but not rolled back: {change.who}", change.variant.variant_id
    return (alert(turn, "held_degradation", "critical", action, about=about, cause_id=change.alert_id),)


def task_hold_changed(turn: Turn, change: c.Held | c.HoldEnded) -> Sequence[Any]:
    """Return the end of the alert that names the former holds; if one is left, the next outcome tells of it."""
    return _end_of_held(turn, "the hold has ended" if isinstance(change, c.HoldEnded) else "another hold has begun")


def fleet_hold_changed(turn: Turn, change: c.FleetHoldNoticed) -> Sequence[Any]:
    """Return the end of the alert that names the former holds; if one is left, the next outcome tells of it."""
    return _end_of_held(turn, f"the hold of the fleet has {'changed' if change.since else 'ended'}")


def _end_of_held(turn: Turn, why: str) -> list[Any]:
    """Return the end of the alert that a hold keeps the degraded active variant, if one is open."""
    row = turn.row
    if row.held_n < 0 or row.active is None:
        return []
    about, cause = row.active, row.variants[row.active].alert_id
    return [alert(turn, "held_degradation", "info", f"resolved: {why}", about=about, cause_id=cause, resolved=True)]


def found_no_target(turn: Turn, change: c.FoundNoTarget) -> Sequence[Any]:
    """Return the alert about a degraded active variant that no other variant can replace."""
    why = ", ".join(f"{c.variant_id} ({c.why_not})" for c in change.ranked) or "no other variant is known"
    about, task = change.variant.variant_id, f"{turn.row.agent_name}/{turn.row.task_type}"
    action = (
        f"degraded, with nothing to roll back to: {why}; register or fix a variant, or accept the present level "
        f"(crl accept {task})"
    )
    return (alert(turn, "no_target", "critical", action, about=about, cause_id=change.alert_id),)


def found_one_runtime(turn: Turn, change: c.FoundOneRuntime) -> Sequence[Any]:
    """Return the alert that a rollback would rest on one runtime alone, and that the others contradict it."""
    found, about = change.found, change.variant.variant_id
    where = "what the bad outcomes have in common" if found.runtime_id is None else f"the host of {found.runtime_id}"
    action = (
        f"degraded but not rolled back: {found.words}; look at {where}; if the variant is to blame, activate another "
        f"(crl activate {turn.row.agent_name}/{turn.row.task_type} VARIANT)"
    )
    share, limit = found.share / MICRO, turn.policy.rollback.runtime_share
    return (
        alert(
            turn, "one_runtime", "critical", action, about=about, number=share, limit=limit, cause_id=change.alert_id
        ),
    )


def one_runtime_ended(turn: Turn, change: c.OneRuntimeEnded) -> Sequence[Any]:
    """Return the end of the alert about one runtime, because the other runtimes no longer contradict it."""
    return _end_of_one_runtime(
        turn, "resolved: the other runtimes no longer report that the variant is healthy", change.alert_id
    )


def _end_of_one_runtime(turn: Turn, words: str, cause_id: str) -> list[Any]:
    """Return the end of the alert about one runtime, if one is open."""
    if turn.row.one_runtime is None:
        return []
    about = turn.row.active or ""
    return [alert(turn, "one_runtime", "info", words, about=about, cause_id=cause_id, resolved=True)]


def guardrail_broken(turn: Turn, change: c.GuardrailBroken) -> Sequence[Any]:
    """Return the alert that the variant became more expensive, slower or worse in a named metric.

    If a rollback follows, the degradation is published as its cause, and an alert about an enforced rollback takes the
    place of this one.
    """
    told: list[Any] = []
    if change.leads:
        told.append(_degradation(turn, change.variant, change.grounds, change.alert_id, recovered=False))
        if turn.rules.enforced:
            return told
    about, task = f"{change.variant.variant_id} {change.metric}", f"{turn.row.agent_name}/{turn.row.task_type}"
    action = (
        f"{change.grounds.reason}; if it is meant to stay, accept the present level (crl accept {task} "
        f"{change.variant.variant_id})"
    )
    number, limit, cause = change.grounds.number, change.grounds.limit, change.alert_id
    told.append(alert(turn, "guardrail", "warning", action, about=about, number=number, limit=limit, cause_id=cause))
    return told


def guardrails_accepted(turn: Turn, change: c.GuardrailsAccepted) -> Sequence[Any]:
    """Return the end of the alerts about guardrail metrics whose level a person has accepted."""
    return _end_of_guardrails(turn, change.variant, f"{change.who} accepted the level")


def guardrail_kept(turn: Turn, change: c.GuardrailKept) -> Sequence[Any]:
    """Return the end of the alert about a guardrail metric."""
    about = f"{change.variant.variant_id} {change.metric}"
    return (alert(turn, "guardrail", "info", change.words, about=about, cause_id=change.alert_id, resolved=True),)


def _end_of_guardrails(turn: Turn, variant: Variant, why: str) -> list[Any]:
    """Return the end of the alerts about the guardrail metrics of a variant."""
    return [
        alert(
            turn,
            "guardrail",
            "info",
            f"resolved: {why}",
            about=f"{variant.variant_id} {metric}",
            cause_id=gauge.open_alert,
            resolved=True,
        )
        for metric, gauge in variant.gauges.items()
        if gauge.open_alert
    ]


def rolled_back(turn: Turn, change: c.RolledBack) -> Sequence[Any]:
    """Return the guide's rollback event with its evidence, the activation if it takes place, and the alert."""
    variant, target, grounds = change.variant, change.target, change.grounds
    enforced = turn.rules.enforced
    epoch = turn.row.epoch + 1 if enforced else turn.row.epoch
    told: list[Any] = [
        RollbackEvent(
            rollback_id=change.rollback_id,
            from_variant=variant.variant_id,
            to_variant=target.variant_id,
            reason=grounds.reason,
            degradation_metrics=grounds.metrics,
            epoch=epoch,
            enforced=enforced,
            cause_id=change.alert_id,
            evidence=grounds.evidence,
            judged=grounds.judged,
            candidates=change.ranked,
            undo_command=_undo_command(turn, epoch),
            touches=touches(turn.row),
            last_time=last_time(turn.row, "rollback"),
            **common(turn),
        )
    ]
    if enforced:
        told += _activation(turn, target, "rollback", change.rollback_id, grounds.reason)
    told.append(
        alert(
            turn,
            "rollback",
            "critical",
            f"{'rolled back' if enforced else 'would be rolled back'} to {target.variant_id}: {grounds.reason}",
            about=variant.variant_id,
            number=grounds.number,
            limit=grounds.limit,
            cause_id=change.rollback_id,
            undo_epoch=epoch if enforced else None,
        )
    )
    return told


def taken_back(turn: Turn, change: c.TakenBack) -> Sequence[Any]:
    """Return the change of the active variant, the end of the alerts that it closes, and the alert about it."""
    about = change.variant.variant_id
    told = _activation(turn, change.to, change.cause, change.rollback_id, change.words)
    if change.cause == "common_cause":
        return told  # the alert about the incident already reports this
    told.append(
        alert(
            turn,
            "rollback_taken_back",
            "critical",
            f"rollback taken back, {change.to.variant_id} is active again: {about} is {change.words}",
            about=about,
            cause_id=change.rollback_id,
            undo_epoch=turn.row.epoch + 1,
        )
    )
    return told


def looked_back(turn: Turn, change: c.LookedBack) -> Sequence[Any]:
    """Return what became of a rollback that shadow mode reported."""
    watched = change.watched
    return (
        Hindsight(
            hindsight_id=turn.identify("hs", "hindsight", watched.rollback_id),
            rollback_id=watched.rollback_id,
            from_variant=watched.variant_id,
            to_variant=watched.target,
            finding=change.finding,
            reasoning=change.words,
            outcomes=change.outcomes,
            bad=change.bad,
            bad_of_target=change.would / MICRO,
            compared_with="outcomes" if change.meanwhile else "promise",
            avoidable=change.avoidable,
            caused=change.caused,
            epoch=watched.epoch,
            **common(turn),
        ),
    )


def benefited(turn: Turn, change: c.Benefited) -> Sequence[Any]:
    """Return whether the latest change of the active variant helped."""
    row, prediction = turn.row, change.prediction
    seen, before, expected = change.delivered, change.before, Promise(*prediction.expected)
    proposal_id = next((one.proposal_id for one in row.reviews if one.command_id == prediction.command_id), None)
    success = reward = None
    if seen.n and before.n:
        known = before if change.meanwhile else Promise(*prediction.before)
        success = Gain(
            expected.success_rate - known.success_rate if expected.n else None,
            *gain(seen.success_rate, seen.n, before.success_rate, before.n),
        )
        # Rewards reach from -1 to 1, twice as far as the values that ``gain`` takes.
        halves = gain((seen.reward + 1.0) / 2.0, seen.n, (before.reward + 1.0) / 2.0, before.n)
        promised = expected.reward - known.reward if expected.n else None
        reward = Gain(promised, *(2.0 * half for half in halves))
    return (
        Benefit(
            benefit_id=turn.identify("ben", "benefit", f"{prediction.epoch} {seen.n}"),
            from_variant=prediction.from_variant,
            variant_id=row.active or "",
            cause=prediction.cause,  # type: ignore[arg-type]
            cause_id=prediction.cause_id,
            finding=change.finding,
            reasoning=change.words,
            outcomes=seen.n,
            final=change.final,
            expected=delivered_as(expected),
            before=delivered_as(before),
            delivered=delivered_as(seen),
            compared_with="outcomes" if change.meanwhile else "promise",
            success_gain=success,
            reward_gain=reward,
            epoch=prediction.epoch,
            proposal_id=proposal_id,
            **common(turn),
        ),
    )


def _end_of_prediction(turn: Turn) -> Sequence[Any]:
    """Return the last judgement of the latest change, because another one follows."""
    judged = conclude(turn)
    return () if judged is None else benefited(turn, judged)


def verification_ended(turn: Turn, _: c.VerificationEnded) -> Sequence[Any]:
    """Return the announcements that the task has recovered with another variant, unless it has an incident."""
    row = turn.row
    if row.incident is not None or row.active is None or row.variants[row.active].degraded:
        return ()
    return _conditions(turn, row.variants[row.active], "recovered")


def common_cause_found(turn: Turn, change: c.CommonCauseFound) -> Sequence[Any]:
    """Return the alert about variants that fell together, and the end of the alerts that it replaces."""
    row, incident, told = turn.row, change.incident, list[Any]()
    cause, task = incident.incident_id, f"{row.agent_name}/{row.task_type}"
    if row.incident is not None:
        words = f"resolved: {incident.tag} is failing too"
        told.append(alert(turn, "common_cause", "info", words, about=row.incident.tag, cause_id=cause, resolved=True))
    if row.no_target_n >= 0:
        words, about = f"resolved: {incident.tag} is failing", row.active or ""
        told.append(alert(turn, "no_target", "info", words, about=about, cause_id=cause, resolved=True))
    action = (
        f"variants fell together ({change.words}); none of them is rolled back or promoted until one recovers, for at "
        f"most {incident.until_n - incident.since_n} outcomes; to end this: crl resume {task}"
    )
    told.append(alert(turn, "common_cause", "critical", action, about=incident.tag, cause_id=cause))
    return told


def common_cause_ended(turn: Turn, change: c.CommonCauseEnded) -> Sequence[Any]:
    """Return the end of the alert about the incident, and of the alerts about variants that are judged from scratch."""
    row, incident, words = turn.row, change.incident, f"resolved: {change.why}"
    cause = incident.incident_id
    told: list[Any] = [alert(turn, "common_cause", "info", words, about=incident.tag, cause_id=cause, resolved=True)]
    for variant in change.cleared:
        told += _end_of_alert(turn, variant, words)
        if variant.variant_id == row.active and row.no_target_n >= 0:
            about = variant.variant_id
            told.append(alert(turn, "no_target", "info", words, about=about, cause_id=cause, resolved=True))
        if variant.variant_id == row.active and change.back is None:
            told += _end_of_held(turn, change.why)
    told.append(tag_condition(turn, incident.tag, "recovered"))
    if change.back is not None:
        told += _activation(turn, change.back, "common_cause", cause, f"{incident.tag}: {change.why}")
    return told


# -- changes of the active variant -------------------------------------------------------------------
def activated(turn: Turn, change: c.Activated) -> Sequence[Any]:
    """Return the change of the active variant, and the end of the alerts that it closes."""
    return _activation(turn, change.to, change.cause, change.cause_id, change.words, untested=change.untested)


def would_promote(turn: Turn, change: c.WouldPromote) -> Sequence[Any]:
    """Return the change of the active variant that shadow mode only reports."""
    row = turn.row
    return (_change_of_active(turn, change.to, "auto_apply", change.cause_id, change.words, row.epoch, enforced=False),)


def _activation(
    turn: Turn, to: Variant, cause: ActivationCause, cause_id: str, words: str, *, untested: bool = False
) -> list[Any]:
    row = turn.row
    epoch = row.epoch + 1
    told: list[Any] = [_change_of_active(turn, to, cause, cause_id, words, epoch, enforced=True, untested=untested)]
    if row.no_target_n >= 0:
        action, about = f"resolved: {to.variant_id} is now active", row.active or ""
        told.append(alert(turn, "no_target", "info", action, about=about, cause_id=cause_id, resolved=True))
    told += _end_of_held(turn, f"{to.variant_id} is now active")
    told += _end_of_adoption(turn)
    told += _end_of_prediction(turn)
    told += _end_of_rollout(turn, to, cause, words)
    told += _end_of_one_runtime(turn, f"resolved: {to.variant_id} is now active", cause_id)
    candidate = to.variant_id if row.rollout is None else row.rollout.variant_id
    for variant in dict.fromkeys((row.active or to.variant_id, to.variant_id, candidate)):
        told += _end_of_guardrails(turn, row.variants.get(variant, to), f"{to.variant_id} is now active")
    return told + _end_of_alert(turn, to, f"resolved: active again since epoch {epoch} and judged from scratch")


def _change_of_active(
    turn: Turn,
    to: Variant,
    cause: ActivationCause,
    cause_id: str,
    words: str,
    epoch: int,
    *,
    enforced: bool,
    untested: bool = False,
) -> Activation:
    return Activation(
        activation_id=turn.identify("act", cause, to.variant_id),
        from_variant=turn.row.active,
        to_variant=to.variant_id,
        cause=cause,
        cause_id=cause_id,
        reasoning=words,
        enforced=enforced,
        epoch=epoch,
        untested=untested,
        **common(turn),
    )


def decided(turn: Turn, change: c.Decided) -> Sequence[Any]:
    """Return the matrix's decision about a variant; observe mode does not publish it."""
    if turn.rules.mode == "observe":
        return ()
    variant = change.variant
    return (
        Decision(
            decision_id=change.decision_id,
            variant_id=variant.variant_id,
            decision=change.level,
            reasoning=change.words,
            q_value=variant.q,
            n_visits=variant.life.n,
            epoch=turn.row.epoch,
            **common(turn),
        ),
    )


def nothing(_turn: Turn, _change: Any) -> Sequence[Any]:
    """Return no facts: most changes are reported by the snapshot and the result of the command."""
    return ()


# -- rollouts ----------------------------------------------------------------------------------------
def rollout_started(turn: Turn, change: c.RolloutStarted) -> Sequence[Any]:
    """Return the beginning of a rollout, and the end of the alerts about its candidate."""
    row, candidate = turn.row, change.candidate
    step = RolloutStep(
        step_id=turn.identify("step", "started", candidate.variant_id),
        rollout_id=change.rollout_id,
        step="started",
        variant_id=candidate.variant_id,
        control_variant=row.active or "",
        stage=1,
        stages=[share / 1_000 for share in change.shares],
        share=change.shares[0] / 1_000,
        reasoning=change.words,
        actor=change.actor,
        candidate=delivered_as(promise_of(Sums())),
        control=delivered_as(promise_of(Sums())),
        epoch=row.epoch,
        **common(turn),
    )
    told = _end_of_alert(turn, candidate, "resolved: its rollout begins, and it is judged from scratch")
    return [step, *told, *_end_of_guardrails(turn, candidate, "its rollout begins")]


def stage_passed(turn: Turn, change: c.StagePassed) -> Sequence[Any]:
    """Return the next stage of a rollout."""
    return [_rollout_step(turn, "stage_passed", change.actor, change.words, more=1), *_end_of_stall(turn)]


def rollout_paused(turn: Turn, change: c.RolloutPaused) -> Sequence[Any]:
    """Return the pause of a rollout."""
    return (_rollout_step(turn, "paused", change.order.actor, change.order.reason),)


def rollout_resumed(turn: Turn, change: c.RolloutResumed) -> Sequence[Any]:
    """Return the end of a pause."""
    return (_rollout_step(turn, "resumed", change.actor, change.words),)


def rollout_stalled(turn: Turn, change: c.RolloutStalled) -> Sequence[Any]:
    """Return the alert that a stage is not ending by itself."""
    rollout, task = _running(turn), f"{turn.row.agent_name}/{turn.row.task_type}"
    action = (
        f"its rollout waits at {rollout.shares[rollout.stage] / 10:g} % after "
        f"{counted(rollout.candidate.n, 'outcome')} in this stage: {change.words}; "
        f"continue with crl rollout promote {task}, or end it with crl rollout abort {task}"
    )
    return (alert(turn, "rollout_stalled", "warning", action, about=rollout.variant_id, cause_id=rollout.rollout_id),)


def rollout_aborted(turn: Turn, change: c.RolloutAborted) -> Sequence[Any]:
    """Return the end of a rollout; if its candidate is degraded, also the rollback event and the alert about it."""
    rollout, candidate, grounds = _running(turn), change.candidate, change.grounds
    epoch, active = turn.row.epoch + 1, turn.row.active or ""
    rollback_id = None if grounds is None else change.rollback_id
    step = _rollout_step(turn, "aborted", change.actor, change.words, share=0, rollback_id=rollback_id)
    told: list[Any] = [step, *_end_of_stall(turn), *_end_of_alert(turn, candidate, "resolved: its rollout was aborted")]
    told += _end_of_adoption(turn)
    told += _end_of_guardrails(turn, candidate, "its rollout was aborted")
    if grounds is None:
        return told
    event = RollbackEvent(
        rollback_id=change.rollback_id,
        from_variant=candidate.variant_id,
        to_variant=active,
        reason=grounds.reason,
        degradation_metrics=grounds.metrics,
        epoch=epoch,
        enforced=True,
        cause_id=change.alert_id,
        evidence=grounds.evidence,
        judged=grounds.judged,
        candidates=[],
        undo_command=_undo_command(turn, epoch),
        rollout_id=rollout.rollout_id,
        touches=touches(turn.row),
        last_time=last_time(turn.row, "rollback"),
        **common(turn),
    )
    aborted = alert(
        turn,
        "rollout_aborted",
        "critical",
        f"its rollout was aborted at {rollout.shares[rollout.stage] / 10:g} %; all invocations now use {active} again: "
        f"{grounds.reason}",
        about=candidate.variant_id,
        number=grounds.number,
        limit=grounds.limit,
        cause_id=change.rollback_id,
        undo_epoch=epoch,
    )
    return [event, *told, aborted]


def _end_of_rollout(turn: Turn, to: Variant, cause: ActivationCause, words: str) -> list[Any]:
    """Return the end of the rollout in progress, if there is one, because ``to`` becomes active."""
    rollout = turn.row.rollout
    if rollout is None:
        return []
    if cause == "rollout":
        step = _rollout_step(turn, "completed", "monitor", words, share=1_000)
    else:
        share = 1_000 if to.variant_id == rollout.variant_id else 0
        why = f"{to.variant_id} becomes active ({cause}): {words}"
        step = _rollout_step(turn, "ended", "monitor", why, share=share)
    return [step, *_end_of_stall(turn)]


def _end_of_stall(turn: Turn) -> list[Any]:
    rollout = _running(turn)
    if not rollout.stalled:
        return []
    about, cause = rollout.variant_id, rollout.rollout_id
    words = "resolved: the stage has ended"
    return [alert(turn, "rollout_stalled", "info", words, about=about, cause_id=cause, resolved=True)]


def _rollout_step(
    turn: Turn,
    step: Any,
    actor: str,
    words: str,
    *,
    more: int = 0,
    share: int | None = None,
    rollback_id: str | None = None,
) -> RolloutStep:
    """Return a step of the rollout in progress: ``more`` stages further, or to another ``share`` (thousandths)."""
    row, rollout = turn.row, _running(turn)
    stage = rollout.stage + more
    candidate, control = delivered_so_far(row)
    return RolloutStep(
        step_id=turn.identify("step", step, rollout.variant_id),
        rollout_id=rollout.rollout_id,
        step=step,
        variant_id=rollout.variant_id,
        control_variant=row.active or "",
        stage=stage + 1,
        stages=[each / 1_000 for each in rollout.shares],
        share=(rollout.shares[stage] if share is None else share) / 1_000,
        reasoning=words,
        actor=actor,
        candidate=delivered_as(candidate),
        control=delivered_as(control),
        epoch=row.epoch,
        rollback_id=rollback_id,
        **common(turn),
    )


def _running(turn: Turn) -> Rollout:
    rollout: Rollout | None = turn.row.rollout
    assert rollout is not None
    return rollout


# -- facts without a change of state -----------------------------------------------------------------
def untested(turn: Turn, variant_id: str, actor: str, instead_of: str, protection: str, command_id: str) -> Alert:
    """Return the alert that a person has activated a variant without outcomes; ``protection`` is added to its text."""
    return alert(
        turn,
        "untested",
        "warning",
        f"activated by {actor} to replace {instead_of} although it has no outcomes yet; it will be judged once it has "
        f"{turn.policy.degradation.min_recent}{protection}",
        about=variant_id,
        number=0.0,
        cause_id=command_id,
        undo_epoch=turn.row.epoch,
    )


def variant_limit(turn: Turn, variant_id: str) -> Alert:
    """Return the alert that an outcome of a new variant arrived in a task that has reached its variant limit."""
    known, limit = len(turn.row.variants), turn.policy.limits.variants
    return alert(
        turn,
        "variant_limit",
        "warning",
        f"outcomes of {variant_id} are dead-lettered: the task already has {known} variants (limit {limit})",
        number=float(known),
        limit=float(limit),
        cause_id=f"{turn.at.partition}:{turn.at.offset}",
    )


def clock_skew(turn: Turn, skew: float) -> Alert:
    """Return the alert that a runtime's clock differs from the broker's by ``skew`` seconds."""
    limit = turn.rules.max_skew
    return alert(
        turn,
        "clock_skew",
        "warning",
        f"a runtime's clock differs from the broker's by {skew:,.0f} s (limit {limit:,.0f} s)",
        number=skew,
        limit=limit,
        cause_id=f"{turn.at.partition}:{turn.at.offset}",
    )


def command_result(
    turn: Turn, command: Any, outcome: Any, detail: str, proposal_id: str | None = None
) -> CommandResult:
    """Return the result of a command: whether it was applied or refused, and why.

    ``proposal_id`` is the proposal that the command has filed; a review names its own.
    """
    kind = type(command).__name__
    return CommandResult(
        result_id=turn.identify("cmdr", kind, command.command_id),
        command_id=command.command_id,
        command=kind,
        actor=command.actor,
        reason=command.reason,
        outcome=outcome,
        detail=detail,
        epoch=turn.row.epoch,
        proposal_id=getattr(command, "proposal_id", None) if proposal_id is None else proposal_id,
        **common(turn),
    )


def tag_condition(turn: Turn, tag: str, state: Literal["uses", "left", "fell", "recovered"]) -> TagCondition:
    """Return what the task announces about a tag."""
    row, limits = turn.row, turn.policy.common_cause
    return TagCondition(
        condition_id=turn.identify("tag", state, tag),
        tag=tag,
        state=state,
        variant_id=row.active or "",
        limits=TagLimits(tasks=limits.min_tasks, share=limits.share, span_minutes=limits.span_minutes),
        incarnation=row.incarnation,
        **common(turn),
    )


def _conditions(turn: Turn, variant: Variant, state: Literal["fell", "recovered"]) -> list[Any]:
    return [tag_condition(turn, tag, state) for tag in tags_of(variant)]


def stuck(turn: Turn, runtime_id: str, runtime: Runtime, epoch: int) -> Alert:
    """Return the alert that a runtime still works in an older ``epoch``."""
    row = turn.row
    since = (row.time - (row.epoch_since or row.since)) / 1_000
    action = (
        f"runtime {runtime_id} still works in epoch {epoch}, {since:.0f} s and {counted(runtime.late, 'outcome')} "
        f"after {row.active} became active in epoch {row.epoch} ({row.cause}); restart it, or check its connection "
        "to Kafka"
    )
    severity: Severity = "critical" if row.cause in _PROTECTIVE else "warning"
    number, limit = float(runtime.late), float(turn.policy.operations.stuck_invocations)
    return alert(
        turn, "rollback_stuck", severity, action, about=runtime_id, number=number, limit=limit, cause_id=runtime.stuck
    )


_PROTECTIVE: Final = frozenset(("rollback", "rollout_aborted"))
"""Causes of a change that removes a bad variant: a runtime that does not follow still uses it."""


def no_longer_stuck(turn: Turn, runtime_id: str, why: str, cause_id: str) -> Alert:
    """Return the end of the alert that a runtime is stuck."""
    return alert(turn, "rollback_stuck", "info", f"resolved: {why}", about=runtime_id, cause_id=cause_id, resolved=True)


def adoption(turn: Turn, found: Followers, *, complete: bool) -> Adoption:
    """Return how the runtimes followed the latest change of the active variant."""
    row = turn.row
    return Adoption(
        adoption_id=turn.identify("ad", "adoption", str(row.epoch)),
        variant_id=row.active or "",
        epoch=row.epoch,
        cause=row.cause,  # type: ignore[arg-type]
        cause_id=row.cause_id,
        complete=complete,
        expected=found.expected,
        moved=found.moved,
        within_two=found.within_two,
        stuck=found.stuck,
        waiting=found.waiting,
        median_invocations=found.invocations,
        median_milliseconds=found.milliseconds,
        **common(turn),
    )


def _end_of_adoption(turn: Turn) -> list[Any]:
    """Return how far runtimes had followed the epoch that ends now, and the end of the alerts about stuck ones."""
    row = turn.row
    told: list[Any] = [adoption(turn, followers_of(row), complete=False)] if row.adopting else []
    for name, runtime in row.runtimes.items():
        if runtime.stuck:
            told.append(no_longer_stuck(turn, name, "the active variant has changed again", runtime.stuck))
    return told


def receipt(turn: Turn, runtime_id: str, late: int) -> Receipt:
    """Return the receipt of a runtime that first uses the current epoch, after ``late`` outcomes in earlier ones."""
    row, at = turn.row, turn.at
    return Receipt(
        receipt_id=turn.identify("rcpt", "receipt", f"{runtime_id} {row.epoch}"),
        timestamp=to_text(row.time),
        agent_name=row.agent_name,
        task_type=row.task_type,
        runtime_id=runtime_id,
        variant_id=row.active or "",
        epoch=row.epoch,
        late_invocations=late,
        milliseconds=row.time - (row.epoch_since or row.since),
        position=Position(at.partition, at.offset),
    )
