"""Scores that arrive late: each amends the outcome it belongs to, or waits for it."""

from __future__ import annotations

from typing import Literal

from crl_stream.core.ids import name_digest
from crl_stream.core.messages import Feedback
from crl_stream.core.monitor import benefit, scorecard
from crl_stream.core.monitor.dedupe import NO_MARK, owner_of, remember
from crl_stream.core.monitor.evidence import reweigh
from crl_stream.core.monitor.judges import on_scale
from crl_stream.core.monitor.row import MICRO, STAGED, Variant, Waiting
from crl_stream.core.monitor.sources import amend_runtime
from crl_stream.core.monitor.staging import sums_of
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.window import amend, index_of


def take_feedback(turn: Turn, feedback: Feedback) -> tuple[Literal["applied", "duplicate", "too_late"], Variant | None]:
    """Amend the outcome if it is still in a window, and return its variant; otherwise let the feedback wait.

    An outcome that has left its window is never amended.  If its id is still remembered, the feedback is too late.
    Otherwise the outcome may still arrive, so the feedback waits until newer feedback pushes it out.  Shadow outcomes
    are in no window, so their scores are too late, and teach the scale of judges nothing.
    """
    row, limits = turn.row, turn.policy.limits
    own = name_digest(feedback.feedback_id)
    if not remember(row.feedback_ids, own, limits.duplicate_ids):
        row.duplicates += 1
        return "duplicate", None
    digest = name_digest(feedback.invocation_id)
    invocation = int.from_bytes(digest, "little")
    reward = None if feedback.reward is None else round(feedback.reward * MICRO)
    quality = None if feedback.quality is None else round(feedback.quality * MICRO)
    found = next((variant for variant in row.variants.values() if index_of(variant, invocation) is not None), None)
    owner = owner_of(row, digest) if found is None else None
    if owner is not None:
        row.too_late += 1
        for variant in row.variants.values():
            if owner != NO_MARK and variant.mark == owner:
                variant.too_late += 1
        return "too_late", None
    quality, reward = on_scale(row, feedback.evaluator, quality, reward)
    if found is not None:
        _amend(turn, found, invocation, reward, quality)
        return "applied", found
    waiting = [*row.waiting, Waiting(invocation, reward, quality)]
    pushed_out = max(0, len(waiting) - limits.waiting_feedback)
    row.unmatched += pushed_out
    row.waiting = waiting[pushed_out:]
    return "applied", None


def settle_waiting(turn: Turn, variant: Variant, invocation: int) -> None:
    """Apply all feedback that was waiting for the outcome that has just arrived."""
    row = turn.row
    mine = [waiting for waiting in row.waiting if waiting.invocation == invocation]
    if not mine:
        return
    row.waiting = [waiting for waiting in row.waiting if waiting.invocation != invocation]
    for waiting in mine:
        _amend(turn, variant, invocation, waiting.reward, waiting.quality)


def _amend(turn: Turn, variant: Variant, invocation: int, reward: int | None, quality: int | None) -> None:
    """Amend the outcome and all that depends on its reward, if it is in the variant's window."""
    before, squares = variant.life.reward, variant.life.squares
    started = scorecard.beginnings(turn.row, variant) + benefit.beginnings(turn.row, variant)
    found = amend(variant, invocation, reward, quality, turn.rules.formula, started)
    if found is None:
        return
    row = turn.row
    row.amended += 1
    change = variant.life.reward - before
    if change:
        if found.flags & STAGED and (sums := sums_of(row, variant)) is not None:
            sums.reward += change
            sums.squares += variant.life.squares - squares
        reweigh(variant, turn.rules.size, turn.rules.claims, turn.rules.weighs)
        amend_runtime(row, variant, invocation, change)
