"""The level of a guardrail metric for one variant: cost, duration, tokens, or a number that runtimes name.

A gauge keeps the latest values in a window and the sums of older values, which fade.  The e-SR statistic (see
``likelihood``) shows whether the mean has become worse.  An outcome x multiplies it by
``FADING + min(s / (v + s^2), .9 / (m - least)) (x - m)``.  Here m is the baseline's mean, increased by one standard
error, v is its variance, and s is the shift that an alternative claims.  This is a bet on the mean of values that are
never below ``least`` (Waudby-Smith, Ramdas, arXiv 2010.09686).  A few huge values prove little, and values need no
upper limit.

Values are floats in the metric's own unit, negated if lower is worse, so that higher is always worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from struct import Struct as Layout
from typing import Final, NamedTuple

from crl_stream.core.monitor.likelihood import CEILING, FADING, SPREAD
from crl_stream.core.monitor.row import Gauge, Spread

VALUE: Final = Layout("<f")
FEWEST: Final = 20
"""How many outcomes of the replaced variant a newcomer needs as a baseline."""
OWN: Final = 40
"""How many outcomes a variant's own past needs as a baseline; half of a memory that is shorter than two of these."""
STEADY: Final = 0.05
"""The smallest standard deviation to assume, as a share of the mean: constant values would otherwise prove anything."""


class Level(NamedTuple):
    """The mean over ``n`` values; higher is worse."""

    n: int
    mean: float


class Change(NamedTuple):
    """How much worse the latest values are than the baseline, relative and absolute."""

    baseline: Level
    recent: Level
    relative: float
    """The increase of the mean relative to its size; if the baseline's mean is 0, the increase itself."""


