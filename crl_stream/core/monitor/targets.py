"""Finds the target of a rollback: the best other variant, and why the rest were not chosen."""

from __future__ import annotations

from crl_stream.core.messages.parts import Candidate
from crl_stream.core.monitor.row import RETIRED, SIZE, TaskRow, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.verdict import DEGRADED, is_hopeless, judge


def rank(variant: Variant) -> tuple[float, int, str]:
    """Return the sort key that puts the best first: highest Q, then most visits, then name."""
    return (-variant.q, -variant.life.n, variant.variant_id)


def candidates(row: TaskRow, rules: Rules) -> list[Candidate]:
    """Return every variant except the active one, best first; at most one is chosen.

    The guide's target has the highest Q with n >= 5, and is not the current variant, quarantined or itself degraded.
    Ties are broken by more visits, then by name.
    """
    found, chosen = [], False
    left = row.variants.get(row.active) if row.active is not None else None
    without_success = left is not None and left.judged.successes == 0
    for variant in sorted(row.variants.values(), key=rank):
        if variant.variant_id == row.active:
            continue
        why_not = _objection(variant, rules)
        if why_not is None and without_success and is_hopeless(variant):
            why_not = f"no success in its last {len(variant.window) // SIZE} outcomes either"
        if why_not is None and chosen:
            why_not = "a better variant was chosen"
        found.append(Candidate(variant.variant_id, variant.q, variant.life.n, why_not is None, why_not))
        chosen = chosen or why_not is None
    return found


def _objection(variant: Variant, rules: Rules) -> str | None:
    needed = rules.policy.rollback.min_samples
    if variant.quarantined:
        return "quarantined after a rollback"
    if variant.state == RETIRED:
        return "retired"
    if variant.life.n < needed:
        return f"n_visits {variant.life.n} < {needed}"
    if judge(variant, rules).kind == DEGRADED:
        return "also degraded"
    return None
