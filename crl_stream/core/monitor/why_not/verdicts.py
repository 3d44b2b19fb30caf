"""What follows from the verdict on a variant: an alert, a rollback, a recovery, the end of a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crl_stream.core.figures import counted
from crl_stream.core.instant import to_text
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor.grounds import sentence
from crl_stream.core.monitor.promise import compare
from crl_stream.core.monitor.protection import Way, chosen_in, find_way, may_roll_back
from crl_stream.core.monitor.rollout import is_behind, is_held
from crl_stream.core.monitor.row import Variant
from crl_stream.core.monitor.staging import delivered_so_far, takes_part
from crl_stream.core.monitor.tags import covers
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.verdict import DEGRADED, HEALTHY, Verdict, judge
from crl_stream.core.monitor.why_not.conditions import (
    Condition,
    Question,
    has,
    hold_conditions,
    mode_condition,
    nothing_before,
    verdict_conditions,
)
from crl_stream.core.monitor.why_not.verifications import shared_conditions
from crl_stream.core.monitor.witnesses import one_runtime


def about_verdict(
    turn: Turn, variant: Variant, verdict: Verdict, changes: Sequence[Any], acted: str | None
) -> list[Question]:
    """Return what follows from the verdict on ``variant``; ``changes`` is what the engine makes of it."""
    name, rules, row = variant.variant_id, turn.rules, turn.row
    begin = [nothing_before(acted)]
    worse = verdict_conditions(variant, verdict, rules)
    way = _way(turn, variant, verdict) if name == row.active else None
    asked = [
        Question(
            "degraded",
            name,
            f"{name} is found degraded",
            has(changes, c.BecameDegraded) or has(changes, c.StayedDegraded),
            [*begin, *worse],
        ),
        _alerted(turn, variant, [*begin, *worse], changes, way),
        _recovered(turn, variant, verdict, begin, changes),
    ]
    if way is not None:
        acts = rules.enforced and has(changes, c.RolledBack)
        stops = [*begin, *worse, *_rollback_conditions(turn, variant, verdict, way)]
        asked.append(Question("rolled_back", name, f"{name} is rolled back", acts, stops))
        asked.append(_common_cause(turn, variant, verdict, way, [*begin, *worse], changes))
    if takes_part(row, variant):
        behind = is_behind(row, rules, None if verdict.worst is None else verdict.worst.name)
        words = compare(*delivered_so_far(row))
        conditions = [*begin, *worse, mode_condition(turn, "rollouts"), *hold_conditions(turn)]
        conditions.append(Condition("behind", "clearly behind the active variant meanwhile", behind, words))
        acts = has(changes, c.RolloutAborted)
        asked.append(Question("rollout_aborted", name, f"the rollout of {name} is aborted", acts, conditions))
    return asked


def _way(turn: Turn, variant: Variant, verdict: Verdict) -> Way:
    """Return where a rollback leads; a common cause is only looked for if the active variant is degraded."""
    if verdict.kind == DEGRADED:
        return find_way(turn, variant, verdict)
    ranked = candidates(turn.row, turn.rules, verdict.worst)
    return Way(
        ranked, chosen_in(ranked), turn.row.incident if covers(turn.row.incident, variant) else None, is_new=False
    )


def _alerted(turn: Turn, variant: Variant, begin: list[Condition], changes: Sequence[Any], way: Way | None) -> Question:
    """Return whether operators are alerted to a degraded variant that stays."""
    known, name = variant.degraded, variant.variant_id
    since = f"known since {to_text(variant.degraded_since)}" if known and variant.degraded_since else "known already"
    gone = has(changes, c.RolloutAborted) or (turn.rules.enforced and has(changes, c.RolledBack))
    blames = way is not None and way.incident is not None and _tries(turn, variant)
    conditions = [
        *begin,
        Condition("new", "the degradation is new", not known, since if known else "new"),
        Condition("stays", "nothing replaces it", not gone, "another alert tells of it" if gone else "it stays"),
        Condition(
            "no_incident", "no incident explains it", not blames, "an incident does" if blames else "no incident"
        ),
    ]
    return Question(
        "alerted", name, f"operators are alerted that {name} is degraded", has(changes, c.AlertOpened), conditions
    )


def _tries(turn: Turn, variant: Variant) -> bool:
    """Return whether the engine gets as far as looking for a target."""
    alone = one_runtime(turn.row, variant, judge(variant, turn.rules), turn.rules)
    return may_roll_back(turn, variant) and alone is None and not is_held(turn)


def _recovered(
    turn: Turn, variant: Variant, verdict: Verdict, begin: list[Condition], changes: Sequence[Any]
) -> Question:
    """Return whether a degraded variant counts as recovered."""
    name, needed, clean = variant.variant_id, turn.policy.degradation.clean_verdicts, variant.clean + 1
    words = f"degraded since {to_text(variant.degraded_since)}" if variant.degraded_since else "degraded"
    conditions = [
        *begin,
        Condition("degraded", "it is degraded", variant.degraded, words if variant.degraded else "not degraded"),
        Condition(
            "healthy",
            "the verdict is HEALTHY",
            verdict.kind == HEALTHY,
            f"{verdict.kind}: {sentence(variant, verdict, turn.rules)}",
        ),
        Condition(
            "clean",
            "enough HEALTHY verdicts in a row",
            clean >= needed,
            f"{variant.clean} so far, {needed} needed",
            float(variant.clean),
            float(needed),
        ),
    ]
    return Question("recovered", name, f"{name} counts as recovered", has(changes, c.Recovered), conditions)


def _rollback_conditions(turn: Turn, variant: Variant, verdict: Verdict, way: Way) -> list[Condition]:
    """Return what else must be true before a degraded active variant is rolled back."""
    row, rules = turn.row, turn.rules
    alone = one_runtime(row, variant, verdict, rules)
    found = [mode_condition(turn, "rollbacks")]
    if rules.mode == "shadow":
        words = "already reported in this activation" if row.latch else "not reported yet"
        found.append(Condition("latch", "it was not reported before", not row.latch, words))
    found.append(
        Condition(
            "one_runtime",
            "it does not rest on one runtime alone",
            alone is None,
            f"rollback.runtime_share {rules.policy.rollback.runtime_share:g}: no single runtime stands out"
            if alone is None
            else alone.words,
            None if alone is None else alone.share / 1e6,
            rules.policy.rollback.runtime_share,
        )
    )
    found += hold_conditions(turn)
    incident = way.incident
    stuck = incident is not None and way.target is None
    words = "no provider or model that its variants share is failing"
    if incident is not None:
        more = "no variant without it qualifies" if stuck else "a variant without it qualifies"
        n = max(0, incident.until_n - row.n)
        words = f"{incident.tag} is failing, held for at most {counted(n, 'outcome')}; {more}"
    found.append(Condition("common_cause", "no shared cause keeps it", not stuck, words))
    details = tuple(
        f"{each.variant_id} (Q {each.q_value:.2f}, n {each.n_visits}): {'chosen' if each.chosen else each.why_not}"
        for each in way.ranked
    )
    words = f"{way.target} is chosen" if way.target is not None else "no other variant is known"
    if way.target is None and details:
        words = f"none of {len(details)}: {details[0]}" if len(details) > 1 else details[0]
    found.append(Condition("target", "another variant promises more", way.target is not None, words, details=details))
    return found


def _common_cause(
    turn: Turn, variant: Variant, verdict: Verdict, way: Way, begin: list[Condition], changes: Sequence[Any]
) -> Question:
    """Return whether an incident begins, because variants fell together with the active one."""
    row, rules = turn.row, turn.rules
    covered = covers(row.incident, variant)
    alone = one_runtime(row, variant, verdict, rules)
    allowed = mode_condition(turn, "rollbacks")._replace(holds=may_roll_back(turn, variant))
    name, target = variant.variant_id, way.target is not None or way.is_new
    conditions = [
        *begin,
        allowed,
        Condition(
            "one_runtime", "it does not rest on one runtime alone", alone is None, alone.words if alone else "yes"
        ),
        *hold_conditions(turn),
        Condition("uncovered", "no incident covers it yet", not covered, "one does" if covered else "none does"),
        Condition("target", "there is a variant to roll back to", target, way.target or "none qualifies"),
        *shared_conditions(turn, variant, reported=True),
    ]
    acts = has(changes, c.CommonCauseFound)
    return Question("common_cause", name, f"an outage that {name} shares with others is found", acts, conditions)
