"""Messages of the compacted topics: what is true now. Runtimes and people read these."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from crl_stream.core.messages.parts import (
    ActivationCause,
    BaselineSource,
    CandidateEvidence,
    Change,
    DecisionKind,
    Delivered,
    Identifier,
    LastTime,
    Modification,
    Position,
    ProposalType,
    Stops,
    Timestamp,
    Touches,
    UnreviewedRollback,
    VerdictKind,
)
from crl_stream.core.modes import Mode, OnChange


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A pin or a hold that is in force."""

    actor: str
    reason: str
    since: Timestamp
    until: Timestamp | None
    """When the pin or hold ends; absent if only ``outcomes_left`` limits it."""
    outcomes_left: int | None = None
    """Number of outcomes until the pin or hold ends; if ``until`` is also set, it ends at the later of the two."""
    variant_id: Identifier | None = None
    scope: Literal["task", "fleet"] = "task"
    """What the pin or hold covers: ``fleet`` if ``HoldAll`` holds every task."""
    stops: Stops = "all"
    """What it stops: a pin, or a hold of the fleet on promotions, leaves rollbacks possible."""


class ActiveRollout(msgspec.Struct, frozen=True, kw_only=True):
    """The rollout that determines the weights of an active variant."""

    rollout_id: Identifier
    variant_id: Identifier
    """The candidate."""
    stage: int
    """Counted from 1."""
    stages: int
    """Number of stages in the rollout."""
    paused: bool


class ActiveVariant(msgspec.Struct, frozen=True, kw_only=True):
    """The variant that runtimes use unless they explore (topic ``crl.active-variants``).

    Readers keep the record with the highest (incarnation, epoch, position.offset).
    """

    agent_name: Identifier
    task_type: Identifier
    variant_id: Identifier
    epoch: int
    """Number of the activation: it starts at 1 and grows by 1 with every change of the active variant."""
    previous_variant: Identifier | None
    quarantined: list[str]
    pinned: Order | None
    held: Order | None
    """The task's own hold, else the fleet's if it stops rollbacks too."""
    exploration: float
    """Share of the invocations that explore. ``weights`` already include it; without them, runtimes may explore."""
    mode: Mode
    since: Timestamp
    cause: ActivationCause
    cause_id: str
    incarnation: int
    position: Position
    policy_hash: str
    engine_version: str
    fleet_held: Order | None = None
    """The fleet's hold, of either strength; the task may have its own as well."""
    weights: dict[str, int] | None = None
    """Each variant's share of the sessions in thousandths, which add up to 1,000; absent: all get ``variant_id``.

    They come from a rollout or from exploration. ``topics/README.md`` says how to choose."""
    rollout: ActiveRollout | None = None
    on_change: OnChange = "next_turn"
    """``next_turn``: a session follows a change at once. ``next_session``: only new sessions follow it."""
    schema_version: int = 1

    @property
    def rollback_id(self) -> str | None:
        """The rollback that made the variant the active one; None if something else did."""
        return self.cause_id if self.cause == "rollback" else None


class RegisteredVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of a task and what is known about its configuration."""

    variant_id: Identifier
    state: Literal["seen", "registered", "retired"]
    """``seen`` if the variant has outcomes but was never registered."""
    quarantined: bool
    parent: Identifier | None = None
    model_tier: str | None = None
    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    modifications: list[Modification] = []
    configuration: dict[str, Any] | None = None
    """What runtimes get for this variant: a JSON object that crl-stream does not interpret; it never changes."""
    ref: str | None = None
    """Where the configuration is kept, such as ``langfuse:refund@12``; it never changes."""


class VariantCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    """The variants of a task (topic ``crl.variants``)."""

    agent_name: Identifier
    task_type: Identifier
    timestamp: Timestamp
    variants: list[RegisteredVariant]
    incarnation: int
    position: Position
    schema_version: int = 1


class WindowSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The last outcomes of a variant, oldest first."""

    size: int
    judged: int
    """How many outcomes of the window count towards a verdict: those since the variant's last activation."""
    success_rate: float
    avg_reward: float
    error_rate: float
    outcomes: str
    """One character per outcome: ``S`` success, ``F`` failure, ``E`` error."""
    rewards: list[float]
    offsets: list[int]
    judged_outcomes: str | None = None
    """One character per outcome: ``J`` if it is judged, else ``-``; absent in snapshots of older engines."""
    error_outcomes: str | None = None
    """One character per outcome: ``E`` if it counts as an error, else ``-``; absent in snapshots of older engines."""


