"""The outcomes of a fall: when it began, what variants delivered in it, and whether others fell as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crl_stream.core.monitor.baseline import less, lifetime_of
from crl_stream.core.monitor.promise import Promise, is_better, promise_of
from crl_stream.core.monitor.row import ERROR, JUDGED, MICRO, SUCCESS, Incident, Sums, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.verdict import baseline_of
from crl_stream.core.monitor.window import judged_outcomes, outcomes

LEAST: Final = 4
"""Total outcomes that the other variants need since the fall began, before they can show that they fell too."""
KNOWN: Final = 10
"""Outcomes that a variant needs before the fall, so that its usual level is known."""
CERTAIN: Final = 3.0
"""Number of standard errors by which the other variants must deliver less than before the fall.

The comparison is made with every outcome of a rollback's target, and a false incident keeps a failing variant active.
A healthy variant with 88 % successes looks fallen only if four of its first four or five outcomes are failures.
"""
CLEARLY: Final = 2.0
"""Number of standard errors by which outcomes before or after a fall must be better than those during it."""


def began_at(fallen: Variant, rules: Rules) -> int | None:
    """Return the offset at which the fall of a variant began: from there on, its window lost most (CUSUM).

    Page, *Continuous inspection schemes*, Biometrika 41 (1954).  None if no part of the window lost anything.
    """
    before = promise_of(baseline_of(fallen, rules))
    expected, lost, most, began = before.value + before.successes + before.flawless, 0, 0, None
    for outcome in reversed(judged_outcomes(fallen)):
        got = (outcome.reward + MICRO) >> 1
        got += MICRO * (bool(outcome.flags & SUCCESS) + (not outcome.flags & ERROR))
        lost += expected - got * before.n
        if lost > most:
            most, began = lost, outcome.offset
    return began


def fell(others: Iterable[Variant], began: int) -> bool:
    """Return whether the other variants together have delivered clearly less since the fall began than before it.

    They are taken together because exploration gives each only a few outcomes.  The expected level is the mean of what
    each promises, weighted by its outcomes since then; its uncertainty is that of the variant with the fewest outcomes
    before the fall.
    """
    came, expected, least = Sums(), [0, 0, 0], 0
    for other in others:
        lately = since(other, began)
        known = less(lifetime_of(other), lately)
        if not lately.n or known.n < KNOWN or _had_fallen(other, known, began):
            continue
        promised = promise_of(known)
        for index, total in enumerate(promised[1:]):
            expected[index] += total * lately.n // known.n
        least = min(least or known.n, known.n)
        add(came, lately)
    if came.n < LEAST:
        return False
    value, successes, flawless = (total * least // came.n for total in expected)
    return is_better(Promise(least, value, successes, flawless), promise_of(came), CERTAIN)


def _had_fallen(variant: Variant, known: Sums, began: int) -> bool:
    """Return whether the variant was in quarantine, or delivered less than it once did, before the fall began."""
    if variant.quarantined:
        return True
    lately = Sums()
    for outcome in outcomes(variant):
        if outcome.offset < began:
            _count(lately, outcome.reward, outcome.flags)
    return lately.n > 0 and is_better(promise_of(known), promise_of(lately), CLEARLY)


def since(variant: Variant, offset: int) -> Sums:
    """Return the sums of the variant's judged outcomes from ``offset`` on."""
    sums = Sums()
    for outcome in outcomes(variant):
        if outcome.offset >= offset and outcome.flags & JUDGED:
            _count(sums, outcome.reward, outcome.flags)
    return sums


def latest(variant: Variant, incident: Incident) -> Sums:
    """Return the sums of the variant's last outcomes, at most ``clean`` of them, all after the incident was found."""
    sums = Sums()
    for outcome in [one for one in outcomes(variant) if one.offset > incident.offset][-incident.clean :]:
        _count(sums, outcome.reward, outcome.flags)
    return sums


def add(sums: Sums, more: Sums) -> None:
    """Add ``more`` to ``sums``."""
    sums.n += more.n
    sums.successes += more.successes
    sums.errors += more.errors
    sums.reward += more.reward
    sums.squares += more.squares


def _count(sums: Sums, reward: int, flags: int) -> None:
    sums.n += 1
    sums.successes += bool(flags & SUCCESS)
    sums.errors += bool(flags & ERROR)
    sums.reward += reward
    sums.squares += reward * reward // MICRO
