"""Finds the target of a rollback: the best other variant, and why the rest were not chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crl_stream.core.figures import counted
from crl_stream.core.messages.parts import Candidate
from crl_stream.core.monitor.baseline import lifetime_of
from crl_stream.core.monitor.detector import Detector
from crl_stream.core.monitor.promise import Promise, compare, delivered, is_better, promise_of
from crl_stream.core.monitor.row import ERROR, MICRO, RETIRED, SIZE, SUCCESS, Rollout, Sums, TaskRow, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.staging import delivered_so_far
from crl_stream.core.monitor.tags import tags_of
from crl_stream.core.monitor.verdict import DEGRADED, is_hopeless, judge
from crl_stream.core.monitor.window import judged_outcomes

CLEARLY: Final = 2.0
"""Standard errors by which a variant must lead if the comparison could be unfair, as with an old window."""


def rank(variant: Variant) -> tuple[float, int, str]:
    """Return the sort key that puts the best first: highest Q, then most visits, then name."""
    return (-variant.q, -variant.life.n, variant.variant_id)


def _precedence(variant: Variant) -> tuple[bool, float, int, str]:
    return (variant.quarantined, *rank(variant))


def candidates(
    row: TaskRow,
    rules: Rules,
    worst: Detector | None = None,
    failing: str | None = None,
    dearer: Callable[[Variant], str | None] | None = None,
) -> list[Candidate]:
    """Return every other variant, best first; at most one is chosen.

    The guide's target has the highest Q with n >= 5, and is not the current variant or quarantined.  Beyond the guide's
    words, it must also promise more than the degraded variant delivers now: a rollback to a worse variant does harm.
    This lead must not rest on a single outcome.  Ties in Q are broken by more visits, then by name.

    If the verdict is about a metric that an added detector defines (``worst``), reward and success need not have
    fallen.  Then it is enough that a target is not degraded, and that it promises no less of either.

    The same applies if a guardrail is broken; then ``dearer`` says why a variant does not help, or None if it does.

    Variants with the tag ``failing``, or with that of the task's incident, are not chosen.
    """
    found, chosen = [], False
    avoided = {failing, None if row.incident is None else row.incident.tag} - {None}
    active = row.variants.get(row.active) if row.active is not None else None
    # After so long without a target, a full window without a success is no longer considered chance.
    certain = row.no_target_n >= 0 and row.n - row.no_target_n >= rules.policy.rollback.renotify
    left = None if active is None else delivered(active, rules, certain=certain)
    one = None if active is None else _worst_of(active)
    spared = None if active is None or one is None else delivered(active, rules, certain=certain, without=one)
    is_added = dearer is not None or any(worst is detector for detector, *_ in rules.further)
    without_success = active is not None and active.judged.successes == 0
    for variant in sorted(row.variants.values(), key=_precedence):
        if variant is active:
            continue
        why_not = _objection(variant, rules)
        if why_not is None and avoided:
            shared = next((tag for tag in tags_of(variant) if tag in avoided), None)
            why_not = None if shared is None else f"{shared} is failing"
        if why_not is None and dearer is not None:
            why_not = dearer(variant)
        if why_not is None and left is not None:
            why_not = _comparison(variant, left, rules, now=row.n, is_added=is_added)
        if why_not is None and spared is not None and not is_added:
            why_not = _by_one_outcome(variant, spared)
        if why_not is None and row.rollout is not None and row.rollout.variant_id == variant.variant_id:
            why_not = _unproven(row, row.rollout, variant, left)
        if why_not is None and without_success and is_hopeless(variant, rules):
            why_not = f"no success in its last {len(variant.window) // SIZE} outcomes either"
        if why_not is None and chosen:
            why_not = (
                "quarantined, while another variant qualifies" if variant.quarantined else "a better variant was chosen"
            )
        found.append(Candidate(variant.variant_id, variant.q, variant.life.n, why_not is None, why_not))
        chosen = chosen or why_not is None
    return found


def _unproven(row: TaskRow, rollout: Rollout, variant: Variant, left: Promise | None) -> str | None:
    """Return why a rollout's candidate may not skip its stages; None if it may.

    It may if it was clearly better over the same time.  The first stages take long, and the active variant may collapse
    meanwhile.  So the candidate may also skip them if its lifetime is clearly better than what the active variant now
    delivers, unless the active variant was better over the same time.
    """
    if rollout.paused is not None:
        return f"its rollout is paused by {rollout.paused.actor}"
    candidate, control = delivered_so_far(row)
    proven = left is not None and is_better(promise_of(lifetime_of(variant)), left, CLEARLY)
    if proven and not is_better(control, candidate, 1.0):
        return None
    if candidate.n < rollout.min_outcomes:
        return f"being rolled out: {candidate.n} of {counted(rollout.min_outcomes, 'outcome')}"
    if not is_better(candidate, control, CLEARLY):
        return f"being rolled out, and not clearly better over the same time: {compare(candidate, control)}"
    return None


def _objection(variant: Variant, rules: Rules) -> str | None:
    needed = rules.policy.rollback.min_samples
    if variant.state == RETIRED:
        return "retired"
    if variant.life.n < needed:
        return f"n_visits {variant.life.n} < {needed}"
    return None


def _comparison(variant: Variant, left: Promise, rules: Rules, *, now: int, is_added: bool) -> str | None:
    promised = promise_of(lifetime_of(variant))
    if is_added:
        if judge(variant, rules).kind == DEGRADED:
            return "also degraded"
        lately = promise_of(variant.judged)
        for promise in (promised, lately) if lately.n >= rules.min_recent else (promised,):
            if is_better(left, promise, rules.confidence):
                return f"worse: {compare(promise, left)}"
        return None
    if not is_better(promised, left, rules.confidence):
        return f"not better by {rules.confidence:g} standard errors: {compare(promised, left)}"
    if variant.judged.n >= rules.min_recent:
        # Its latest outcomes matter more than a good past, above all if they led to a rollback.
        lately = promise_of(variant.judged)
        if not is_better(lately, left, rules.confidence if variant.quarantined else 0.0) and not (
            _is_stale(variant, rules, now) and is_better(promised, left, CLEARLY)
        ):
            return f"not better in its last {counted(lately.n, 'outcome')}: {compare(lately, left)}"
    return None


def _worst_of(variant: Variant) -> Sums | None:
    """Return the worst judged outcome of the window; None if there are fewer than two."""
    judged = judged_outcomes(variant)
    if len(judged) < 2:
        return None
    worst = min(judged, key=lambda each: (each.flags & SUCCESS, -(each.flags & ERROR), each.reward))
    success, error = bool(worst.flags & SUCCESS), bool(worst.flags & ERROR)
    return Sums(1, success, error, worst.reward, worst.reward * worst.reward // MICRO)


def _by_one_outcome(variant: Variant, spared: Promise) -> str | None:
    promised = promise_of(lifetime_of(variant))
    if is_better(promised, spared, 0.0):
        return None
    return f"not better if the worst outcome of the window is left out: {compare(promised, spared)}"


def _is_stale(variant: Variant, rules: Rules, now: int) -> bool:
    """Return whether a window is too old to count: the variant was replaced ``rollback.parole`` task outcomes ago.

    Otherwise one outage of all variants would rule out each of them for ever in a task without exploration.
    """
    if variant.left_n < 0 or variant.life.n - variant.left_at >= rules.min_recent:
        return False
    return now - variant.left_n >= rules.parole