class FailureKinds(msgspec.Struct, frozen=True, kw_only=True):
    """Why a variant's outcomes were bad, over its lifetime; one outcome may count under several reasons."""

    errors: int
    failures: int
    slow: int
    low_quality: int


class VariantConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The registered parameters of a variant; configuration and prompt modifications are in ``crl.variants``."""

    parent: Identifier | None = None
    model_tier: str | None = None
    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    ref: str | None = None
    """Where the variant's configuration is kept."""


class BaselineSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a window is compared with, if it is not simply derived from the lifetime."""

    variant_id: Identifier
    n: int
    success_rate: float
    avg_reward: float
    error_rate: float
    source: BaselineSource = "replaced_variant"


class ProposalLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The proposer's limits for a task (``[proposals]`` of its policy, and how many variants it may have)."""

    min_invocations: int = 50
    create_below_q: float = 0.6
    promote_gap: float = 0.20
    modify_below_q: float = 0.6
    retire_below_q: float = 0.4
    retire_after_rollbacks: int = 3
    expires_days: int = 30
    promote_min_samples: int = 5
    expected_q: float = 0.8
    max_variants: int = 32
    enforce_min_rollbacks: int = 5
    enforce_precision: float = 0.9
    max_open: int = 5
    staged: bool = False
    """Whether an approved promotion begins a rollout, instead of taking effect at once."""


class GuardrailLevel(msgspec.Struct, frozen=True, kw_only=True):
    """The level of one guardrail metric of a variant, such as its cost."""

    recent: float | None
    """Mean over the window; absent without a judged value."""
    outcomes: int
    """Number of values in the window."""
    baseline: float | None
    """The mean that the window is compared with; absent if there are too few values."""
    e_value: float
    """The evidence that the metric became worse; an alarm needs 1.25 times ``degradation.false_alarm_budget``."""
    broken: bool
    """Whether an alert about the metric is open."""


class VariantSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state and figures of one variant."""

    variant_id: Identifier
    active: bool
    quarantined: bool
    retired: bool
    q_value: float
    n_visits: int
    success_rate: float
    avg_reward: float
    error_rate: float
    reward_variance: float
    window: WindowSnapshot
    verdict: VerdictKind
    reason: str
    degraded: bool
    """Whether the variant was found degraded and has neither recovered nor become active again since.

    It stays true after an enforced rollback, although no degradation alert is open then."""
    e_value: float
    decision: DecisionKind
    reasoning: str
    rollbacks: int
    """How often the variant was rolled back."""
    failure_kinds: FailureKinds
    shadow_n: int
    shadow_success_rate: float
    shadow_avg_reward: float
    configuration: VariantConfiguration | None = None
    """The variant's registered configuration; absent if the variant was never registered."""
    baseline: BaselineSnapshot | None = None
    """What the variant is compared with; absent if it is judged against its own outcomes."""
    degraded_at: int | None = None
    """The variant's ``n_visits`` at its last DEGRADED verdict; absent if there was none."""
    feedback_too_late: int = 0
    """Number of scores that changed nothing, because their outcome was no longer in the window."""
    not_applied: str | None = None
    """Why the variant is not active yet although its decision is ``auto_apply``; absent for any other decision."""
    degraded_since: Timestamp | None = None
    """When the variant became ``degraded``; absent if it is not degraded, or if an older engine found it degraded."""
    guardrails: dict[str, GuardrailLevel] | None = None
    """By metric: ``cost``, ``duration``, ``tokens``, or a named one; absent if no outcome had any."""


class ReviewResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a review; the proposer derives the proposal's status from it."""

    proposal_id: Identifier
    review: Literal["approved", "rejected", "deferred"]
    outcome: Literal["applied", "refused"]
    actor: str
    reason: str
    detail: str
    timestamp: Timestamp
    command_id: Identifier
    until: Timestamp | None = None
    """When a deferred proposal becomes pending again, if the reviewer gave a time."""


