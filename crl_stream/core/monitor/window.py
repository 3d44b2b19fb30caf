"""The last outcomes of a variant: adds, evicts and amends them, and keeps their sums and Q exact."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct as Layout
from typing import Final, NamedTuple

from crl_stream.core.monitor.baseline import age
from crl_stream.core.monitor.evidence import AMENDED_PLACES, PLACES, Claims, carry
from crl_stream.core.monitor.learning import Formula, reward_of
from crl_stream.core.monitor.row import (
    ABSENT,
    ERROR,
    EXPLICIT,
    FAILED,
    JUDGED,
    MICRO,
    OUTCOME,
    SIZE,
    STAGED,
    SUCCESS,
    WEIGHED,
    Sums,
    Variant,
)

_WEIGHT: Final = Layout("<16xi9xB")
"""Reads the reward and flags of an ``OUTCOME``."""
pack_outcome: Final = Layout("<q8siiiBB").pack
"""Packs an ``OUTCOME``, taking the hash as bytes."""


class Outcome(NamedTuple):
    """One outcome of a window, unpacked."""

    offset: int
    invocation: int
    reward: int
    speed: int
    quality: int
    errors: int
    flags: int

    @property
    def letter(self) -> str:
        """``S`` success, ``F`` failure, ``E`` error."""
        return "S" if self.flags & SUCCESS else "E" if self.flags & FAILED else "F"


def outcomes(variant: Variant) -> Iterator[Outcome]:
    """Return the outcomes of the window, oldest first."""
    for fields in OUTCOME.iter_unpack(variant.window):
        yield Outcome(*fields)


def judged_outcomes(variant: Variant) -> list[Outcome]:
    """Return the outcomes of the window that count towards a verdict: those since the last activation."""
    return [outcome for outcome in outcomes(variant) if outcome.flags & JUDGED]


def take_in(
    variant: Variant,
    outcome: bytes,
    reward: int,
    flags: int,
    size: int,
    rate: float,
    claims: Claims,
    memory: int = 0,
    enough: int = 0,
) -> None:
    """Add a packed outcome to lifetime, window and Q; ``size`` is the window's length, ``rate`` the learning rate.

    An outcome that leaves the window updates Q and the evidence at the window's start, using ``claims`` and ``enough``
    (see ``evidence.update``).  If ``memory`` is not 0, it also enters the past, which is halved at so many outcomes.
    """
    square = reward * reward // MICRO
    life, window = variant.life, variant.window
    number = life.n + 1
    # The newest outcome is not in the window yet, so the number of the oldest is (n - 1) - length + 1.
    while len(window) > size * SIZE:
        _count(variant.judged, *_evict(variant, number - len(window) // SIZE, rate, claims, memory, enough), 0, 0)
    if len(window) == size * SIZE:
        old_reward, old_flags = _evict(variant, number - size, rate, claims, memory, enough)
        _count(variant.judged, old_reward, old_flags, reward, flags)
    elif flags & JUDGED:
        _count(variant.judged, 0, 0, reward, flags)
    life.n = number
    life.reward += reward
    life.squares += square
    if flags & SUCCESS:
        life.successes += 1
    if flags & ERROR:
        life.errors += 1
    step, q = 1.0 / number, variant.q
    variant.q = q + (step if step > rate else rate) * (reward / MICRO - q)
    window += outcome


def _evict(variant: Variant, number: int, rate: float, claims: Claims, memory: int, enough: int) -> tuple[int, int]:
    """Drop the oldest outcome, the variant's ``number``-th; return its reward and flags; the sums still include it."""
    window = variant.window
    reward: int
    flags: int
    reward, flags = _WEIGHT.unpack_from(window)
    if flags & WEIGHED and variant.reward_start is not None:
        variant.reward_start = carry(variant, variant.reward_start, reward, flags, claims, enough)
    origin = variant.origin
    if memory and not variant.degraded and (origin is None or number > origin.n):
        age(variant.past, reward, flags, memory)
    variant.q_start = advance(variant.q_start, number, reward, rate)
    del window[:SIZE]
    return reward, flags


def _count(judged: Sums, old_reward: int, old_flags: int, reward: int, flags: int) -> None:
    """Replace one outcome with another in the sums of the window; sums that would not change are left alone."""
    leaves, comes = old_flags & JUDGED, flags & JUDGED
    old_flags, flags = old_flags if leaves else 0, flags if comes else 0
    old_reward, reward = old_reward if leaves else 0, reward if comes else 0
    if leaves != comes:
        judged.n += 1 if comes else -1
    if old_reward != reward:
        judged.reward += reward - old_reward
        judged.squares += reward * reward // MICRO - old_reward * old_reward // MICRO
    if (old_flags ^ flags) & SUCCESS:
        judged.successes += 1 if flags & SUCCESS else -1
    if (old_flags ^ flags) & ERROR:
        judged.errors += 1 if flags & ERROR else -1


