"""What ends or begins without a verdict: pins, holds, incidents, the first activation, and variants without use."""

from __future__ import annotations

from collections.abc import Iterator

from crl_stream.core.figures import counted
from crl_stream.core.instant import to_text
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor.benefit import EARLY, LATE, look_after
from crl_stream.core.monitor.common_cause import (
    is_as_before,
    is_back,
    is_over,
    overdue,
)
from crl_stream.core.monitor.fall import KNOWN, latest
from crl_stream.core.monitor.promise import describe, promise_of
from crl_stream.core.monitor.row import REGISTERED, Variant
from crl_stream.core.monitor.scorecard import horizon, look_back
from crl_stream.core.monitor.standing_orders import expired
from crl_stream.core.monitor.standing_orders import is_over as has_ended
from crl_stream.core.monitor.tags import covers
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.variants import idle_variants
from crl_stream.core.monitor.why_not.conditions import (
    Condition,
    Question,
    free,
    in_use,
    incident_condition,
)


def about_time(turn: Turn) -> Iterator[Question]:
    """Yield what ends by itself: a pin, a hold, an incident at its limit."""
    row = turn.row
    for key, title, order, kind in (
        ("unpinned", "the pin ends", row.pinned, "pin"),
        ("hold_ended", "the hold ends", row.held, "hold"),
    ):
        conditions = [
            Condition(kind, f"there is a {kind}", order is not None, f"no {kind}" if order is None else "yes")
        ]
        if order is not None:
            until = "no time limit" if order.until is None else f"until {to_text(order.until)}"
            n = 0 if order.until_n is None else max(0, order.until_n - row.n)
            left = "" if order.until_n is None else f", {counted(n, 'outcome')} left"
            conditions.append(Condition("over", "its time is over", has_ended(order, row), f"{until}{left}"))
        change = c.Unpinned if kind == "pin" else c.HoldEnded
        acts = any(type(one) is change for one in expired(row))
        yield Question(key, "", title, acts, conditions)
    incident = row.incident
    conditions = [incident_condition(turn)]
    if incident is not None:
        over = row.n >= incident.until_n or row.time >= incident.until
        more = max(0, incident.until_n - row.n)
        words = f"until {to_text(incident.until)}, or for {more} more outcomes"
        conditions.append(Condition("over", "its limit is reached", over, words, float(more), 0.0))
    yield Question("cause_over", "", "the incident ends at its limit", bool(overdue(turn)), conditions)


def first(turn: Turn, variant: Variant) -> Question:
    """Return whether a variant becomes the first active one."""
    conditions = [
        Condition("none_active", "no variant is active yet", turn.row.active is None, "no variant is active yet"),
        free(variant),
        in_use(variant),
        Condition("outcome", "an outcome that does not explore arrives", False, "none has arrived since"),
    ]
    return Question(
        "first", variant.variant_id, f"{variant.variant_id} becomes the first active one", False, conditions
    )


def cause_recovered(turn: Turn, variant: Variant) -> Question:
    """Return whether the task's incident ends because ``variant`` has recovered."""
    incident, name = turn.row.incident, variant.variant_id
    conditions = [incident_condition(turn)]
    if incident is not None:
        before, lately = incident.before.get(name), latest(variant, incident)
        mine = covers(incident, variant)
        conditions.append(
            Condition("covered", f"{name} uses {incident.tag}", mine, f"{name} {'uses' if mine else 'does not use'} it")
        )
        known = "its level before the fall is known" if before is not None else f"fewer than {KNOWN} outcomes before it"
        conditions.append(Condition("before", "its level before the fall is known", before is not None, known))
        conditions.append(
            Condition(
                "outcomes",
                "enough outcomes since the incident was found",
                lately.n >= incident.clean,
                f"{lately.n}, {incident.clean} needed",
                float(lately.n),
                float(incident.clean),
            )
        )
        words = f"lately {describe(promise_of(lately))}" if lately.n else "no outcome yet"
        again = before is not None and lately.n > 0 and is_as_before(lately, before)
        usual = "" if before is None else f"; before the fall {describe(promise_of(before))}"
        conditions.append(Condition("as_before", "as good as before the fall", again, f"{words}{usual}"))
        better = lately.n > 0 and is_over(lately, incident)
        fall = f"; in the fall {describe(promise_of(incident.fall))}"
        conditions.append(Condition("better", "clearly better than in the fall", better, f"{words}{fall}"))
    acts = incident is not None and covers(incident, variant) and is_back(variant, incident)
    return Question("cause_recovered", name, f"the incident ends because {name} recovers", acts, conditions)


def judged_afterwards(turn: Turn) -> Question:
    """Return whether a rollback that shadow mode reported is judged."""
    row, watched = turn.row, turn.row.watched
    words = "none was reported" if watched is None else watched.rollback_id
    conditions = [Condition("reported", "a reported rollback waits", watched is not None, words)]
    acts = False
    if watched is not None:
        changes = look_back(turn)
        acts = bool(changes)
        variant = row.variants.get(watched.variant_id)
        seen = 0 if variant is None else variant.life.n - watched.started.n
        needed = horizon(turn.rules)
        conditions.append(
            Condition(
                "outcomes",
                "enough outcomes since, or nothing more to learn",
                acts,
                f"{seen}, {needed} needed",
                float(seen),
                float(needed),
            )
        )
    return Question("judged_afterwards", "", "a reported rollback is judged", acts, conditions)


def benefit_judged(turn: Turn) -> Question:
    """Return whether the latest change of the active variant is judged by what it has brought."""
    row, prediction = turn.row, turn.row.prediction
    words = (
        "no change waits" if prediction is None else f"the change from {prediction.from_variant} ({prediction.cause})"
    )
    conditions = [Condition("predicted", "the latest change waits to be judged", prediction is not None, words)]
    acts = False
    if prediction is not None and row.active is not None:
        acts = look_after(turn) is not None
        n = row.variants[row.active].life.n - prediction.started.n
        needed = LATE if prediction.told >= EARLY else EARLY
        conditions.append(
            Condition(
                "outcomes", "enough outcomes since", n >= needed, f"{n}, {needed} needed", float(n), float(needed)
            )
        )
    return Question("benefit_judged", "", "the latest change is judged: did it help?", acts, conditions)


def about_forgetting(turn: Turn) -> list[Question]:
    """Return for each variant that is not active whether it is forgotten to make room."""
    return [forgotten(turn, name) for name in sorted(turn.row.variants) if name != turn.row.active]


def forgotten(turn: Turn, variant_id: str) -> Question:
    """Return whether a variant is forgotten if an unknown one sends an outcome."""
    row, limit = turn.row, turn.policy.limits.variants
    idle = sorted(idle_variants(row), key=lambda one: (one.last_offset, one.variant_id))
    mine = any(one.variant_id == variant_id for one in idle)
    next_one = bool(idle) and idle[0].variant_id == variant_id
    kept = "registered" if row.variants[variant_id].state == REGISTERED else "in use, or quarantined"
    conditions = [
        Condition(
            "full",
            "the task has no room for another variant",
            len(row.variants) >= limit,
            f"{len(row.variants)} of {limit} (limits.variants)",
            float(len(row.variants)),
            float(limit),
        ),
        Condition("idle", "it may be forgotten", mine, "it may" if mine else kept),
        Condition("unused", "it is unused for longest", next_one, "it is" if next_one else "another one is"),
        Condition("newcomer", "an outcome of an unknown variant arrives", False, "none has arrived"),
    ]
    return Question("forgotten", variant_id, f"{variant_id} is forgotten to make room", False, conditions)