class Filing(msgspec.Struct, frozen=True, kw_only=True):
    """Who filed a proposal with ``ProposeVariant``, and what they claim about the candidate."""

    command_id: Identifier
    actor: str
    """Who filed the proposal: a person or a program."""
    source: str
    """What made the candidate, as ``name@version``, or who."""
    reason: str
    evidence: CandidateEvidence | None = None


class FiledProposal(msgspec.Struct, frozen=True, kw_only=True):
    """An open proposal that was filed with ``ProposeVariant``; the proposer publishes it on ``crl.proposals``."""

    proposal_id: Identifier
    timestamp: Timestamp
    """When the proposal was filed."""
    expires_at: Timestamp
    change: Change
    filing: Filing


class RuntimeBehind(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime that has not yet reported an outcome of the current epoch."""

    runtime_id: Identifier
    epoch: int
    """The last epoch that the runtime has adopted; 0 if it has never named one."""
    late_invocations: int
    """How many of the runtime's outcomes since the last change of the active variant still named an older epoch."""
    last_seen: Timestamp | None
    """Append time of the runtime's last outcome; absent if it has sent none since the engine began to record this."""
    stuck: bool = False
    """Whether the runtime is stuck: it still works in an older epoch, and operators were alerted."""


class AdoptionSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How far the runtimes have followed the latest change of the active variant."""

    expected: int
    """Number of runtimes whose last outcome came within the ten minutes before the change."""
    moved: int
    within_two: int
    """How many runtimes moved with their first or second invocation after the change."""
    stuck: int
    median_invocations: float | None
    """Median number of invocations that a runtime needed to move, the first new one included; absent if none moved."""
    median_milliseconds: float | None
    """Median time from the change to a runtime's first new outcome."""


class RolloutSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout in progress."""

    rollout_id: Identifier
    variant_id: Identifier
    """The candidate."""
    control_variant: Identifier
    stage: int
    """Counted from 1."""
    stages: list[float]
    """The candidate's share of the invocations in each stage, 0 to 1."""
    share: float
    """The candidate's present share of the invocations, 0 to 1."""
    since: Timestamp
    stage_since: Timestamp
    actor: str
    """Who started the rollout: a person, a program, or ``monitor``."""
    outcomes: int
    """Number of the candidate's outcomes in the present stage."""
    outcomes_needed: int
    candidate: Delivered
    control: Delivered
    paused: Order | None
    waits_for: str
    """What the next stage waits for."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The latest rollback, while its target is compared with the variant that it replaced.

    The rollback is taken back if the target delivers less. Otherwise it is kept for good, at the latest when the
    target's window is full.
    """

    rollback_id: Identifier
    left_variant: Identifier
    left_success_rate: float
    """Success rate of the degraded variant, 0 to 1, over its window and a few added outcomes at its baseline rate."""
    left_avg_reward: float
    """Mean reward over the outcomes of ``left_success_rate``, -1 to 1."""
    left_error_rate: float
    """Error rate over the outcomes of ``left_success_rate``, 0 to 1."""
    outcomes: int
    """Number of the target's outcomes so far."""
    outcomes_needed: int
    """Number of outcomes of the target after which the rollback can no longer be taken back."""


class RollbackScorecard(msgspec.Struct, frozen=True, kw_only=True):
    """How often the rollbacks that shadow mode only reported were right, under the settings in force."""

    judged: int
    """Number of reported rollbacks that were judged: those that were ``right`` or ``wrong``."""
    right: int
    wrong: int
    open: int
    """Number of reported rollbacks with too few outcomes to tell whether they were right."""
    avoidable: int
    """Bad invocations that the ``right`` rollbacks would have avoided."""
    caused: int
    """Bad invocations that the ``judged`` rollbacks would have caused."""
    outcomes: int
    """Total number of outcomes by which the rollbacks were judged."""
    watched: Identifier | None = None
    """The reported rollback that is being judged now."""
    watched_outcomes: int = 0
    """Number of outcomes so far by which the rollback ``watched`` will be judged."""
    outcomes_needed: int = 0
    """Number of outcomes needed to judge the rollback ``watched``."""


class KeptPromises(msgspec.Struct, frozen=True, kw_only=True):
    """How many promotions of a task kept their promise, by the last ``Benefit`` of each; open ones are not counted."""

    judged: int
    helped: int
    no_change: int
    hurt: int


class OneRuntime(msgspec.Struct, frozen=True, kw_only=True):
    """Why the degraded active variant is not rolled back: one runtime accounts for the loss, and others contradict.

    The figures are those of the last ``one_runtime`` alert.
    """

    runtime_id: Identifier | None
    """The runtime that accounts for the loss; absent if its outcomes name none, or one that the task does not know."""
    metric: str
    """The metric that is degraded."""
    share: float
    """The runtime's share of what the window lost compared with the baseline, 0 to 1."""
    outcomes: int
    """Number of judged outcomes of the window that came from the runtime."""
    judged: int
    """Number of all judged outcomes of the window."""
    other_runtimes: int
    """Number of other runtimes that report the variant as healthy."""
    other_outcomes: int
    """Number of recent outcomes of those other runtimes, at most 19 from each."""
    text: str
    """The figures of this runtime and of the other runtimes, in words."""


class CommonCause(msgspec.Struct, frozen=True, kw_only=True):
    """Variants that fell together because of what they share; they are neither replaced nor chosen automatically."""

    incident_id: Identifier
    tag: str
    """What the variants share: ``provider:...`` or ``model:...``."""
    since: Timestamp
    """When the common cause was found."""
    until: Timestamp
    """When the incident ends at the latest, even if none of the variants has recovered."""
    outcomes_left: int
    """Number of further outcomes of the task after which the incident ends at the latest."""
    variants: list[str]
    """The variants with this tag, by name."""


class JudgeScale(msgspec.Struct, frozen=True, kw_only=True):
    """How the scores of one judge are brought to the scale of the task's first judge."""

    evaluator: str
    quality_shift: float | None
    """What is added to each of its qualities; absent while too few are known, which then count as the usual level."""
    reward_shift: float | None
    """What is added to each of its rewards, in the same way."""


class TaskSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a task at ``as_of`` (topic ``crl.tasks`` and the web views)."""

    agent_name: Identifier
    task_type: Identifier
    timestamp: Timestamp
    as_of: Position
    incarnation: int
    active_variant: Identifier | None
    epoch: int
    mode: Mode
    pinned: Order | None
    held: Order | None
    """The task's own hold, else the fleet's if it stops rollbacks too."""
    cooldown_left: int
    """Number of outcomes until a promotion is possible again."""
    no_target: bool
    """Whether the active variant is degraded and there is no target for a rollback."""
    n_outcomes: int
    n_duplicates: int
    n_amended: int
    n_skewed: int
    variants: list[VariantSnapshot]
    reviews: list[ReviewResult]
    runtimes: int
    runtimes_current: int
    """Number of runtimes that have adopted the current epoch."""
    policy_hash: str
    engine_version: str
    proposal_limits: ProposalLimits | None = None
    """Limits for proposals; absent in snapshots of older engines, which used the guide's limits."""
    fleet_held: Order | None = None
    """The fleet's hold, of either strength; the task may have its own as well."""
    active_since: Timestamp | None = None
    """When the current epoch began; absent while no variant is active, and in snapshots of older engines."""
    runtimes_behind: list[RuntimeBehind] | None = None
    """Runtimes that have not adopted the current epoch, by name; absent in snapshots of older engines."""
    n_feedback_too_late: int = 0
    """Number of scores for outcomes that had already left their window, including those of removed variants."""
    n_feedback_waiting: int = 0
    """Number of scores that are waiting for their outcome."""
    n_feedback_unmatched: int = 0
    """Number of waiting scores displaced by newer ones: their outcome never arrived, or arrived too long ago."""
    runtimes_forgotten: int = 0
    """How often a runtime was forgotten because the task had more runtimes than ``limits.runtimes``."""
    no_rollback: str | None = None
    """What prevents a rollback of the active variant (mode, hold, one runtime, incident); absent if nothing does."""
    verification: Verification | None = None
    """The latest rollback, while it may still be taken back."""
    rollout: RolloutSnapshot | None = None
    """The rollout in progress; absent if there is none."""
    scorecard: RollbackScorecard | None = None
    """How often reported rollbacks were right; absent until shadow mode reports one under the settings in force."""
    one_runtime: OneRuntime | None = None
    """The only runtime that makes the active variant look degraded; absent unless this prevents a rollback."""
    common_cause: CommonCause | None = None
    """The task's incident, while a provider or model that its variants share is failing."""
    adoption: AdoptionSnapshot | None = None
    """How far the runtimes have followed the latest change; absent if none was expected to."""
    judges: list[JudgeScale] | None = None
    """The judges of the task, the latest last; absent if no outcome has named one."""
    promotions: KeptPromises | None = None
    """How many promotions of the task helped; absent before the first one is judged."""
    benefits: dict[str, KeptPromises] | None = None
    """How many changes of the task helped, by the type of proposal that they speak for; absent before the first.

    ``promote_variant_to_default``: its promotions. ``enforce_task``: its rollbacks. ``create_specialized_variant`` and
    ``modify_variant_parameters``: the variants that such proposals created, once they became active."""
    filed: list[FiledProposal] = []
    """Open proposals that were filed with ``ProposeVariant``, oldest first; at most 4."""
    touches: Touches | None = None
    """What a change of the task reaches; absent in snapshots of older engines."""
    last_times: list[LastTime] = []
    """The last change of each kind and what became of it, oldest first."""
    unreviewed: list[UnreviewedRollback] = []
    """Rollbacks that wait for a person to confirm or undo them, oldest first; at most the last 8 are remembered."""
    schema_version: int = 1


ProposalStatus = Literal["pending", "approved", "rejected", "deferred", "superseded", "expired"]
OPEN_STATUSES: Final[frozenset[ProposalStatus]] = frozenset(("pending", "deferred"))
"""The statuses in which a proposal waits for a person."""
Trigger = Literal[
    "no_specialized_variant",
    "performance_gap",
    "underperformance",
    "medium_confidence",
    "low_q",
    "rolled_back",
    "shadow_precision",
    "external",
]


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One step in the life of a proposal."""

    revision: int
    status: ProposalStatus
    timestamp: Timestamp
    reason: str
    actor: str | None = None
    """Who filed or reviewed the proposal; absent if the step came from the proposer itself."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """An improvement for a person to review (topic ``crl.proposals``).

    Readers keep the record with the highest revision of a ``proposal_id``, and check ``expires_at`` themselves.
    """

    proposal_id: Identifier
    timestamp: Timestamp
    """When the proposal was first made."""
    agent_name: Identifier
    task_type: Identifier
    proposal_type: ProposalType
    reasoning: str
    confidence: float
    supporting_data: dict[str, float]
    """The guide's ``n_invocations``, ``avg_q_default``, ``potential_improvement``, ``variance``.

    A proposal to enforce rollbacks adds the scorecard: ``judged``, ``right``, ``avoidable``, ``caused``. If the
    proposal was filed, ``potential_improvement`` is what its source claims, on the source's own scale."""
    recommended_modifications: list[Modification]
    status: ProposalStatus
    tracker_type: str
    """``crl_`` followed by the proposal's type."""
    trigger: Trigger
    target_variant: Identifier
    """The variant to promote or retire, or the id of the new variant; to enforce rollbacks, the active variant."""
    change: Change
    """The exact change that an approval applies."""
    epoch: int
    """Epoch that the proposal was made for; its approval is refused in any other epoch.

    A filed proposal follows the task: in a new epoch, it gets a revision with that epoch."""
    revision: int
    expires_at: Timestamp
    history: list[Revision]
    """The last 20 steps of the proposal, oldest first."""
    position: Position
    """Log position of the snapshot that the last revision is based on."""
    engine_version: str
    deferred_until: Timestamp | None = None
    """When a deferred proposal becomes pending again; absent if it is not deferred, or was deferred without a time."""
    filing: Filing | None = None
    """Who filed the proposal with ``ProposeVariant``, from which source; absent if the proposer made it."""
    touches: Touches | None = None
    """What an approval reaches, as of ``position``; absent in proposals of older engines."""
    last_time: LastTime | None = None
    """The task's last change of the kind that an approval makes, as of ``position``; absent if none is known."""
    undo_command: str | None = None
    """The command that undoes an approval, once it was applied; absent in proposals of older engines."""
    schema_version: int = 1