def measure(gauge: Gauge, value: float, size: int, memory: int, limit: float, floor: float) -> float:
    """Add a value, and return the e-value.

    Args:
        gauge: Updated in place.
        value: The outcome's value; higher is worse.
        size: How many values the window holds, 2 to 1,000.
        memory: At how many values the past is halved, 2 or more.
        limit: The largest relative increase that is still acceptable.
        floor: The smallest increase that matters, in the metric's unit.
    """
    base = baseline_of(gauge, memory)
    if base is not None:
        gauge.evidence = weigh(gauge.evidence, value, base, min(gauge.least, value), limit, floor)
    if value < gauge.least:
        gauge.least = value
    window = gauge.window
    if len(window) >= size * VALUE.size:
        _drop_oldest(gauge, memory, len(window) // VALUE.size - size + 1)
    gauge.window += VALUE.pack(value)
    gauge.seen, gauge.since_alert = gauge.seen + 1, gauge.since_alert + 1
    return e_value(gauge)


def e_value(gauge: Gauge) -> float:
    """Return the evidence that the mean is higher now: the mean of the three alternatives."""
    r1, r2, r3 = gauge.evidence
    return (r1 + r2 + r3) / 3.0


def weigh(found: Sequence[float], value: float, base: Spread, least: float, limit: float, floor: float) -> list[float]:
    """Return the statistics of "the mean is higher now", after one more value."""
    n, total, squares = base.n, base.total, base.squares
    mean = total / n
    variance = squares / n - mean * mean
    steady = STEADY * mean
    if variance < steady * steady:
        variance = steady * steady
    mean += sqrt(variance / n)
    most = 0.9 / (mean - least) if mean > least else CEILING
    size = -mean if mean < 0.0 else mean
    r1, r2, r3 = found
    gap, drop = value - mean, limit * size
    # Written out, because it runs for every outcome and a loop takes longer.
    return [
        _grown(r1, gap, drop * SPREAD[0], floor, variance, most),
        _grown(r2, gap, drop * SPREAD[1], floor, variance, most),
        _grown(r3, gap, drop * SPREAD[2], floor, variance, most),
    ]


def _grown(statistic: float, gap: float, shift: float, floor: float, variance: float, most: float) -> float:
    """Return one statistic after a value that is ``gap`` above the mean."""
    shift = shift if shift > floor else floor
    bet = shift / (variance + shift * shift) if shift > 0.0 else CEILING
    ratio = FADING + (bet if bet < most else most) * gap  # above zero: no gap costs more than .9
    grown = (statistic + 1.0) * ratio
    return grown if grown < CEILING else CEILING


def baseline_of(gauge: Gauge, memory: int) -> Spread | None:
    """Return the baseline: the replaced variant's values, then the variant's own past; None if there are too few."""
    frozen: Spread | None = gauge.frozen
    if frozen is not None and (gauge.open_alert or 2 * gauge.seen < memory):
        return frozen
    past: Spread = gauge.past
    # Halving leaves half of the memory, which must be enough, or a short memory would never give a baseline.
    return past if past.n >= OWN or 2 * past.n >= memory else None


def change_of(gauge: Gauge, memory: int, least: int, limit: float, floor: float) -> Change | None:
    """Return the change of the window if it breaks the limit, also without its highest value; None otherwise.

    ``least`` is how many values the window needs.
    """
    base, values = baseline_of(gauge, memory), values_of(gauge)
    if base is None or len(values) < max(least, 2):
        return None
    before, total = base.total / base.n, 0.0
    for value in values:
        total += value
    mean = total / len(values)
    spared = (total - max(values)) / (len(values) - 1)  # never more than the mean
    if spared - before <= max(limit * abs(before), floor):
        return None
    relative = (mean - before) / abs(before) if before else mean
    return Change(Level(base.n, before), Level(len(values), mean), relative)


def level_of(gauge: Gauge) -> Level | None:
    """Return what the variant delivers: over its past and its window; None without values."""
    values, past = values_of(gauge), gauge.past
    n = past.n + len(values)
    if not n:
        return None
    total = past.total
    for value in values:
        total += value
    return Level(n, total / n)


def recent_of(gauge: Gauge) -> Level | None:
    """Return what the variant delivered lately: over its window; None without values."""
    values, total = values_of(gauge), 0.0
    for value in values:
        total += value
    return Level(len(values), total / len(values)) if values else None


def values_of(gauge: Gauge) -> list[float]:
    """Return the values of the window, oldest first."""
    return [value for (value,) in VALUE.iter_unpack(gauge.window)]


def restart(gauge: Gauge, memory: int, frozen: Spread | None = None, head_start: float = 0.0) -> None:
    """Judge only new values from here on; ``frozen`` is the baseline of a newcomer."""
    _drop_oldest(gauge, memory, len(gauge.window) // VALUE.size)
    gauge.open_alert, gauge.seen, gauge.frozen = "", 0, frozen
    gauge.evidence = [head_start] * 3
    if frozen is not None:
        gauge.least = min(gauge.least, frozen.total / frozen.n)


def accept(gauge: Gauge) -> None:
    """Forget what the variant delivered before, so that what it delivers from here on is its baseline."""
    gauge.past, gauge.frozen, gauge.open_alert, gauge.seen = Spread(), None, "", 0
    gauge.window, gauge.evidence = bytearray(), [0.0] * 3


def left_behind(gauge: Gauge, memory: int) -> Spread | None:
    """Return the baseline that the variant leaves to its successor; None if it is too short.

    It is the variant's own level without an alert, else what the variant itself was compared with.
    """
    base = baseline_of(gauge, memory) if gauge.open_alert else gauge.past if gauge.past.n >= FEWEST else gauge.frozen
    return None if base is None or base.n < FEWEST else Spread(base.n, base.total, base.squares)


def _drop_oldest(gauge: Gauge, memory: int, count: int) -> None:
    """Drop the oldest values of the window; they enter the past unless an alert is open."""
    past = gauge.past
    if not gauge.open_alert:
        for (value,) in VALUE.iter_unpack(gauge.window[: count * VALUE.size]):
            past.n, past.total, past.squares = past.n + 1, past.total + value, past.squares + value * value
            if past.n >= memory and not past.n & 1:
                past.n, past.total, past.squares = past.n >> 1, past.total / 2.0, past.squares / 2.0
    del gauge.window[: count * VALUE.size]
