"""The changes to a task and its variants.  A change is a value: a decision creates it, and ``lifecycle`` applies it.

A change carries the decision and its wording, so that ``facts`` can publish it without deciding anything again.
"""

from __future__ import annotations

from typing import NamedTuple

from crl_stream.core.messages import Candidate
from crl_stream.core.messages.facts import HindsightFinding
from crl_stream.core.messages.parts import ActivationCause, BenefitFinding, DecisionKind
from crl_stream.core.monitor.grounds import Grounds
from crl_stream.core.monitor.promise import Promise
from crl_stream.core.monitor.row import Configuration, Incident, OneRuntime, Prediction, StandingOrder, Variant, Watched


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
    """A HEALTHY verdict on a degraded variant that needs more of them to recover."""

    variant: Variant


class Recovered(NamedTuple):
    """A degraded variant has had enough HEALTHY verdicts in a row."""

    variant: Variant
    grounds: Grounds
    needed: int
    """How many HEALTHY verdicts a recovery needs: ``degradation.clean_verdicts``."""


class GivenUp(NamedTuple):
    """The variant will have no more outcomes that could show its recovery."""

    variant: Variant
    why: str


class LevelAccepted(NamedTuple):
    """A person accepts what a degraded variant delivers now as its baseline, and judging starts from scratch."""

    variant: Variant
    who: str


class AlertOpened(NamedTuple):
    """Operators are alerted to a degraded variant that is not rolled back."""

    variant: Variant
    grounds: Grounds
    alert_id: str
    """Id of the alert that reported the degradation; later facts about it use the same id."""


# -- protection of the active variant ----------------------------------------------------------------
class HeldBack(NamedTuple):
    """The active variant is degraded, and a hold prevents its rollback."""

    variant: Variant
    who: str
    """Describes each hold and names the command that releases it."""
    alert_id: str


class FoundNoTarget(NamedTuple):
    """The active variant is degraded, and there is no variant to roll back to."""

    variant: Variant
    ranked: list[Candidate]
    alert_id: str


class FoundOneRuntime(NamedTuple):
    """The active variant is degraded, but one runtime accounts for the loss, and others report it as healthy."""

    variant: Variant
    found: OneRuntime
    alert_id: str


class OneRuntimeEnded(NamedTuple):
    """The active variant is still degraded, but the other runtimes no longer report it as healthy."""

    variant: Variant
    alert_id: str


class GuardrailBroken(NamedTuple):
    """A guardrail metric of the active variant, or of a rollout's candidate, became clearly worse."""

    variant: Variant
    metric: str
    grounds: Grounds
    alert_id: str
    leads: bool
    """Whether a rollback follows, or the end of the rollout."""


class GuardrailsAccepted(NamedTuple):
    """A person accepts what a variant costs now, and its guardrail metrics are judged from scratch."""

    variant: Variant
    who: str


class GuardrailKept(NamedTuple):
    """A guardrail metric that was broken is back within its limit."""

    variant: Variant
    metric: str
    alert_id: str
    words: str


class RolledBack(NamedTuple):
    """The degraded active variant is replaced; shadow mode only reports that it would be."""

    variant: Variant
    target: Variant
    grounds: Grounds
    ranked: list[Candidate]
    rollback_id: str
    alert_id: str
    left: Promise | None = None
    """What the degraded variant delivers, to verify the target against; None if the rollback is not verified."""
    watched: Watched | None = None
    """What is needed to judge the rollback later, in shadow mode."""


class LookedBack(NamedTuple):
    """A rollback that shadow mode reported is judged by what happened next."""

    watched: Watched
    finding: HindsightFinding
    words: str
    outcomes: int
    """Number of outcomes by which the rollback is judged."""
    bad: int
    """How many of the counted ``outcomes`` were not a success."""
    would: int
    """Bad outcomes to expect among the same number of outcomes of the target, in millionths."""
    meanwhile: bool
    """Whether ``would`` comes from the target's own outcomes over the same time, not from its promise."""
    avoidable: int
    """Bad outcomes that the rollback would have avoided."""
    caused: int
    """Bad outcomes that the rollback would have caused."""


class Benefited(NamedTuple):
    """The latest change of the active variant is judged by what the new variant has delivered since."""

    prediction: Prediction
    finding: BenefitFinding
    words: str
    delivered: Promise
    before: Promise
    """What the replaced variant delivers."""
    meanwhile: bool
    """Whether ``before`` comes from its own outcomes over the same time, not from its promise."""
    final: bool


class TakenBack(NamedTuple):
    """The target of the latest rollback delivers less than the variant it replaced, which becomes active again."""

    variant: Variant
    to: Variant
    rollback_id: str
    words: str
    cause: ActivationCause = "rollback_verified_worse"
    """``common_cause`` if the target and the variant it replaced fell together."""


