"""Records an outcome: its variant, its reward, and what it adds to lifetime, window, Q and evidence."""

from __future__ import annotations

from typing import Literal

from crl_stream.core.ids import name_digest
from crl_stream.core.messages import Invocation
from crl_stream.core.monitor import gauges
from crl_stream.core.monitor.changes import Activated, GuardrailKept, HoldEnded
from crl_stream.core.monitor.dedupe import is_known, new_mark, remember
from crl_stream.core.monitor.evidence import update
from crl_stream.core.monitor.feedback import settle_waiting
from crl_stream.core.monitor.judges import as_known, on_scale
from crl_stream.core.monitor.learning import reward_of, speed_of
from crl_stream.core.monitor.lifecycle import apply
from crl_stream.core.monitor.row import (
    ABSENT,
    ERROR,
    EXPLICIT,
    FAILED,
    JUDGED,
    MICRO,
    RETIRED,
    SUCCESS,
    Gauge,
    Sums,
    Variant,
)
from crl_stream.core.monitor.runtimes import follow_runtime, watch_clock
from crl_stream.core.monitor.sources import attribute
from crl_stream.core.monitor.staging import stage
from crl_stream.core.monitor.standing_orders import is_over
from crl_stream.core.monitor.tags import note_tags
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.variants import add_variant
from crl_stream.core.monitor.window import count_flaws, pack_outcome, take_in


def record(
    turn: Turn, invocation: Invocation
) -> tuple[Literal["applied", "duplicate", "rejected"], str | None, Variant | None, bool]:
    """Record an outcome; return its status, the reason if rejected, its variant if affected, and whether it is judged.

    An outcome whose invocation began before the variant was last activated is recorded but not judged.  A shadow
    outcome is counted separately and has no other effect.
    """
    row, rules, offset, variant_id = turn.row, turn.rules, turn.at.offset, invocation.variant_id
    formula = rules.formula
    digest = name_digest(invocation.invocation_id)
    variant = row.variants.get(variant_id)
    if variant is None and not is_known(row.ids, digest):
        variant = add_variant(turn, variant_id)
        if variant is None:
            # The id is not remembered, so the outcome counts if it is sent again when there is room.
            return "rejected", "variant_limit", None, False
    if not remember(row.ids, digest, rules.duplicate_ids) or variant is None:
        row.duplicates += 1
        return "duplicate", None, None, False
    owners = row.owners
    owners += variant.mark or new_mark(row, variant)
    if len(owners) > rules.duplicate_ids:  # ``owners`` must have one mark for each id
        del owners[: len(owners) - rules.duplicate_ids]
    variant.last_offset = offset

    status, share, errors, given = invocation.status, invocation.quality, invocation.error_count, invocation.reward
    success = status == "success"
    quality = ABSENT if share is None else round(share * MICRO)
    speed = speed_of(invocation, formula)
    errors = 255 if errors > 255 else errors
    flags = SUCCESS if success else 0
    if status == "error":
        flags |= ERROR | FAILED
    elif errors:
        flags |= ERROR
    told = None if given is None else round(given * MICRO)
    if invocation.evaluator is not None:
        quality, told = _on_scale(turn, invocation, invocation.evaluator, quality, told)
    if told is None:
        reward = reward_of(success, quality, speed, errors, formula)
    else:
        reward, flags = told, flags | EXPLICIT
    if invocation.role == "shadow":
        _count_shadow(variant.shadow, success, reward)
        return "applied", None, None, False

    provider, model = invocation.provider, invocation.model
    if provider is not None or model is not None:
        turn.retagged = note_tags(variant, provider, model)
    explored = invocation.variant_source in {"explore", "session"}
    if row.active is None and not explored and not variant.quarantined and variant.state != RETIRED:
        apply(turn, [Activated(variant, "first_seen", invocation.invocation_id, "The first variant seen")])
    seen_epoch = invocation.active_epoch
    if seen_epoch is None or seen_epoch >= variant.epoch:
        flags |= JUDGED
        flags |= update(variant, reward, flags, rules.size, rules.claims, rules.weighs)
        if row.rollout is not None:
            flags |= stage(row, variant, invocation.variant_source, reward, flags, rules.size)
        if rules.guardrails or variant.gauges:
            _measure(turn, variant, invocation)
    packed = pack_outcome(offset, digest, reward, speed, quality, errors, flags)
    take_in(variant, packed, reward, flags, rules.size, rules.rate, rules.claims, rules.memory, rules.weighs)
    if variant.life.n == 1:
        turn.catalogue_changed = True  # its earlier outcomes, if any, were shadow outcomes
    row.n += 1
    count_flaws(variant, success, speed, quality)
    _attribute(turn, variant, invocation, reward, flags)
    _follow_up(turn, variant, invocation, digest)
    return "applied", None, variant, flags & JUDGED != 0


