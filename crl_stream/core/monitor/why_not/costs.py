"""What follows from guardrail metrics, such as the cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crl_stream.core.figures import counted, number
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor import gauges
from crl_stream.core.monitor.guardrail import Guardrail
from crl_stream.core.monitor.guardrails import ways_out
from crl_stream.core.monitor.protection import chosen_in
from crl_stream.core.monitor.row import Variant
from crl_stream.core.monitor.staging import takes_part
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.why_not.conditions import (
    Condition,
    Question,
    change_in_words,
    hold_conditions,
    mode_condition,
    no_incident,
    nothing_before,
)


def about_guardrails(turn: Turn, variant: Variant, broken: Sequence[Any], acted: str | None) -> list[Question]:
    """Return what follows from each guardrail metric; ``broken`` is what the engine makes of them."""
    row, asked = turn.row, list[Question]()
    part = variant.variant_id == row.active or takes_part(row, variant)
    leads = next((one.metric for one in broken if type(one) is c.GuardrailBroken and one.leads), None)
    for guardrail in turn.rules.guardrails:
        begin = [
            nothing_before(acted),
            Condition("part", "it is active, or being rolled out", part, "yes" if part else "neither"),
        ]
        asked += _about_guardrail(turn, variant, guardrail, broken, leads, begin)
    return asked


def _about_guardrail(
    turn: Turn, variant: Variant, guardrail: Guardrail, broken: Sequence[Any], leads: str | None, begin: list[Condition]
) -> list[Question]:
    name, rules, metric = variant.variant_id, turn.rules, guardrail.name
    gauge = variant.gauges.get(metric)
    gauge = gauge if gauge is not None and gauge.sign == guardrail.sign else None
    is_open = gauge is not None and bool(gauge.open_alert)
    found = _guardrail_change(turn, guardrail, gauge)
    worse = [*begin, *_guardrail_conditions(turn, guardrail, gauge, found)]
    replaced = leads == metric and rules.enforced
    mine = [one for one in broken if type(one) is c.GuardrailBroken and one.metric == metric and not replaced]
    free = leads in {None, metric}
    first = Condition("first", "no other guardrail acts", free, "none does" if free else f"{leads} does")
    size = rules.size
    since = 0 if gauge is None else gauge.since_alert
    kept = [
        *begin,
        first,
        Condition("open", "its alert is open", is_open, "open" if is_open else "no alert"),
        Condition("within", "it is within its limit again", found is None, _level(guardrail, gauge, turn)),
        Condition(
            "outcomes", "enough outcomes since the alert", since >= size, f"{since}, {size} needed", float(since), size
        ),
    ]
    told = [
        *worse,
        first,
        Condition("closed", "its alert is not open yet", not is_open, "open" if is_open else "no alert"),
        Condition(
            "stays", "nothing replaces it", not replaced, "another alert tells of it" if replaced else "it stays"
        ),
    ]
    acts = any(type(one) is c.GuardrailKept and one.metric == metric for one in broken)
    return [
        Question("guardrail_alerted", name, f"operators are alerted to its {metric}", bool(mine) and not is_open, told),
        _guardrail_acted(turn, variant, guardrail, found, [*worse, first], acts=replaced),
        Question("guardrail_kept", name, f"the alert about its {metric} ends", acts, kept),
    ]


def _guardrail_change(turn: Turn, guardrail: Guardrail, gauge: Any) -> gauges.Change | None:
    rules = turn.rules
    if gauge is None:
        return None
    return gauges.change_of(gauge, rules.gauge_memory, rules.min_recent, guardrail.limit, guardrail.floor)


def _level(guardrail: Guardrail, gauge: Any, turn: Turn) -> str:
    """Return the level of a metric against its baseline and its limit."""
    recent = None if gauge is None else gauges.recent_of(gauge)
    base = None if gauge is None else gauges.baseline_of(gauge, turn.rules.gauge_memory)
    if recent is None:
        return "no value yet"
    words = f"{guardrail.sign * recent.mean:.4g} over {counted(recent.n, 'outcome')}"
    if base is None:
        return f"{words}, no baseline yet"
    before = base.total / base.n
    change = (recent.mean - before) / abs(before) if before else recent.mean - before
    floor = f", floor {guardrail.floor:g}" if guardrail.floor else ""
    level = f"{words} against {guardrail.sign * before:.4g}"
    return f"{level}: {change_in_words(change)}, limit {guardrail.limit:.1%}{floor}"


def _guardrail_conditions(turn: Turn, guardrail: Guardrail, gauge: Any, found: gauges.Change | None) -> list[Condition]:
    """Return what must be true for a broken guardrail."""
    rules = turn.rules
    values = 0 if gauge is None else len(gauges.values_of(gauge))
    needed = max(rules.min_recent, 2)
    base = None if gauge is None else gauges.baseline_of(gauge, rules.gauge_memory)
    past = 0 if gauge is None else gauge.past.n
    e_value = 0.0 if gauge is None else gauges.e_value(gauge)
    return [
        Condition(
            "values", "enough values", values >= needed, f"{values}, {needed} needed", float(values), float(needed)
        ),
        Condition(
            "baseline",
            "enough values to compare with",
            base is not None,
            f"{base.n} in the baseline" if base is not None else f"{past} before the window, {gauges.OWN} needed",
        ),
        Condition(
            "limit",
            "beyond its limit, also without the highest value",
            found is not None,
            _level(guardrail, gauge, turn),
            None if found is None else found.relative,
            guardrail.limit,
        ),
        Condition(
            "evidence",
            "enough evidence that it is no chance",
            e_value >= rules.threshold,
            f"e-value {number(e_value)}, {number(rules.threshold)} needed",
            e_value,
            rules.threshold,
        ),
    ]


def _guardrail_acted(
    turn: Turn,
    variant: Variant,
    guardrail: Guardrail,
    found: gauges.Change | None,
    begin: list[Condition],
    *,
    acts: bool,
) -> Question:
    """Return whether a broken guardrail leads to a rollback, or ends the rollout."""
    row, name = turn.row, variant.variant_id
    conditions = [
        *begin,
        Condition(
            "action",
            f"guardrails.{guardrail.name} is rollback",
            guardrail.action == "rollback",
            f"guardrails.{guardrail.name} is {guardrail.action}",
        ),
        *hold_conditions(turn),
        no_incident(row),
        mode_condition(turn, "rollbacks"),
    ]
    if not takes_part(row, variant):
        ranked = [] if found is None else ways_out(turn, guardrail, found)
        target = chosen_in(ranked)
        details = tuple(f"{each.variant_id}: {'chosen' if each.chosen else each.why_not}" for each in ranked)
        words = target or (details[0] if details else "not looked for")
        conditions.append(
            Condition("target", "another variant is cheaper and not worse", target is not None, words, details=details)
        )
    title = f"the rollout of {name} is aborted" if takes_part(row, variant) else f"{name} is rolled back"
    return Question("guardrail_acted", name, f"{title} because of its {guardrail.name}", acts, conditions)
