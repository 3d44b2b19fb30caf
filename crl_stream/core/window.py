"""The last outcomes of a variant: taken in, evicted, amended, with their sums and Q always exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from crl_stream.core.evidence import carry, forget
from crl_stream.core.learning import advance, reward_of
from crl_stream.core.policy import Learning
from crl_stream.core.row import (
    ABSENT,
    ERROR,
    EXPLICIT,
    FAILED,
    JUDGED,
    MICRO,
    OUTCOME,
    SIZE,
    SUCCESS,
    WEIGHED,
    Sums,
    Variant,
)


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
    """The window, oldest first."""
    for fields in OUTCOME.iter_unpack(variant.window):
        yield Outcome(*fields)


def judged_outcomes(variant: Variant) -> list[Outcome]:
    """Those that count since the last activation."""
    return [outcome for outcome in outcomes(variant) if outcome.flags & JUDGED]


def take_in(
    variant: Variant,
    outcome: tuple[int, int, int, int, int, int, int],
    size: int,
    rate: float,
    reward_drops: tuple[float, float, float],
) -> None:
    """Add an outcome to lifetime, window and Q; ``size`` is the window's length, ``rate`` that of learning.

    An outcome that leaves the window moves Q and the evidence of the window's start, by ``reward_drops``.
    """
    reward, flags = outcome[2], outcome[6]
    square = reward * reward // MICRO
    success, error = flags & SUCCESS, (flags & ERROR) >> 1
    life, judged, window = variant.life, variant.judged, variant.window
    number = life.n + 1
    # The newest is not in yet, so the oldest one's number is n - 1 less what the window holds, plus one.
    while len(window) >= size * SIZE:
        _evict(variant, number - len(window) // SIZE, rate, reward_drops)
    life.n = number
    life.reward += reward
    life.squares += square
    life.successes += success
    life.errors += error
    step = 1.0 / number
    variant.q += (step if step > rate else rate) * (reward / MICRO - variant.q)
    if flags & JUDGED:
        judged.n += 1
        judged.reward += reward
        judged.squares += square
        judged.successes += success
        judged.errors += error
    window += OUTCOME.pack(*outcome)


def _evict(variant: Variant, number: int, rate: float, reward_drops: tuple[float, float, float]) -> None:
    """Drop the oldest outcome, the variant's ``number``-th."""
    window = variant.window
    _, _, reward, _, _, _, flags = OUTCOME.unpack_from(window)
    if flags & WEIGHED and variant.reward_start is not None:
        variant.reward_start = carry(variant, variant.reward_start, reward, reward_drops)
    if flags & JUDGED:
        judged = variant.judged
        judged.n -= 1
        judged.reward -= reward
        judged.squares -= reward * reward // MICRO
        judged.successes -= flags & SUCCESS
        judged.errors -= (flags & ERROR) >> 1
    variant.q_start = advance(variant.q_start, number, reward, rate)
    del window[:SIZE]


def looking_back(variant: Variant, last: int, earlier: bytes = b"") -> Variant:
    """The same variant as if its window were ``last`` outcomes long; ``earlier`` are those the window holds no more.

    Looks further back only as far as ``earlier`` goes.
    """
    window = (earlier + bytes(variant.window))[-last * SIZE :]
    judged = Sums()
    for fields in OUTCOME.iter_unpack(window):
        outcome = Outcome(*fields)
        if outcome.flags & JUDGED:
            judged.n += 1
            judged.reward += outcome.reward
            judged.squares += outcome.reward * outcome.reward // MICRO
            judged.successes += outcome.flags & SUCCESS
            judged.errors += (outcome.flags & ERROR) >> 1
    return replace(variant, window=bytearray(window), judged=judged)


def restart_judging(variant: Variant) -> None:
    """From here on only new outcomes are judged; lifetime, window and Q stay."""
    variant.judged = Sums()
    for index in range(len(variant.window) // SIZE):
        variant.window[index * SIZE + SIZE - 1] &= ~JUDGED
    forget(variant)


def amend(variant: Variant, invocation: int, reward: int | None, quality: int | None, learning: Learning) -> bool:
    """Give an outcome the reward or quality that became known late; False when the window has it not.

    Afterwards lifetime, window sums and Q are as if it had been known from the start; ``evidence.reweigh`` does the
    same for the evidence.
    """
    window = variant.window
    for index in range(len(window) // SIZE):
        found = Outcome(*OUTCOME.unpack_from(window, index * SIZE))
        if found.invocation == invocation:
            break
    else:
        return False
    new_quality = found.quality if quality is None else quality
    flags = found.flags
    if reward is not None:
        new_reward, flags = reward, flags | EXPLICIT
    elif flags & EXPLICIT:
        new_reward = found.reward
    else:
        new_reward = reward_of(bool(flags & SUCCESS), new_quality, found.speed, found.errors, learning)
    _shift(variant.life, found.reward, new_reward)
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
    relearn(variant, learning.rate)
    return True


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
    """Whether a quality counts as a failure kind of its own: below one half."""
    return quality != ABSENT and 2 * quality < MICRO
