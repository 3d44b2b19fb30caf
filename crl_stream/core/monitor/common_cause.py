"""Determines whether variants fell together because of what they share: a provider or a model.

In an outage of a provider, the active variant looks degraded, and so does each target of a rollback.  Before the
active variant is rolled back, and while a rollback is being verified, the engine checks whether other variants with the
same tag fell as well.  If so, the task has an ``Incident``: variants with this tag are neither replaced nor chosen
automatically until one of them recovers.  A variant without the tag may still be chosen, and one that collapses alone
is still rolled back.  This module only decides; it changes nothing.

The strongest evidence comes after a rollback: until then, other variants have only outcomes from exploration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.figures import counted, noun
from crl_stream.core.monitor.baseline import less, lifetime_of
from crl_stream.core.monitor.changes import (
    Change,
    CommonCauseEnded,
    CommonCauseFound,
    QuarantineLifted,
    TakenBack,
    VerificationEnded,
)
from crl_stream.core.monitor.fall import CLEARLY, KNOWN, add, began_at, fell, latest, since
from crl_stream.core.monitor.promise import Promise, compare, describe, is_better, promise_of
from crl_stream.core.monitor.row import RETIRED, Incident, Sums, TagReport, Variant
from crl_stream.core.monitor.tags import covered, covers, tags_of
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.turn import Turn

TOLD: Final = 4
"""Maximum number of fallen variants that an alert describes."""
_HOUR: Final = 3_600_000
_NOTHING: Final[Sequence[Change]] = ()


def fell_together(turn: Turn, target: Variant, back: Variant) -> Sequence[Change]:
    """Return what follows if ``back``, which the latest rollback replaced, fell together with ``target`` or others.

    The rollback was then unfounded, and the task returns to the variant that was active when the fall began.  It stays
    with ``target`` if that delivers more or does not have the tag, or if a variant without the tag can replace it.
    """
    row, left = turn.row, turn.row.left
    if left is None or covers(row.incident, target):
        return _NOTHING
    incident = find_incident(turn, back)
    if incident is None or (row.incident is not None and row.incident.tag == incident.tag):
        return _NOTHING
    if incident.tag not in tags_of(target):
        return [found_cause(turn, incident), QuarantineLifted(back)]
    first = row.variants.get(incident.first, back)
    to = back if first.state == RETIRED or first is target else first
    changes: list[Change] = [found_cause(turn, incident)]
    changes += [QuarantineLifted(one) for one in {to.variant_id: to, back.variant_id: back}.values()]
    delivers = promise_of(target.judged)
    promised = Promise(left.n, left.value, left.successes, left.flawless)
    if is_better(delivers, promised, 0.0) or _has_way_out(turn, incident.tag):
        return [*changes, VerificationEnded()]
    words = f"{target.variant_id} fell together with {to.variant_id}, so the rollback was unfounded"
    return [*changes, TakenBack(target, to, left.rollback_id, words, "common_cause")]


def found_cause(turn: Turn, incident: Incident) -> CommonCauseFound:
    """Return the change that begins the incident, with the figures of each variant that fell."""
    row, report = turn.row, report_on(turn, incident.tag)
    told = [] if report is None else [report.words]
    for variant in covered(row, incident.tag):
        before, came = incident.before.get(variant.variant_id), since(variant, incident.began)
        if before is not None and came.n:
            told.append(f"{variant.variant_id}: {compare(promise_of(came), promise_of(before))}")
    more = len(told) - TOLD
    return CommonCauseFound(incident, "; ".join(told[:TOLD]) + (f"; and {more} more" if more > 0 else ""))


def follow(turn: Turn, variant: Variant) -> Sequence[Change]:
    """Return the end of the task's incident if ``variant``, which has just had an outcome, has recovered."""
    incident = turn.row.incident
    if incident is None or not covers(incident, variant) or not is_back(variant, incident):
        return _NOTHING
    lately = promise_of(latest(variant, incident))
    why = f"{variant.variant_id} recovered: {describe(lately)} in its last {counted(lately.n, 'outcome')}"
    return [end_of(turn, incident, why)]


def overdue(turn: Turn, *, ticks: bool = False) -> Sequence[Change]:
    """Return the end of the task's incident if it has reached its time limit or its limit of outcomes.

    Protection then acts again.  A tick (``ticks``) ends the incident without a return to the first variant, because a
    tick changes no active variant.
    """
    row, incident = turn.row, turn.row.incident
    if incident is None:
        return _NOTHING
    if row.n >= incident.until_n:
        why = f"no recovery within {counted(row.n - incident.since_n, 'outcome')}; protection acts again"
        return [end_of(turn, incident, why, stays=ticks)]
    if row.time >= incident.until:
        hours = (incident.until - incident.since) / _HOUR
        return [
            end_of(
                turn,
                incident,
                f"no recovery within {hours:g} {noun(hours, 'hour')}; protection acts again",
                stays=ticks,
            )
        ]
    return _NOTHING


