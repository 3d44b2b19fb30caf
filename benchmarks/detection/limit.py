"""The limit of detection: how soon any test can find a fall, given the rate of false alarms that it may raise.

Lorden (1971, *Procedures for reacting to a change in distribution*): if a test needs at least A outcomes on average to
raise a false alarm, then its mean delay after a change is at least ``ln A / I`` for large A.  I is the information of
one outcome, the Kullback-Leibler divergence of the outcomes after the change from those before it.
"""

from __future__ import annotations

from math import log
from typing import Final

from benchmarks.detection.sources import Rate
from benchmarks.detection.worlds import World
from crl_stream.core.policy import Degradation

BUDGET: Final = Degradation().false_alarm_budget
"""Mean number of outcomes to a false alarm, as promised by ``production``."""


def divergence(after: float, before: float) -> float:
    """Return the information in nats that one outcome gives about a fall of the success rate.

    >>> round(divergence(0.6, 0.9), 3), round(divergence(0.0, 0.5), 3)
    (0.311, 0.693)
    """
    parts = ((after, before), (1.0 - after, 1.0 - before))
    return sum(new * log(new / old) for new, old in parts if new > 0.0)


def least_delay(world: World, budget: int = BUDGET) -> float | None:
    """Return the least mean delay in outcomes, or None if the success rate of the world's active variant does not fall.

    The information is known only for independent outcomes that succeed or fail, once the variant's rate is well known.
    """
    if world.changes_at is None or world.kind not in {"collapse", "only_worse", "alone"} or world.late_results > 1:
        return None
    before, after = (phase[1][world.first]() for phase in (world.phases[0], world.phases[-1]))
    if not (isinstance(before, Rate) and isinstance(after, Rate) and after.p < before.p < 1.0):
        return None
    return log(budget) / divergence(after.p, before.p)


def greatest_gain(world: World) -> float | None:
    """Return the share of the oracle's gain at the least delay; None if the first variant was not the best.

    If another variant was better from the start, promotions decide the gain, too.
    """
    delay = least_delay(world)
    at_first = {name: make().p for name, make in world.phases[0][1].items()}
    if delay is None or world.kind != "collapse" or max(at_first.values()) > at_first[world.first]:
        return None
    return max(0.0, 1.0 - delay / (world.outcomes - (world.changes_at or 0)))