def _follow_up(turn: Turn, variant: Variant, invocation: Invocation, digest: bytes) -> None:
    """Do what was waiting for the outcome: scores that came before it, and a hold that ends after so many outcomes."""
    row = turn.row
    if row.waiting:
        settle_waiting(turn, variant, int.from_bytes(digest, "little"))
    watch_clock(turn, invocation.timestamp)
    held = row.held
    if held is not None and is_over(held, row):
        apply(turn, [HoldEnded()])


def _on_scale(
    turn: Turn, invocation: Invocation, evaluator: str, quality: int, reward: int | None
) -> tuple[int, int | None]:
    """Return quality (or ``ABSENT``) and reward on the scale of the task's first judge."""
    shifted = as_known if invocation.role == "shadow" else on_scale
    found, reward = shifted(turn.row, evaluator, None if quality == ABSENT else quality, reward)
    return ABSENT if found is None else found, reward


def _drop_gauges(turn: Turn, variant: Variant) -> None:
    """Forget metrics that are no longer watched, or whose direction has changed, and end the alerts about them."""
    signs, known = turn.rules.signs, variant.gauges
    gone = [name for name, gauge in known.items() if signs.get(name) != gauge.sign]
    if not gone:
        return
    for name in gone:
        if alert_id := known[name].open_alert:
            apply(turn, [GuardrailKept(variant, name, alert_id, f"resolved: {name} is no longer watched")])
    variant.gauges = {name: gauge for name, gauge in known.items() if name not in gone}


def _measure(turn: Turn, variant: Variant, invocation: Invocation) -> None:
    """Add the outcome's guardrail values, and note in ``turn.measured`` what each then shows."""
    rules = turn.rules
    if variant.gauges:
        _drop_gauges(turn, variant)
    known = variant.gauges
    for guardrail in rules.guardrails:
        value = guardrail.value_of(invocation)
        if value is None:
            continue
        gauge = known.get(guardrail.name)
        if gauge is None:
            if not known:
                variant.gauges = known = {}
            gauge = known[guardrail.name] = Gauge(sign=rules.signs[guardrail.name])
        found = gauges.measure(
            gauge, guardrail.sign * value, rules.size, rules.gauge_memory, guardrail.limit, guardrail.floor
        )
        if gauge.open_alert or found >= rules.threshold:
            turn.measured.append(guardrail)


def _attribute(turn: Turn, variant: Variant, invocation: Invocation, reward: int, flags: int) -> None:
    """Record which runtime the outcome came from; a runtime that only explores is not followed."""
    row, runtime_id, runtime = turn.row, invocation.runtime_id, None
    if runtime_id is not None:
        if invocation.variant_source == "explore":
            runtime = row.runtimes.get(runtime_id)
        else:
            runtime = follow_runtime(turn, runtime_id, invocation.active_epoch, invocation.duration_seconds)
    attribute(row, variant, runtime, runtime_id, reward, flags)


def _count_shadow(shadow: Sums, success: bool, reward: int) -> None:
    shadow.n += 1
    shadow.successes += success
    shadow.reward += reward