def advance(q: float, n: int, reward: int, rate: float) -> float:
    """Return Q after one more outcome: ``Q + max(rate, 1/n) (R - Q)``.

    This is the plain mean of the first ``1/rate`` outcomes, and an exponential mean after that, so that Q >= .9 is
    within reach at n = 10.  Both are incremental means; see Sutton and Barto, *Reinforcement Learning*, sections 2.4
    and 2.5.

    Args:
        q: Q before, -1 to 1.
        n: The outcome's number among those of the variant, 1 or more.
        reward: The outcome's reward in millionths, -1,000,000 to 1,000,000.
        rate: The smallest step, above 0 and at most 1.

    >>> advance(0.0, 1, 1_000_000, 0.1), advance(1.0, 2, -1_000_000, 0.1), advance(0.5, 100, 1_000_000, 0.1)
    (1.0, 0.0, 0.55)
    """
    step = 1.0 / n
    return q + (step if step > rate else rate) * (reward / MICRO - q)


def forget(variant: Variant) -> None:
    """Clear the evidence, because earlier outcomes are no evidence after a recovery or an activation."""
    variant.evidence = [0.0] * PLACES
    if variant.reward_start is not None:
        variant.reward_start = [0.0] * AMENDED_PLACES
    for index in range(SIZE - 1, len(variant.window), SIZE):
        variant.window[index] &= ~WEIGHED


def restart_judging(variant: Variant) -> None:
    """Judge only new outcomes from here on; lifetime, window and Q are kept."""
    variant.judged = Sums()
    for index in range(len(variant.window) // SIZE):
        variant.window[index * SIZE + SIZE - 1] &= ~JUDGED
    forget(variant)


def unstage(variant: Variant) -> None:
    """Exclude the variant's outcomes so far from the rollout stage that begins now."""
    for index in range(SIZE - 1, len(variant.window), SIZE):
        variant.window[index] &= ~STAGED


def index_of(variant: Variant, invocation: int) -> int | None:
    """Return which outcome of the window has this id, 0 for the oldest; None if it is not in the window."""
    for index, outcome in enumerate(outcomes(variant)):
        if outcome.invocation == invocation:
            return index
    return None


def amend(
    variant: Variant,
    invocation: int,
    reward: int | None,
    quality: int | None,
    formula: Formula,
    beginnings: tuple[Sums, ...] = (),
) -> Outcome | None:
    """Give an outcome a reward or quality that became known late; return it as it was, or None if it is gone.

    Afterwards, lifetime, window sums and Q are as if the value had been known from the start.  ``evidence.reweigh``
    does the same for the evidence.  ``beginnings`` are the variant's first outcomes, up to some point in its lifetime;
    they are amended too if the outcome is one of them.
    """
    window, index = variant.window, index_of(variant, invocation)
    if index is None:
        return None
    found = Outcome(*OUTCOME.unpack_from(window, index * SIZE))
    new_quality = found.quality if quality is None else quality
    flags = found.flags
    if reward is not None:
        new_reward, flags = reward, flags | EXPLICIT
    elif flags & EXPLICIT:
        new_reward = found.reward
    else:
        new_reward = reward_of(bool(flags & SUCCESS), new_quality, found.speed, found.errors, formula)
    _shift(variant.life, found.reward, new_reward)
    number = variant.life.n - len(window) // SIZE + index
    if variant.origin is not None and number < variant.origin.n:
        _shift(variant.origin, found.reward, new_reward)
    for sums in beginnings:
        if number < sums.n:
            _shift(sums, found.reward, new_reward)
    if flags & JUDGED:
        _shift(variant.judged, found.reward, new_reward)
    if is_low(new_quality) != is_low(found.quality):
        variant.low_quality += 1 if is_low(new_quality) else -1
    OUTCOME.pack_into(
        window,
        index * SIZE,
        found.offset,
        found.invocation,
        new_reward,
        found.speed,
        new_quality,
        found.errors,
        flags,
    )
    relearn(variant, formula.rate)
    return found


def relearn(variant: Variant, rate: float) -> None:
    """Recompute Q over the window from its value at the window's start."""
    q, number = variant.q_start, variant.life.n - len(variant.window) // SIZE
    for outcome in outcomes(variant):
        number += 1
        q = advance(q, number, outcome.reward, rate)
    variant.q = q


def _shift(sums: Sums, old: int, new: int) -> None:
    sums.reward += new - old
    sums.squares += new * new // MICRO - old * old // MICRO


def is_low(quality: int) -> bool:
    """Return whether a quality is low enough to count as a kind of failure: below one half."""
    return quality != ABSENT and 2 * quality < MICRO


def count_flaws(variant: Variant, success: bool, speed: int, quality: int) -> None:
    """Count the flaws on which recommendations for a weak variant are based."""
    if not success:
        variant.failures += 1
    if speed < 0 and speed != ABSENT:
        variant.slow += 1
    if is_low(quality):
        variant.low_quality += 1
