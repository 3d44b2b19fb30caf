"""Applies or refuses operators' commands.  The result says what was done, or why it was refused and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from crl_stream.core import messages as m
from crl_stream.core.figures import counted
from crl_stream.core.ids import name_digest
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.monitor import facts
from crl_stream.core.monitor.changes import (
    Activated,
    GivenUp,
    GuardrailsAccepted,
    Held,
    HoldEnded,
    HoldProlonged,
    LevelAccepted,
    Pinned,
    QuarantineLifted,
    Registered,
    Retired,
    ReviewedRollback,
    Unpinned,
    VerificationEnded,
)
from crl_stream.core.monitor.common_cause import end_of
from crl_stream.core.monitor.decision_matrix import barred, no_rollback, span_of
from crl_stream.core.monitor.dedupe import remember
from crl_stream.core.monitor.filing import check_approval, close_reviewed, file_proposal
from crl_stream.core.monitor.lifecycle import apply, find_past
from crl_stream.core.monitor.past import note_undo
from crl_stream.core.monitor.promise import describe, promise_of
from crl_stream.core.monitor.refusal import Refused, known
from crl_stream.core.monitor.registration import configuration_of, keep, too_large
from crl_stream.core.monitor.rollout_orders import (
    abort_rollout,
    begin_rollout,
    pause_rollout,
    promote_rollout,
    resume_rollout,
    start_rollout,
)
from crl_stream.core.monitor.row import REGISTERED, RETIRED, Review, StandingOrder, Variant
from crl_stream.core.monitor.staging import takes_part
from crl_stream.core.monitor.standing_orders import order_of, stops_all, words_of_fleet
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.variants import add_variant

_MAKES_NONE: Final = frozenset(("promote_variant_to_default", "retire_underperforming_variant", "enforce_task"))
"""Types of proposals that create no variant, so that no variant speaks for them, whatever an approval says."""
_REVIEWED: Final = {
    "confirmed": "is already confirmed",
    "undone": "was undone; there is nothing to confirm",
    "taken_back": "was taken back automatically; there is nothing to confirm",
}
"""Why a rollback cannot be confirmed, by what has happened to it since."""


def apply_command(turn: Turn, command: m.AnyTaskCommand) -> Literal["applied", "duplicate"]:
    """Apply a command or refuse it; a command_id seen before is a duplicate and has no result."""
    row = turn.row
    digest = name_digest(command.command_id)
    if not remember(row.command_ids, digest, turn.policy.limits.command_ids):
        row.duplicates += 1
        return "duplicate"
    outcome: Literal["applied", "refused"] = "applied"
    try:
        if isinstance(command, m.ApproveProposal | m.RejectProposal | m.DeferProposal):
            # Check this before the epoch: a second reviewer should be told about the first review, which may have
            # begun a new epoch.
            _refuse_second(turn, command.proposal_id)
        _check(turn, command)
        running = row.rollout
        detail = _HANDLERS[type(command)](turn, command)
        if running is not None and row.rollout is None and not isinstance(command, m.RolloutCommand):
            detail += f"; the rollout of {running.variant_id} has ended"
    except Refused as refusal:
        outcome, detail = "refused", str(refusal)
    if isinstance(command, m.ApproveProposal | m.RejectProposal | m.DeferProposal):
        _remember_review(turn, command, outcome, detail)
        if outcome == "applied":
            close_reviewed(row, command)
    filed = None
    if outcome == "applied" and isinstance(command, m.ProposeVariant) and row.filings is not None:
        filed = row.filings.open[-1].proposal_id
    turn.facts.append(facts.command_result(turn, command, outcome, detail, filed))
    return "applied"


def _check(turn: Turn, command: m.AnyTaskCommand) -> None:
    row = turn.row
    if command.expires_at is not None and row.time > _instant(command.expires_at):
        raise Refused(f"the command expired at {command.expires_at}; send it again if it is still needed")
    expected = command.expected_epoch
    if expected is not None and expected != row.epoch:
        state = "no variant is active yet"
        if row.active is not None:
            state = f"{row.active} has been active since {to_text(row.since)} ({row.cause})"
        raise Refused(f"the epoch is {row.epoch}, not {expected}: {state}; check the task, then send the command again")


def _instant(text: str) -> int:
    try:
        return from_text(text)
    except ValueError:
        raise Refused(f"{text} is not a valid time; write it like 2025-11-19T14:30:00Z") from None


def _activate_for(turn: Turn, variant_id: str, cause: Any, command: m.AnyTaskCommand) -> Variant:
    row = turn.row
    variant = known(turn, variant_id)
    if variant_id == row.active:
        raise Refused(f"{variant_id} is already the active variant")
    if variant.state == RETIRED:
        raise Refused(f"{variant_id} is retired; register it again first")
    if variant.life.n == 0 and row.active is not None and not getattr(command, "untested", False):
        raise Refused(
            f"{variant_id} has no outcome yet, and {_exploration(turn)}; to give it a small share first: "
            f"crl rollout start {row.agent_name}/{row.task_type} {variant_id}; to use it untested for all invocations: "
            f"crl activate {row.agent_name}/{row.task_type} {variant_id} --untested"
        )
    if variant.quarantined and cause != "approval":
        raise Refused(
            f"{variant_id} is quarantined after a rollback; run crl quarantine lift {row.agent_name}/{row.task_type} "
            f"{variant_id} first, or crl undo if that rollback is the latest change"
        )
    untested = variant.life.n == 0
    words = command.reason or f"requested by {command.actor}"
    if untested:
        words += " (untested: no outcome yet)"
    left = row.active
    apply(turn, [QuarantineLifted(variant), Activated(variant, cause, command.command_id, words, untested)])
    if untested and left is not None:
        unprotected = _unprotected(turn)
        turn.facts.append(facts.untested(turn, variant_id, command.actor, left, unprotected, command.command_id))
    return variant


def _exploration(turn: Turn) -> str:
    """Describe whether runtimes will explore a variant that has no outcomes yet."""
    share = turn.policy.operations.exploration
    if share:
        return f"runtimes explore it and other variants in {share * 100:g} % of invocations (operations.exploration)"
    return "exploration is off (operations.exploration is 0)"


def _activate_variant(turn: Turn, command: m.ActivateVariant) -> str:
    untested = "" if _activate_for(turn, command.variant_id, "command", command).life.n else "; it has no outcome yet"
    return f"{command.variant_id} is active, epoch {turn.row.epoch}{untested}{_unprotected(turn)}"


def _unprotected(turn: Turn) -> str:
    """Return the warning that the new active variant cannot be rolled back automatically; empty if it can."""
    why = no_rollback(turn.row, turn.policy, turn.at.fleet)
    return "" if why is None else f"; no automatic rollback: {why}"


def _no_promotion(turn: Turn) -> str:
    """Return what still blocks promotions after a pin, hold or quarantine has been lifted; empty if nothing does."""
    block = barred(turn.row, turn.policy, turn.at.fleet)
    if block is None and turn.rules.mode == "shadow":
        return "; nothing is promoted: shadow mode"
    return "" if block is None else f"; nothing is promoted yet: {block}"


def _undo(turn: Turn, command: m.UndoRollback) -> str:
    row = turn.row
    if row.cause == "rollout_aborted":
        return _undo_abort(turn, command)
    if row.cause == "undo" and row.previous is not None:
        raise Refused(
            f"the latest change is itself an undo; to make {row.previous} active again: crl activate "
            f"{row.agent_name}/{row.task_type} {row.previous}"
        )
    if row.previous is None:
        raise Refused(f"there is no change to undo (latest change: {row.cause or 'none'})")
    taken_back = row.cause in {"rollback_verified_worse", "common_cause"}
    if taken_back and command.rollback_id == row.cause_id:
        raise Refused(
            f"{command.rollback_id} was taken back automatically; undo the latest change without naming it to "
            "repeat the rollback"
        )
    latest = row.rollback_id or row.cause_id
    if command.rollback_id is not None and command.rollback_id != latest:
        raise Refused(f"{command.rollback_id} is not the latest change, which is {latest}")
    undone = f"the taking back of {row.cause_id}" if taken_back else row.rollback_id or row.cause
    back = row.previous
    variant = known(turn, back)
    if variant.state == RETIRED:
        raise Refused(f"{back} is retired; register it again first")
    if row.rollback_id is not None:
        apply(turn, [ReviewedRollback(row.rollback_id, "undone", command.actor)])
    words = command.reason or f"undone by {command.actor}"
    note_undo(row, command.actor)
    apply(turn, [QuarantineLifted(variant), Activated(variant, "undo", command.command_id, words)])
    done, hold = f"{undone} undone: {back} is active, epoch {row.epoch}", turn.policy.rollback.undo_hold
    if row.held is None:
        if hold:
            order = StandingOrder(command.actor, f"undo of {undone}", row.time, until_n=row.n + hold, variant_id=back)
            apply(turn, [Held(order)])
        fleet = turn.at.fleet
        more = "" if fleet is None else f"; {words_of_fleet(fleet, 'also')} {span_of(fleet, row)}"
        held = f"; no automatic changes for {counted(hold, 'outcome')}" if hold else _unprotected(turn)
        return f"{done}{held}{more if hold else ''}"
    if hold:
        apply(turn, [HoldProlonged(row.n + hold)])
        return f"{done}; still held by {row.held.actor}, for at least {counted(hold, 'outcome')}"
    return f"{done}{_unprotected(turn)}"


def _undo_abort(turn: Turn, command: m.UndoRollback) -> str:
    row = turn.row
    past = find_past(row, row.rollback_id)
    again = f"crl rollout start {row.agent_name}/{row.task_type}"
    if past is None:
        raise Refused(
            f"the latest change is a rollout that a person aborted or that ended by itself; begin another: {again}"
        )
    if command.rollback_id is not None and command.rollback_id != row.rollback_id:
        raise Refused(f"{command.rollback_id} is not the latest change, which is {row.rollback_id}")
    if past.review == "undone":
        raise Refused(f"{past.rollback_id} was already undone; to begin again: {again} {past.from_variant}")
    variant = known(turn, past.from_variant)
    apply(turn, [ReviewedRollback(past.rollback_id, "undone", command.actor), QuarantineLifted(variant)])
    done = f"{past.rollback_id} undone: {past.from_variant} may be chosen again"
    return f"{done}; to begin again: {again} {past.from_variant}"


def _confirm(turn: Turn, command: m.ConfirmRollback) -> str:
    row = turn.row
    past = find_past(row, command.rollback_id)
    if past is None:
        known = ", ".join(one.rollback_id for one in reversed(row.rollbacks)) or "none"
        raise Refused(f"{command.rollback_id} is not one of the task's recent rollbacks (newest first: {known})")
    if past.review:
        raise Refused(f"{command.rollback_id} {_REVIEWED[past.review]}")
    apply(turn, [ReviewedRollback(past.rollback_id, "confirmed", command.actor)])
    if row.left is not None and row.left.rollback_id == past.rollback_id:
        apply(turn, [VerificationEnded()])  # a person's word stands
    variant = row.variants.get(past.from_variant)
    stays = variant is not None and variant.quarantined
    return f"{command.rollback_id} reviewed; {past.from_variant} {'stays' if stays else 'is no longer'} quarantined"


def _pin(turn: Turn, command: m.PinVariant) -> str:
    row = turn.row
    if row.active is None and command.variant_id is None:
        raise Refused("no variant is active yet; name the one to pin")
    if command.variant_id is not None and command.variant_id != row.active:
        _activate_for(turn, command.variant_id, "command", command)
    order = order_of(row, command, turn.policy.operations.pin_hours, row.active)
    apply(turn, [Pinned(order)])
    protects = _unprotected(turn) or "; it can still be rolled back"
    return f"{row.active} pinned until {to_text(order.until or 0)}{protects}"


def _unpin(turn: Turn, _: m.UnpinVariant) -> str:
    row = turn.row
    if row.pinned is None:
        raise Refused("the task has no pin")
    apply(turn, [Unpinned()])
    return f"unpinned{_no_promotion(turn)}"


def _hold(turn: Turn, command: m.HoldTask) -> str:
    row = turn.row
    before = row.held
    order = order_of(row, command, turn.policy.operations.hold_hours, None)
    apply(turn, [Held(order)])
    text = f"held until {to_text(order.until or 0)}"
    if before is not None and before.until_n is not None:
        apply(turn, [HoldProlonged(before.until_n)])
        if (left := before.until_n - row.n) > 0:
            text += f", and for the {counted(left, 'outcome')} left of the hold after an undo"
    if (fleet := turn.at.fleet) is not None:
        text += f"; {words_of_fleet(fleet, 'also')} {span_of(fleet, row)}"
    return f"{text}; no automatic changes, but alerts continue"


def _resume(turn: Turn, command: m.ResumeTask) -> str:
    row = turn.row
    fleet = turn.at.fleet
    stays = (
        ""
        if fleet is None or not stops_all(fleet)
        else f"the fleet is held by {fleet.actor} until {to_text(fleet.until or 0)}; crl resume --all releases it"
    )
    incident = row.incident
    if row.held is None and incident is None:
        raise Refused(f"the task itself is not held; {stays}" if stays else "the task is not held")
    if row.held is not None:
        apply(turn, [HoldEnded()])
    if incident is not None:
        apply(turn, [end_of(turn, incident, f"ended by {command.actor}", stays=True)])
    return f"resumed, but still held: {stays}" if stays else f"resumed{_no_promotion(turn)}"


def _lift(turn: Turn, command: m.LiftQuarantine) -> str:
    variant = known(turn, command.variant_id)
    if not variant.quarantined:
        raise Refused(f"{command.variant_id} is not quarantined")
    apply(turn, [QuarantineLifted(variant)])
    return f"{command.variant_id} may be chosen again{_no_promotion(turn)}"


def _register(turn: Turn, command: m.RegisterVariant | m.Change, command_id: str) -> str:
    row = turn.row
    variant = row.variants.get(command.variant_id)
    if variant is not None and variant.state == REGISTERED and variant.life.n:
        raise Refused(f"{command.variant_id} is already registered and has outcomes; choose a new variant_id")
    configuration = configuration_of(command)
    if variant is not None and (changed := keep(variant.configuration, configuration)) is not None:
        raise Refused(f"the {changed} of {command.variant_id} is set and never changes; choose a new variant_id")
    if why := too_large(row, command.variant_id, configuration):
        raise Refused(why)
    if variant is None:
        variant = add_variant(turn, command.variant_id)
        if variant is None:
            raise Refused(
                f"the task already has {len(row.variants)} variants (limit {turn.policy.limits.variants}); "
                "retire one first"
            )
    apply(turn, [Registered(variant, configuration, command_id)])
    if turn.policy.operations.exploration:
        return f"{command.variant_id} registered; {_exploration(turn)}"
    return (
        f"{command.variant_id} registered; {_exploration(turn)}, so no runtime will try it. Raise that share, or give "
        f"the variant a small one: crl rollout start {row.agent_name}/{row.task_type} {command.variant_id}"
    )


def _retire(turn: Turn, command: m.RetireVariant | m.Change, command_id: str) -> str:
    variant = known(turn, command.variant_id)
    if command.variant_id == turn.row.active:
        raise Refused(f"{command.variant_id} is active; activate another variant first")
    if takes_part(turn.row, variant):
        raise Refused(
            f"{command.variant_id} is being rolled out; first: crl rollout abort "
            f"{turn.row.agent_name}/{turn.row.task_type}"
        )
    if variant.state == RETIRED:
        raise Refused(f"{command.variant_id} is already retired")
    apply(turn, [Retired(variant, command_id), GivenUp(variant, "retired")])
    return f"{command.variant_id} retired"


def _accept(turn: Turn, command: m.AcceptLevel) -> str:
    row, rules = turn.row, turn.rules
    variant_id = command.variant_id if command.variant_id is not None else row.active
    if variant_id is None:
        raise Refused("no variant is active yet; name the one whose level you accept")
    variant = known(turn, variant_id)
    if takes_part(row, variant):
        raise Refused(f"{variant_id} is being rolled out, so it is compared with {row.active}")
    if not variant.degraded:
        metrics = [name for name, gauge in variant.gauges.items() if gauge.open_alert]
        if not metrics:
            raise Refused(f"{variant_id} is not degraded, so its baseline stays")
        apply(turn, [GuardrailsAccepted(variant, command.actor)])
        return f"the present {' and '.join(metrics)} of {variant_id} is its new baseline"
    if rules.size < rules.min_baseline:
        raise Refused(
            f"a baseline needs {rules.min_baseline} outcomes and a window has {rules.size}; raise "
            "degradation.lookback_window or lower degradation.min_baseline"
        )
    if not variant.judged.successes:
        raise Refused(
            f"{variant_id} has no success in {counted(variant.judged.n, 'outcome')}, so there is no level to accept"
        )
    if variant.judged.n < rules.min_baseline:
        raise Refused(
            f"{variant_id} has {counted(variant.judged.n, 'outcome')} since its last activation, and a baseline needs "
            f"{rules.min_baseline}; try again later"
        )
    level = promise_of(variant.judged)
    apply(turn, [LevelAccepted(variant, command.actor)])
    return f"{variant_id} is now compared with its last {counted(level.n, 'outcome')}: {describe(level)}"


def _refuse_second(turn: Turn, proposal_id: str) -> None:
    """Refuse a second review of a proposal: the first one counts, unless it was refused or only a deferral."""
    for review in turn.row.reviews:
        if review.proposal_id == proposal_id and review.outcome == "applied" and review.review != "deferred":
            why = f": {review.reason}" if review.reason else ""
            raise Refused(f"{proposal_id} was already {review.review} by {review.actor} at {to_text(review.time)}{why}")


def _approve(turn: Turn, command: m.ApproveProposal) -> str:
    if command.valid_until is not None and turn.row.time > _instant(command.valid_until):
        raise Refused(
            f"{command.proposal_id} was valid until {command.valid_until}; wait for a new proposal, "
            "or send the command yourself if the change is still needed"
        )
    check_approval(turn.row, command, four_eyes=turn.policy.review.four_eyes)
    change = command.change
    if change.action == "register":
        done = _register(turn, change, command.command_id)
        kind = command.proposal_type
        turn.row.variants[change.variant_id].proposed_as = "" if kind is None or kind in _MAKES_NONE else kind
        return f"{command.proposal_id} approved: {done}"
    if change.action == "retire":
        return f"{command.proposal_id} approved: {_retire(turn, change, command.command_id)}"
    if change.action == "enforce":
        return f"{command.proposal_id} approved: {_enforce(turn)}"
    if (pin := turn.row.pinned) is not None:
        raise Refused(f"{pin.variant_id} is pinned by {pin.actor}, so nothing is promoted; unpin the task first")
    variant = known(turn, change.variant_id)
    reinstated = variant.quarantined
    if turn.rules.shares and turn.rules.enforced and turn.row.active is not None:
        began = begin_rollout(turn, variant, command, cause="approval")
        return f"{command.proposal_id} approved: {began}" + ("; it is no longer quarantined" if reinstated else "")
    _activate_for(turn, change.variant_id, "approval", command)
    done = f"{command.proposal_id} approved: {change.variant_id} is active, epoch {turn.row.epoch}"
    lifted = "; it is reinstated and no longer quarantined" if reinstated else ""
    return f"{done}{lifted}{_unprotected(turn)}"


def _enforce(turn: Turn) -> str:
    """Return which setting the operator must change: the approval itself cannot change the policy of the fleet."""
    if turn.rules.enforced:
        raise Refused("the policy already enforces the task's rollbacks")
    setting = f'tasks."{turn.row.key}".operations.mode'
    return f'rollbacks are enforced as soon as the policy has {setting} = "enforce"'


def _reject(_: Turn, command: m.RejectProposal) -> str:
    return f"{command.proposal_id} rejected"


def _defer(turn: Turn, command: m.DeferProposal) -> str:
    if command.until is not None and _instant(command.until) <= turn.row.time:
        raise Refused(f"{command.until} has already passed; give a later time, or none to defer until the next review")
    return f"{command.proposal_id} deferred" + (f" until {command.until}" if command.until else "")


def _remember_review(turn: Turn, command: Any, outcome: str, detail: str) -> None:
    name: dict[type, str] = {m.ApproveProposal: "approved", m.RejectProposal: "rejected", m.DeferProposal: "deferred"}
    row = turn.row
    review = Review(
        command.proposal_id,
        name[type(command)],
        outcome,
        command.actor,
        command.reason,
        detail,
        row.time,
        command.command_id,
        getattr(command, "until", None),
    )
    reviews = [*row.reviews, review]
    while len(reviews) > turn.policy.limits.reviews:
        # Drop refused reviews first: they must not push out the review that took effect.
        del reviews[next((at for at, one in enumerate(reviews) if one.outcome == "refused"), 0)]
    row.reviews = reviews


_HANDLERS: Final[dict[type, Callable[[Turn, Any], str]]] = {
    m.ActivateVariant: _activate_variant,
    m.UndoRollback: _undo,
    m.ConfirmRollback: _confirm,
    m.PinVariant: _pin,
    m.UnpinVariant: _unpin,
    m.HoldTask: _hold,
    m.ResumeTask: _resume,
    m.LiftQuarantine: _lift,
    m.AcceptLevel: _accept,
    m.StartRollout: start_rollout,
    m.PauseRollout: pause_rollout,
    m.ResumeRollout: resume_rollout,
    m.PromoteRollout: promote_rollout,
    m.AbortRollout: abort_rollout,
    m.RegisterVariant: lambda turn, command: _register(turn, command, command.command_id),
    m.RetireVariant: lambda turn, command: _retire(turn, command, command.command_id),
    m.ProposeVariant: file_proposal,
    m.ApproveProposal: _approve,
    m.RejectProposal: _reject,
    m.DeferProposal: _defer,
}
