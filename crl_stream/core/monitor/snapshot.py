"""Builds the records that state what is true about a task now, for the compacted topics and the web views."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct as Layout
from typing import Final, Literal

import msgspec

from crl_stream.core.instant import to_text
from crl_stream.core.messages import (
    ActiveRollout,
    ActiveVariant,
    AdoptionSnapshot,
    BaselineSnapshot,
    CommonCause,
    FailureKinds,
    GuardrailLevel,
    JudgeScale,
    KeptPromises,
    Modification,
    OneRuntime,
    Order,
    Position,
    ProposalLimits,
    RegisteredVariant,
    ReviewResult,
    RollbackScorecard,
    RolloutSnapshot,
    RuntimeBehind,
    TaskSnapshot,
    UnreviewedRollback,
    VariantCatalogue,
    VariantConfiguration,
    VariantSnapshot,
    Verification,
    WindowSnapshot,
)
from crl_stream.core.messages.parts import Stops
from crl_stream.core.monitor import gauges
from crl_stream.core.monitor.adoption import followers_of
from crl_stream.core.monitor.decision_matrix import (
    cooldown_left,
    decide,
    no_rollback,
    not_applied,
    reasoning,
)
from crl_stream.core.monitor.evidence import e_value
from crl_stream.core.monitor.filing import proposal_in
from crl_stream.core.monitor.grounds import sentence, source_of
from crl_stream.core.monitor.pace import touches
from crl_stream.core.monitor.past import last_times
from crl_stream.core.monitor.promise import Promise, delivered_as
from crl_stream.core.monitor.rollout import WHOLE, is_offered, waits_for, weights_of
from crl_stream.core.monitor.row import (
    ERROR,
    FAILED,
    JUDGED,
    MICRO,
    REGISTERED,
    RETIRED,
    SIZE,
    SUCCESS,
    Configuration,
    Judge,
    Kept,
    Rollout,
    StandingOrder,
    TaskRow,
    Variant,
)
from crl_stream.core.monitor.rules import Rules, rules_of
from crl_stream.core.monitor.scorecard import horizon
from crl_stream.core.monitor.staging import delivered_so_far
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.core.monitor.tags import covered
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.monitor.verdict import is_newcomer, judge, own_baseline_of
from crl_stream.core.policy import Policy
from crl_stream.core.version import ENGINE_VERSION


def task_snapshot(row: TaskRow, at: Context, policy: Policy) -> TaskSnapshot:
    """Return the task as it is after the message at ``at``."""
    behind = _behind(row)
    return TaskSnapshot(
        agent_name=row.agent_name,
        task_type=row.task_type,
        timestamp=to_text(row.time),
        as_of=Position(at.partition, at.offset),
        incarnation=row.incarnation,
        active_variant=row.active,
        epoch=row.epoch,
        mode=policy.operations.mode,
        pinned=_order(row, row.pinned, stops="promotions"),
        held=_hold(row, at.fleet),
        cooldown_left=cooldown_left(row, policy),
        no_target=row.no_target_n >= 0,
        n_outcomes=row.n,
        n_duplicates=row.duplicates,
        n_amended=row.amended,
        n_skewed=row.skewed,
        variants=[_variant(row, row.variants[name], policy, at) for name in sorted(row.variants)],
        reviews=[
            ReviewResult(
                proposal_id=r.proposal_id,
                review=r.review,  # type: ignore[arg-type]
                outcome=r.outcome,  # type: ignore[arg-type]
                actor=r.actor,
                reason=r.reason,
                detail=r.detail,
                timestamp=to_text(r.time),
                command_id=r.command_id,
                until=r.until,
            )
            for r in row.reviews
        ],
        runtimes=len(row.runtimes),
        runtimes_current=sum(runtime.epoch == row.epoch for runtime in row.runtimes.values()),
        policy_hash=at.policy_hash,
        engine_version=ENGINE_VERSION,
        proposal_limits=ProposalLimits(
            **msgspec.structs.asdict(policy.proposals),
            max_variants=policy.limits.variants,
            staged=bool(policy.rollout.stages) and policy.operations.mode == "enforce",
        ),
        fleet_held=_fleet_order(row, at.fleet),
        active_since=None if row.active is None else to_text(row.since),
        runtimes_behind=behind,
        n_feedback_too_late=row.too_late,
        n_feedback_waiting=len(row.waiting),
        n_feedback_unmatched=row.unmatched,
        runtimes_forgotten=row.forgotten,
        no_rollback=None if row.active is None else no_rollback(row, policy, at.fleet),
        verification=_verification(row, rules_of(policy)),
        common_cause=_common_cause(row),
        rollout=None if row.rollout is None else _rollout(row, row.rollout, at, policy),
        scorecard=None if row.card is None else _scorecard(row, rules_of(policy)),
        one_runtime=_one_runtime(row),
        adoption=_adoption(row),
        promotions=None if row.promotions is None else _kept(row.promotions),
        benefits=_benefits(row),
        filed=[] if row.filings is None else [proposal_in(filed) for filed in row.filings.open],
        judges=[_scale(name, judge) for name, judge in row.judges.items()] or None,
        touches=touches(row),
        last_times=last_times(row),
        unreviewed=[
            UnreviewedRollback(rollback_id=one.rollback_id, from_variant=one.from_variant, since=to_text(one.time))
            for one in row.rollbacks
            if not one.review and one.time
        ],
    )


def _adoption(row: TaskRow) -> AdoptionSnapshot | None:
    found = followers_of(row)
    if not found.expected:
        return None
    return AdoptionSnapshot(
        expected=found.expected,
        moved=found.moved,
        within_two=found.within_two,
        stuck=len(found.stuck),
        median_invocations=found.invocations,
        median_milliseconds=found.milliseconds,
    )


def _scale(name: str, judge: Judge) -> JudgeScale:
    quality, reward = judge.quality.shift, judge.reward.shift
    return JudgeScale(
        evaluator=name,
        quality_shift=None if quality is None else quality / MICRO,
        reward_shift=None if reward is None else reward / MICRO,
    )


def _one_runtime(row: TaskRow) -> OneRuntime | None:
    found = row.one_runtime
    if found is None:
        return None
    return OneRuntime(
        runtime_id=found.runtime_id,
        metric=found.metric,
        share=found.share / MICRO,
        outcomes=found.outcomes,
        judged=found.judged,
        other_runtimes=found.others,
        other_outcomes=found.other_outcomes,
        text=found.words,
    )


def _verification(row: TaskRow, rules: Rules) -> Verification | None:
    left = row.left
    if left is None or row.active is None:
        return None
    promised = Promise(left.n, left.value, left.successes, left.flawless)
    return Verification(
        rollback_id=left.rollback_id,
        left_variant=left.variant_id,
        left_success_rate=promised.success_rate,
        left_avg_reward=promised.reward,
        left_error_rate=promised.error_rate,
        outcomes=row.variants[row.active].judged.n,
        outcomes_needed=rules.size,
    )


def _rollout(row: TaskRow, rollout: Rollout, at: Context, policy: Policy) -> RolloutSnapshot:
    candidate, control = delivered_so_far(row)
    return RolloutSnapshot(
        rollout_id=rollout.rollout_id,
        variant_id=rollout.variant_id,
        control_variant=row.active or "",
        stage=rollout.stage + 1,
        stages=[share / WHOLE for share in rollout.shares],
        share=rollout.shares[rollout.stage] / WHOLE,
        since=to_text(rollout.since),
        stage_since=to_text(rollout.stage_since),
        actor=rollout.actor,
        outcomes=rollout.candidate.n,
        outcomes_needed=rollout.min_outcomes,
        candidate=delivered_as(candidate),
        control=delivered_as(control),
        paused=_order(row, rollout.paused),
        waits_for=waits_for(row, policy, at.fleet) or "the next outcome",
    )


def _scorecard(row: TaskRow, rules: Rules) -> RollbackScorecard | None:
    """Return the scorecard under the settings in force; None if there is none."""
    card, watched = row.card, row.watched
    if card is None or card.judging != rules.judging:
        return None
    active = None if watched is None else row.variants.get(watched.variant_id)
    return RollbackScorecard(
        judged=card.right + card.wrong,
        right=card.right,
        wrong=card.wrong,
        open=card.open,
        avoidable=card.avoidable,
        caused=card.caused,
        outcomes=card.outcomes,
        watched=None if watched is None else watched.rollback_id,
        watched_outcomes=0 if watched is None or active is None else active.life.n - watched.started.n,
        outcomes_needed=0 if watched is None else horizon(rules),
    )


def _benefits(row: TaskRow) -> dict[str, KeptPromises] | None:
    found = {name: _kept(kept) for name, kept in sorted(row.kept.items())}
    if row.promotions is not None:
        found["promote_variant_to_default"] = _kept(row.promotions)
    return found or None


def _kept(kept: Kept) -> KeptPromises:
    judged = kept.helped + kept.no_change + kept.hurt
    return KeptPromises(judged=judged, helped=kept.helped, no_change=kept.no_change, hurt=kept.hurt)


def _common_cause(row: TaskRow) -> CommonCause | None:
    incident = row.incident
    if incident is None:
        return None
    return CommonCause(
        incident_id=incident.incident_id,
        tag=incident.tag,
        since=to_text(incident.since),
        until=to_text(incident.until),
        outcomes_left=max(0, incident.until_n - row.n),
        variants=[variant.variant_id for variant in covered(row, incident.tag)],
    )


def _behind(row: TaskRow) -> list[RuntimeBehind]:
    """Return the runtimes behind the current epoch; they are few and soon catch up, so snapshots stay small."""
    late = sorted((name, runtime) for name, runtime in row.runtimes.items() if runtime.epoch < row.epoch)
    return [
        RuntimeBehind(
            runtime_id=name,
            epoch=runtime.epoch,
            late_invocations=runtime.late,
            last_seen=to_text(runtime.seen) if runtime.seen else None,
            stuck=bool(runtime.stuck),
        )
        for name, runtime in late
    ]


def active_variant(turn: Turn) -> ActiveVariant:
    """Return the record that runtimes follow; the row must have an active variant."""
    row, at, operations = turn.row, turn.at, turn.policy.operations
    assert row.active is not None
    return ActiveVariant(
        agent_name=row.agent_name,
        task_type=row.task_type,
        variant_id=row.active,
        epoch=row.epoch,
        previous_variant=row.previous,
        quarantined=sorted(v.variant_id for v in row.variants.values() if v.quarantined),
        pinned=_order(row, row.pinned, stops="promotions"),
        held=_hold(row, at.fleet),
        exploration=operations.exploration,
        mode=operations.mode,
        since=to_text(row.since),
        cause=row.cause,  # type: ignore[arg-type]
        cause_id=row.cause_id,
        incarnation=row.incarnation,
        position=Position(at.partition, at.offset),
        policy_hash=at.policy_hash,
        engine_version=ENGINE_VERSION,
        fleet_held=_fleet_order(row, at.fleet),
        weights=weights_of(row, operations.exploration),
        rollout=None
        if row.rollout is None
        else ActiveRollout(
            rollout_id=row.rollout.rollout_id,
            variant_id=row.rollout.variant_id,
            stage=row.rollout.stage + 1,
            stages=len(row.rollout.shares),
            paused=row.rollout.paused is not None,
        ),
        on_change=operations.on_change,
    )


def variant_catalogue(turn: Turn) -> VariantCatalogue:
    """Return the variants of the task with what is known about their configuration.

    Variants with only shadow outcomes are left out, because runtimes explore every listed variant in live invocations.
    """
    row, at = turn.row, turn.at
    offered = filter(is_offered, row.variants.values())
    return VariantCatalogue(
        agent_name=row.agent_name,
        task_type=row.task_type,
        timestamp=to_text(row.time),
        variants=[_registered(v) for v in sorted(offered, key=lambda v: v.variant_id)],
        incarnation=row.incarnation,
        position=Position(at.partition, at.offset),
    )


def _registered(variant: Variant) -> RegisteredVariant:
    known = variant.configuration or Configuration()
    state = {REGISTERED: "registered", RETIRED: "retired"}.get(variant.state, "seen")
    return RegisteredVariant(
        variant_id=variant.variant_id,
        state=state,  # type: ignore[arg-type]
        quarantined=variant.quarantined,
        parent=known.parent,
        model_tier=known.model_tier,
        provider=known.provider,
        model=known.model,
        temperature=known.temperature,
        modifications=msgspec.json.decode(known.modifications, type=list[Modification]),
        configuration=msgspec.json.decode(known.content) if known.content else None,
        ref=known.ref,
    )


def _hold(row: TaskRow, fleet: StandingOrder | None) -> Order | None:
    """Return the task's own hold, or else the fleet's, so that one field shows readers whether the task is held.

    A hold that stops only promotions is shown by ``fleet_held`` alone, because rollbacks still happen.
    """
    if row.held is None:
        return _fleet_order(row, fleet) if stops_all(fleet) else None
    return _order(row, row.held)


def _fleet_order(row: TaskRow, fleet: StandingOrder | None) -> Order | None:
    return None if fleet is None else _order(row, fleet, "fleet", fleet.stops)


def _order(
    row: TaskRow, order: StandingOrder | None, scope: Literal["task", "fleet"] = "task", stops: Stops = "all"
) -> Order | None:
    if order is None:
        return None
    return Order(
        scope=scope,
        stops=stops,
        actor=order.actor,
        reason=order.reason,
        since=to_text(order.since),
        until=None if order.until is None else to_text(order.until),
        outcomes_left=None if order.until_n is None else max(0, order.until_n - row.n),
        variant_id=order.variant_id,
    )


def _variant(row: TaskRow, variant: Variant, policy: Policy, at: Context) -> VariantSnapshot:
    life, shadow, rules = variant.life, variant.shadow, rules_of(policy)
    n = life.n or 1
    active = variant.variant_id == row.active
    window = _NO_WINDOW if at.brief else _window(variant)
    configuration, baseline = _configuration(variant), None if at.brief else _baseline(variant, rules)
    verdict, mean = judge(variant, rules), life.reward / MICRO / n
    return VariantSnapshot(
        variant_id=variant.variant_id,
        active=active,
        quarantined=variant.quarantined,
        retired=variant.state == RETIRED,
        q_value=variant.q,
        n_visits=life.n,
        success_rate=life.successes / n,
        avg_reward=mean,
        error_rate=life.errors / n,
        reward_variance=max(0.0, life.squares / MICRO / n - mean * mean),
        window=window,
        verdict=verdict.kind,
        reason="" if at.brief else sentence(variant, verdict, rules),
        degraded=variant.degraded,
        e_value=0.0 if at.brief else e_value(variant),
        decision=decide(variant, active=active, policy=policy),
        reasoning=reasoning(variant, active=active, policy=policy),
        rollbacks=variant.rollbacks,
        failure_kinds=FailureKinds(
            errors=life.errors,
            failures=variant.failures,
            slow=variant.slow,
            low_quality=variant.low_quality,
        ),
        shadow_n=shadow.n,
        shadow_success_rate=shadow.successes / (shadow.n or 1),
        shadow_avg_reward=shadow.reward / MICRO / (shadow.n or 1),
        configuration=configuration,
        baseline=baseline,
        degraded_at=None if variant.degraded_at < 0 else variant.degraded_at,
        feedback_too_late=variant.too_late,
        not_applied=None if at.brief else not_applied(row, variant, policy, at.fleet),
        degraded_since=to_text(variant.degraded_since) if variant.degraded and variant.degraded_since else None,
        guardrails=None if at.brief or not variant.gauges else _guardrails(variant, rules),
    )


def _baseline(variant: Variant, rules: Rules) -> BaselineSnapshot | None:
    frozen = variant.baseline if is_newcomer(variant, rules) else None
    if frozen is None and not rules.recent and variant.origin is None:
        return None
    sums = own_baseline_of(variant, rules) if frozen is None else frozen.sums
    n = sums.n or 1
    return BaselineSnapshot(
        variant_id=variant.variant_id if frozen is None else frozen.variant_id,
        n=sums.n,
        success_rate=sums.successes / n,
        avg_reward=sums.reward / MICRO / n,
        error_rate=sums.errors / n,
        source=source_of(variant, rules),
    )


def _guardrails(variant: Variant, rules: Rules) -> dict[str, GuardrailLevel]:
    found = {}
    for name, gauge in variant.gauges.items():
        base, lately, sign = gauges.baseline_of(gauge, rules.gauge_memory), gauges.recent_of(gauge), gauge.sign
        found[name] = GuardrailLevel(
            recent=None if lately is None else sign * lately.mean,
            outcomes=0 if lately is None else lately.n,
            baseline=None if base is None else sign * base.total / base.n,
            e_value=gauges.e_value(gauge),
            broken=bool(gauge.open_alert),
        )
    return found


def _configuration(variant: Variant) -> VariantConfiguration | None:
    known = variant.configuration
    if known is None:
        return None
    return VariantConfiguration(
        parent=known.parent,
        model_tier=known.model_tier,
        provider=known.provider,
        model=known.model,
        temperature=known.temperature,
        ref=known.ref,
    )


_NO_WINDOW: Final = WindowSnapshot(
    size=0, judged=0, success_rate=0.0, avg_reward=0.0, error_rate=0.0, outcomes="", rewards=[], offsets=[]
)


def _window(variant: Variant) -> WindowSnapshot:
    """Return the window as columns; each variant in a snapshot has one, so this has to be fast."""
    window = variant.window
    size = len(window) // SIZE
    columns = _columns_of(size).unpack(window)
    rewards = columns[1::2]
    flags = window[SIZE - 1 :: SIZE]
    outcomes, errors = flags.translate(_OUTCOME_LETTERS).decode(), flags.translate(_ERROR_LETTERS).decode()
    n = size or 1
    return WindowSnapshot(
        size=size,
        judged=variant.judged.n,
        success_rate=outcomes.count("S") / n,
        avg_reward=sum(rewards) / MICRO / n,
        error_rate=errors.count("E") / n,
        outcomes=outcomes,
        rewards=[reward / MICRO for reward in rewards],
        offsets=list(columns[::2]),
        judged_outcomes=flags.translate(_JUDGED_LETTERS).decode(),
        error_outcomes=errors,
    )


@lru_cache
def _columns_of(size: int) -> Layout:
    """Return the layout that reads the offset and reward of each of ``size`` consecutive ``OUTCOME`` records."""
    return Layout("<" + "q8xi10x" * size)


def _letters(letter: Callable[[int], str]) -> bytes:
    return "".join(map(letter, range(256))).encode()


_OUTCOME_LETTERS: Final = _letters(lambda flags: "S" if flags & SUCCESS else "E" if flags & FAILED else "F")
_JUDGED_LETTERS: Final = _letters(lambda flags: "J" if flags & JUDGED else "-")
_ERROR_LETTERS: Final = _letters(lambda flags: "E" if flags & ERROR else "-")
"""The letter for each value of the flags, which are the last byte of an outcome."""