class VerificationEnded(NamedTuple):
    """The latest rollback is kept: its target held up, a person confirmed it, or there is nothing to return to."""


class CommonCauseFound(NamedTuple):
    """Variants with the same tag fell together; a wider incident replaces a narrower one."""

    incident: Incident
    words: str
    """What each of the variants delivered, and what it had delivered before."""


class CommonCauseEnded(NamedTuple):
    """The task's incident is over."""

    incident: Incident
    why: str
    cleared: list[Variant]
    """The variants that are judged from scratch."""
    back: Variant | None = None
    """The variant that becomes active again; None if the active one stays."""
    left: Promise | None = None
    """What the present active variant delivers; the return is verified against this."""


# -- which variant is active -------------------------------------------------------------------------
class Activated(NamedTuple):
    """``to`` becomes the active variant, except by a rollback or because a rollback is taken back."""

    to: Variant
    cause: ActivationCause
    cause_id: str
    words: str
    untested: bool = False
    """Whether the new active variant has no outcomes yet."""


class WouldPromote(NamedTuple):
    """``to`` would become the active variant, but shadow mode only reports it."""

    to: Variant
    cause_id: str
    words: str


class Decided(NamedTuple):
    """The decision matrix makes this decision about a variant for the first time in this epoch."""

    variant: Variant
    level: DecisionKind
    decision_id: str
    words: str


class ReviewedRollback(NamedTuple):
    """A person has reviewed an enforced rollback."""

    rollback_id: str
    review: str
    """Result of the review: ``confirmed`` or ``undone``."""
    actor: str


# -- rollouts -----------------------------------------------------------------------------------------
class RolloutStarted(NamedTuple):
    """A candidate begins to get a share of the invocations, which grows in stages."""

    rollout_id: str
    candidate: Variant
    shares: list[int]
    """The candidate's share of the invocations in each stage, in thousandths, ascending."""
    min_outcomes: int
    cause: str
    """Why the rollout begins: ``command``, ``approval`` or ``auto_apply``."""
    cause_id: str
    actor: str
    words: str


class StagePassed(NamedTuple):
    """The next stage of the rollout begins."""

    actor: str
    words: str


class RolloutPaused(NamedTuple):
    """The rollout stays at its stage until a person resumes it."""

    order: StandingOrder


class RolloutResumed(NamedTuple):
    """The paused rollout continues."""

    actor: str
    words: str


class RolloutStalled(NamedTuple):
    """Operators are alerted that the rollout's present stage is not ending."""

    words: str


class RolloutAborted(NamedTuple):
    """All invocations use the active variant again: the candidate is degraded, or a person ends the rollout."""

    candidate: Variant
    actor: str
    words: str
    rollback_id: str
    """Id of the rollback; if a person ends the rollout, the command's id."""
    grounds: Grounds | None = None
    """Why the candidate is degraded; None if a person ends the rollout, and then nothing is quarantined."""
    alert_id: str = ""


# -- operators' commands -----------------------------------------------------------------------------
class Pinned(NamedTuple):
    """Nothing is promoted until the pin ends."""

    order: StandingOrder


class Unpinned(NamedTuple):
    """The pin was released or has expired."""


class Held(NamedTuple):
    """Nothing automatic happens until the hold ends."""

    order: StandingOrder


class HoldProlonged(NamedTuple):
    """The hold is extended to last at least until ``until_n``."""

    until_n: int
    """The task's outcome count at which the hold may end."""


class HoldEnded(NamedTuple):
    """The hold was released or has expired."""


class FleetHoldNoticed(NamedTuple):
    """A hold on the whole fleet begins or ends for the task."""

    since: int
    """When the fleet's hold began, in milliseconds; 0 if there is none."""


# -- the variants of a task --------------------------------------------------------------------------
class Registered(NamedTuple):
    """A person registers a variant's description."""

    variant: Variant
    configuration: Configuration
    command_id: str


class Retired(NamedTuple):
    """A variant is retired: it must no longer be used."""

    variant: Variant
    command_id: str


class QuarantineLifted(NamedTuple):
    """A quarantined variant may be chosen again."""

    variant: Variant


Change = (
    BecameDegraded
    | StayedDegraded
    | CountedHealthy
    | Recovered
    | GivenUp
    | LevelAccepted
    | AlertOpened
    | HeldBack
    | FoundNoTarget
    | FoundOneRuntime
    | OneRuntimeEnded
    | GuardrailBroken
    | GuardrailKept
    | GuardrailsAccepted
    | RolledBack
    | TakenBack
    | LookedBack
    | Benefited
    | VerificationEnded
    | CommonCauseFound
    | CommonCauseEnded
    | Activated
    | WouldPromote
    | Decided
    | ReviewedRollback
    | RolloutStarted
    | StagePassed
    | RolloutPaused
    | RolloutResumed
    | RolloutStalled
    | RolloutAborted
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
