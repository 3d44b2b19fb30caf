"""What may happen to a task and its variants.  A change is a value: deciding makes it, ``lifecycle`` applies it.

A change carries what was decided and the words for it, so that ``facts`` states it without deciding anything again.
"""

from __future__ import annotations

from typing import NamedTuple

from crl_stream.core.messages import Candidate
from crl_stream.core.messages.parts import ActivationCause, DecisionKind
from crl_stream.core.monitor.grounds import Grounds
from crl_stream.core.monitor.row import Configuration, StandingOrder, Variant


# -- a variant's condition: healthy or degraded ------------------------------------------------------
class BecameDegraded(NamedTuple):
    """The first DEGRADED verdict on a healthy variant."""

    variant: Variant
    grounds: Grounds
    alert_id: str


class StayedDegraded(NamedTuple):
    """Another DEGRADED verdict on a degraded variant."""

    variant: Variant


class CountedHealthy(NamedTuple):
    """A HEALTHY verdict on a degraded variant, and not yet enough of them."""

    variant: Variant


class Recovered(NamedTuple):
    """Enough HEALTHY verdicts in a row."""

    variant: Variant
    grounds: Grounds
    needed: int
    """``degradation.clean_verdicts``."""


class GivenUp(NamedTuple):
    """Nothing will come of the variant any more that could show its recovery."""

    variant: Variant
    why: str


class AlertOpened(NamedTuple):
    """Operators hear of a degraded variant that is not rolled back."""

    variant: Variant
    grounds: Grounds
    alert_id: str
    """Of the alert that said that it is degraded; the same in what follows."""


# -- protection of the active variant ----------------------------------------------------------------
class HeldBack(NamedTuple):
    """The active variant is degraded and somebody holds the task."""

    variant: Variant
    who: str
    """Each hold with the command that releases it."""
    alert_id: str


class FoundNoTarget(NamedTuple):
    """The active variant is degraded and there is nothing to roll back to."""

    variant: Variant
    ranked: list[Candidate]
    alert_id: str


class RolledBack(NamedTuple):
    """The degraded active variant is left; in shadow mode it is only said that it would be."""

    variant: Variant
    target: Variant
    grounds: Grounds
    ranked: list[Candidate]
    rollback_id: str
    alert_id: str


# -- which variant is active -------------------------------------------------------------------------
class Activated(NamedTuple):
    """``to`` becomes the active variant, for any reason but a rollback."""

    to: Variant
    cause: ActivationCause
    cause_id: str
    words: str
    untested: bool = False
    """It has no outcome yet."""


class WouldPromote(NamedTuple):
    """In shadow mode: ``to`` would become the active variant."""

    to: Variant
    cause_id: str
    words: str


class Decided(NamedTuple):
    """The decision matrix says something of a variant for the first time in this epoch."""

    variant: Variant
    level: DecisionKind
    decision_id: str
    words: str


class ReviewedRollback(NamedTuple):
    """A person has looked at an enforced rollback."""

    rollback_id: str
    review: str
    """``confirmed`` or ``undone``."""


# -- what people order -------------------------------------------------------------------------------
class Pinned(NamedTuple):
    """Nothing is promoted until the order is over."""

    order: StandingOrder


class Unpinned(NamedTuple):
    """The pin is released or over."""


class Held(NamedTuple):
    """Nothing automatic happens until the order is over."""

    order: StandingOrder


class HoldProlonged(NamedTuple):
    """The hold stands for at least as many outcomes."""

    until_n: int
    """Outcomes of the task."""


class HoldEnded(NamedTuple):
    """The hold is released or over."""


class FleetHoldNoticed(NamedTuple):
    """A hold of the whole fleet begins or ends for the task."""

    since: int
    """When it began, in milliseconds; 0 when there is none."""


# -- which variants there are ------------------------------------------------------------------------
class Registered(NamedTuple):
    """A person describes a variant."""

    variant: Variant
    configuration: Configuration


class Retired(NamedTuple):
    """A variant is not to be used any more."""

    variant: Variant


class QuarantineLifted(NamedTuple):
    """A variant may be chosen again."""

    variant: Variant


Change = (
    BecameDegraded
    | StayedDegraded
    | CountedHealthy
    | Recovered
    | GivenUp
    | AlertOpened
    | HeldBack
    | FoundNoTarget
    | RolledBack
    | Activated
    | WouldPromote
    | Decided
    | ReviewedRollback
    | Pinned
    | Unpinned
    | Held
    | HoldProlonged
    | HoldEnded
    | FleetHoldNoticed
    | Registered
    | Retired
    | QuarantineLifted
)