def end_of(turn: Turn, incident: Incident, why: str, *, stays: bool = False) -> CommonCauseEnded:
    """Return the end of the incident: its variants are judged from scratch, except those known to be still failing.

    So outcomes of the fall cause no rollback afterwards, while a collapse that outlasts the fall is still detected.
    If another variant took over meanwhile, the task returns to the first one, unless it ``stays``.
    """
    cleared = [
        variant
        for variant in covered(turn.row, incident.tag)
        if latest(variant, incident).n < incident.clean or is_back(variant, incident)
    ]
    back = None if stays else _detour_from(turn, incident, cleared)
    return CommonCauseEnded(incident, why, cleared, *(back or (None, None)))


def _detour_from(turn: Turn, incident: Incident, cleared: Sequence[Variant]) -> tuple[Variant, Promise] | None:
    """Return the variant that was active when the fall began, and what the one that took over delivers.

    Return None if no variant without the tag took over, if the first variant is still failing or promises no more than
    the one that took over, or if people have decided otherwise since.  The return is verified against what the other
    variant delivers: if the outage is not over, the first outcomes show it, and the other variant takes over again.
    """
    row = turn.row
    active, first = row.variants.get(row.active or ""), row.variants.get(incident.first)
    before = incident.before.get(incident.first)
    if active is None or first is None or before is None or first not in cleared or first.state == RETIRED:
        return None
    previous = row.variants.get(row.previous or "")
    if covers(incident, active) or row.cause != "rollback" or previous is None or not covers(incident, previous):
        return None
    if not turn.rules.enforced or row.held is not None or row.pinned is not None or turn.at.fleet is not None:
        return None
    delivers = promise_of(active.judged if active.judged.n >= turn.rules.min_recent else lifetime_of(active))
    return (first, delivers) if is_better(promise_of(before), delivers, turn.rules.confidence) else None


def is_back(variant: Variant, incident: Incident) -> bool:
    """Return whether the variant's last outcomes are as good as before the fall, and clearly better than in the fall.

    With only one of these conditions, an incident could end by chance: in a few outcomes, a small fall is hard to tell
    from normal results.
    """
    before, lately = incident.before.get(variant.variant_id), latest(variant, incident)
    if before is None or lately.n < incident.clean:
        return False
    return is_as_before(lately, before) and is_over(lately, incident)


def is_as_before(lately: Sums, before: Sums) -> bool:
    """Return whether the last outcomes are as good as those before the fall."""
    return not is_better(promise_of(before), promise_of(lately), 1.0)


def is_over(lately: Sums, incident: Incident) -> bool:
    """Return whether the last outcomes are clearly better than those in the fall."""
    return is_better(promise_of(lately), promise_of(incident.fall), CLEARLY)


def find_incident(turn: Turn, fallen: Variant, *, reported: bool = False) -> Incident | None:
    """Return a new incident if other variants fell together with ``fallen``, with the narrowest tag that explains it.

    Variants that share the model say nothing about the provider; it is blamed if variants with other models fell.
    With ``reported``, a report that the tag is failing in many tasks is evidence enough.
    """
    row, tags, policy = turn.row, tags_of(fallen), turn.policy.common_cause
    if not tags or not policy.hold_outcomes:
        return None
    began = began_at(fallen, turn.rules)
    if began is None:
        return None
    near, far = list[Variant](), list[Variant]()
    for name in sorted(row.variants):
        other = row.variants[name]
        if other is not fallen and (shared := set(tags).intersection(tags_of(other))):
            (near if any(tag.startswith("model:") for tag in shared) else far).append(other)
    report = next((tag for tag in tags if report_on(turn, tag) is not None), None) if reported else None
    if report is not None:
        tag = report
    elif fell(far, began):
        tag = tags[0]
    elif fell(near, began):
        tag = tags[-1]
    else:
        return None
    before, fall = dict[str, Sums](), Sums()
    for variant in covered(row, tag):
        came = since(variant, began)
        known = less(lifetime_of(variant), came)
        if known.n >= KNOWN:
            before[variant.variant_id] = known
            add(fall, came)
    first = fallen.variant_id
    if row.incident is not None and row.incident.first in before:
        first = row.incident.first  # the incident becomes wider
    until = row.time + round(policy.hold_hours * _HOUR)
    return Incident(
        incident_id=turn.identify("cc", "common_cause", tag),
        tag=tag,
        since=row.time,
        since_n=row.n,
        began=began,
        offset=turn.at.offset,
        until=until,
        until_n=row.n + policy.hold_outcomes,
        clean=min(policy.clean_outcomes, turn.rules.size),
        first=first,
        fall=fall,
        before=before,
    )


def report_on(turn: Turn, tag: str) -> TagReport | None:
    """Return the report that the tag is failing; None if there is none or it has expired."""
    report = turn.at.tags.get(tag)
    return report if report is not None and report.until > turn.row.time else None


def _has_way_out(turn: Turn, tag: str) -> bool:
    """Return whether a rollback could choose a variant without the tag."""
    return any(candidate.chosen for candidate in candidates(turn.row, turn.rules, failing=tag))
