"""What the outcomes of a window are compared with: the variant's own past, recent or complete.

``Variant.past`` holds the last outcomes before the window.  Whenever it reaches ``memory`` outcomes, all its counts are
halved, so old outcomes fade and a bad start is forgotten.  The lifetime before the window forgets nothing, so it
reveals a slow drift.  Whichever of the two has the higher mean reward is the baseline.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.row import ERROR, MICRO, SUCCESS, Sums, Variant

FEWEST: Final = 20
"""Outcomes that ``past`` needs before it is used; it begins empty when the policy begins to use it."""


def age(past: Sums, reward: int, flags: int, memory: int) -> None:
    """Add an outcome that leaves the window to ``past``; at ``memory`` outcomes (even, 2 or more), halve everything.

    Odd counts are rounded to the nearest even result, so that halving favours neither good nor bad outcomes.
    """
    past.reward += reward
    past.squares += reward * reward // MICRO
    if flags & SUCCESS:
        past.successes += 1
    if flags & ERROR:
        past.errors += 1
    past.n = n = past.n + 1
    if n >= memory and not n & 1:
        past.n = n >> 1
        past.successes = (past.successes + (past.successes >> 1 & 1)) >> 1
        past.errors = (past.errors + (past.errors >> 1 & 1)) >> 1
        past.reward >>= 1
        past.squares >>= 1


def lifetime_of(variant: Variant) -> Sums:
    """Return the sums of the variant's lifetime, or of its outcomes since a person accepted a level."""
    life, origin = variant.life, variant.origin
    return life if origin is None else less(life, origin)


def before_window(variant: Variant) -> Sums:
    """Return the lifetime without the judged outcomes of the window."""
    return less(lifetime_of(variant), variant.judged)


def recent_or_long(variant: Variant) -> Sums:
    """Return ``past``, or the lifetime before the window if its mean reward is higher or ``past`` is too short."""
    past = variant.past
    few = past.n
    if few < FEWEST:
        return before_window(variant)
    life, judged, origin = variant.life, variant.judged, variant.origin
    # Most outcomes are compared with ``past``, and then the sums of the lifetime need not be built.
    n, reward = life.n - judged.n, life.reward - judged.reward
    if origin is not None:
        n, reward = n - origin.n, reward - origin.reward
    return before_window(variant) if past.reward * n < reward * few else past


def meanwhile(variant: Variant | None, started: Sums, least: int) -> Sums | None:
    """Return the outcomes of a variant since its lifetime was ``started``; None if they are fewer than ``least``.

    A variant that was forgotten and added again starts from zero, so its sums cannot be compared: None as well.
    """
    if variant is None:
        return None
    found = less(variant.life, started)
    fits = 0 <= found.successes <= found.n and 0 <= found.errors <= found.n
    return found if found.n >= least and fits else None


def less(sums: Sums, part: Sums) -> Sums:
    """Return ``sums`` minus ``part``, which is included in them."""
    return Sums(
        sums.n - part.n,
        sums.successes - part.successes,
        sums.errors - part.errors,
        sums.reward - part.reward,
        sums.squares - part.squares,
    )
