"""Facts of the monitor: degradations, rollbacks, decisions, alerts, receipts.

Facts are deterministic: ids are hashes of kind, task and log position, and the time comes from the log. A duplicate
after a crash has the same id and the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from crl_stream.core.messages.parts import (
    ActivationCause,
    BenefitFinding,
    Candidate,
    DecisionKind,
    Delivered,
    Evidence,
    Gain,
    Identifier,
    Judged,
    LastTime,
    Position,
    Timestamp,
    Touches,
)

AlertKind = Literal[
    "degradation",
    "rollback",
    "rollback_taken_back",
    "no_target",
    "held_degradation",
    "variant_limit",
    "clock_skew",
    "data_gap",
    "fold_failure",
    "rollback_stuck",
    "rollback_rate",
    "weekly_review",
    "daily_review",
    "fleet_hold",
    "untested",
    "rollout_aborted",
    "rollout_stalled",
    "one_runtime",
    "common_cause",
    "guardrail",
    "mirror_conflict",
    "mirror_unreachable",
]
Severity = Literal["info", "warning", "critical"]


class DegradationAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A variant's transition into or out of the degraded state (topic ``crl.degradations``)."""

    alert_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    variant_id: Identifier
    state: Literal["degraded", "recovered"]
    active: bool
    """Whether the variant was the active one at that time."""
    metric: str | None
    """The most degraded metric: ``success_rate``, ``avg_reward``, ``error_rate``; or a broken guardrail: ``cost``."""
    reason: str
    """One sentence that explains the verdict, worded as in the guide."""
    degradation_metrics: dict[str, float]
    evidence: Evidence
    judged: Judged
    enforced: bool
    epoch: int
    position: Position
    policy_hash: str
    engine_version: str
    schema_version: int = 1


class RollbackEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A degraded active variant was replaced by the best eligible variant (topic ``crl.rollbacks``)."""

    rollback_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    from_variant: Identifier
    to_variant: Identifier
    reason: str
    degradation_metrics: dict[str, float]
    epoch: int
    """Epoch after the rollback; in shadow mode, the epoch that stays in force."""
    enforced: bool
    """Whether the rollback was made; false in shadow mode, which only reports it."""
    cause_id: Identifier
    """Id of the alert that reported the degradation."""
    evidence: Evidence
    judged: Judged
    candidates: list[Candidate]
    undo_command: str
    position: Position
    policy_hash: str
    engine_version: str
    rollout_id: Identifier | None = None
    """The rollout that was aborted; absent if the degraded variant was the active one."""
    touches: Touches | None = None
    """What the rollback reaches; absent in events of older engines."""
    last_time: LastTime | None = None
    """The task's rollback before this one; absent if none is known: an engine before version 9 remembered none."""
    schema_version: int = 1


class Decision(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="decision"):
    """A variant reached a level of the decision matrix for the first time in an epoch (topic ``crl.decisions``)."""

    decision_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    variant_id: Identifier
    decision: DecisionKind
    reasoning: str
    q_value: float
    n_visits: int
    epoch: int
    position: Position
    policy_hash: str
    engine_version: str
    schema_version: int = 1


class Activation(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="activation"):
    """A change of the active variant; in shadow mode, a change that would have happened (topic ``crl.decisions``)."""

    activation_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    from_variant: Identifier | None
    to_variant: Identifier
    cause: ActivationCause
    cause_id: Identifier
    """Id of the rollback, decision, command or invocation that caused the change."""
    reasoning: str
    enforced: bool
    epoch: int
    position: Position
    policy_hash: str
    engine_version: str
    untested: bool = False
    """Whether a person activated the variant although it had no outcomes yet."""
    schema_version: int = 1


class RolloutStep(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="rollout_step"):
    """A rollout began, continued or ended (topic ``crl.decisions``)."""

    step_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    rollout_id: Identifier
    step: Literal["started", "stage_passed", "paused", "resumed", "completed", "aborted", "ended"]
    """``ended``: another variant became active.  ``aborted``: the candidate was degraded, or a person aborted it."""
    variant_id: Identifier
    """The candidate."""
    control_variant: Identifier
    """The active variant that the candidate is compared with."""
    stage: int
    """The stage that the rollout is in after this step, counted from 1."""
    stages: list[float]
    """The candidate's share of the invocations in each stage, 0 to 1."""
    share: float
    """The candidate's share of the invocations after this step, 0 to 1."""
    reasoning: str
    actor: str
    """Who caused this step of the rollout: a person, a program, or ``monitor``."""
    candidate: Delivered
    """What the candidate has delivered since the rollout began."""
    control: Delivered
    """What the active variant has delivered over the same time."""
    epoch: int
    position: Position
    policy_hash: str
    engine_version: str
    rollback_id: Identifier | None = None
    """Id of the rollback event, if the rollout is aborted because the candidate is degraded."""
    schema_version: int = 1


HindsightFinding = Literal["right", "wrong", "open"]


class Hindsight(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hindsight"):
    """What became of a rollback that shadow mode only reported: whether it was right (topic ``crl.decisions``)."""

    hindsight_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    rollback_id: Identifier
    """The rollback that was reported with ``enforced: false``."""
    from_variant: Identifier
    to_variant: Identifier
    finding: HindsightFinding
    """Whether the rollback would have been right; ``open`` if there were too few outcomes to tell."""
    reasoning: str
    outcomes: int
    """Number of outcomes of ``from_variant`` since the rollback was reported."""
    bad: int
    """How many of the counted ``outcomes`` were not a success."""
    bad_of_target: float
    """Bad outcomes to expect among the same number of outcomes of ``to_variant``."""
    compared_with: Literal["promise", "outcomes"]
    """Whether ``bad_of_target`` comes from the promise of ``to_variant``, or from its own outcomes in that time."""
    avoidable: int
    """Bad outcomes that the rollback would have avoided; 0 unless it was right."""
    caused: int
    """Bad outcomes that the rollback would have caused."""
    epoch: int
    position: Position
    policy_hash: str
    engine_version: str
    schema_version: int = 1


class Benefit(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="benefit"):
    """Whether a change of the active variant helped, by what the new one delivered since (topic ``crl.decisions``).

    Published after 20 and after 50 outcomes of the new variant, and when the next change comes earlier.
    """

    benefit_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    from_variant: Identifier
    variant_id: Identifier
    """The variant that the change made active."""
    cause: ActivationCause
    cause_id: Identifier
    """Id of the rollback, decision or command that made the change."""
    finding: BenefitFinding
    """Whether the new variant delivered more (``helped``), less (``hurt``), or neither for sure (``no_change``).

    ``open`` if there were too few outcomes to tell."""
    reasoning: str
    outcomes: int
    """Number of outcomes of the new variant since the change."""
    final: bool
    """Whether this is the last judgement of the change."""
    expected: Delivered
    """What the new variant had delivered when the change was made."""
    before: Delivered
    """What the replaced variant delivers: what it had delivered before, or its outcomes over the same time."""
    delivered: Delivered
    """What the new variant has delivered since."""
    compared_with: Literal["promise", "outcomes"]
    """Whether ``before`` is what the replaced variant had delivered, or its own outcomes over the same time."""
    success_gain: Gain | None
    """Gain in the success rate; None if there is nothing to compare with."""
    reward_gain: Gain | None
    """Gain in the mean reward; None if there is nothing to compare with."""
    epoch: int
    """The epoch that the change began."""
    position: Position
    policy_hash: str
    engine_version: str
    proposal_id: Identifier | None = None
    """The proposal whose approval made the change; absent for every other change."""
    schema_version: int = 1


class CommandResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="command_result"):
    """The result of a command (topic ``crl.decisions``)."""

    result_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier | None
    task_type: Identifier | None
    command_id: Identifier
    command: str
    """The command's type, e.g. ``UndoRollback``."""
    actor: str
    reason: str
    outcome: Literal["applied", "refused"]
    detail: str
    """What was done, or why the command was refused and what to do next."""
    epoch: int
    position: Position
    policy_hash: str
    engine_version: str
    tasks: int | None = None
    """Number of tasks in the partition, for a command that covers the whole fleet; absent for every other command."""
    proposal_id: Identifier | None = None
    """The proposal that the command has filed or reviewed; absent for every other command."""
    schema_version: int = 1


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an operator must know (topic ``crl.alerts``)."""

    alert_id: Identifier
    timestamp: Timestamp
    kind: AlertKind
    severity: Severity
    subject: str
    """What the alert is about, e.g. ``backend-architect/api-design api-optimized``."""
    action: str
    """What was done, or what an operator must do."""
    text: str
    """The alert in one line: subject, action, number, limit and undo command."""
    cause_id: str
    agent_name: Identifier | None = None
    task_type: Identifier | None = None
    number: float | None = None
    limit: float | None = None
    undo_command: str | None = None
    resolved: bool = False
    position: Position | None = None
    policy_hash: str | None = None
    engine_version: str | None = None
    touches: Touches | None = None
    """What the alert is about reaches; absent if that is not known, and when an alert ends."""
    last_time: LastTime | None = None
    """The task's last change of the kind that the alert leads to; absent if none is known, and when an alert ends."""
    schema_version: int = 1


class TagLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a tag counts as failing: the limits of ``[common_cause]`` in the policy of the task."""

    tasks: int = 3
    """Number of tasks that must have fallen; 0 means that tasks are not counted."""
    share: float = 0.5
    """Share of the tasks with the tag that must have fallen, 0 to 1."""
    span_minutes: int = 30
    """Minutes within which the tasks must have fallen."""


class TagCondition(msgspec.Struct, frozen=True, kw_only=True):
    """What a task announces about a provider or model that its active variant uses (topic ``crl.tags``)."""

    condition_id: Identifier
    timestamp: Timestamp
    tag: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """``provider:...`` or ``model:...``."""
    state: Literal["uses", "left", "fell", "recovered"]
    """What happened to the active variant: it began to use the tag (``uses``) or stopped using it (``left``); it became
    degraded (``fell``); or it, or the variant that replaced it, is healthy again (``recovered``)."""
    agent_name: Identifier
    task_type: Identifier
    variant_id: Identifier
    """The active variant."""
    limits: TagLimits
    incarnation: int
    position: Position
    policy_hash: str
    engine_version: str
    schema_version: int = 1


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime has used a new active variant for the first time (topic ``crl.receipts``)."""

    receipt_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    runtime_id: Identifier
    variant_id: Identifier
    epoch: int
    late_invocations: int
    """Number of the runtime's non-exploring invocations that still used an older epoch."""
    milliseconds: int
    """Time from the change of the active variant to this invocation, measured by append times."""
    position: Position
    schema_version: int = 1


class Adoption(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="adoption"):
    """How the runtimes followed a change of the active variant (topic ``crl.decisions``).

    Published once every expected runtime has followed or is stuck, at the latest with the next change. The runtimes
    whose last outcome came within the ten minutes before the change are expected to follow.
    """

    adoption_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    variant_id: Identifier
    epoch: int
    cause: ActivationCause
    cause_id: str
    """Id of the rollback, command or decision that changed the active variant."""
    complete: bool
    """Whether every expected runtime has moved or is stuck; false if the next change came first."""
    expected: int
    moved: int
    within_two: int
    """How many runtimes moved with their first or second invocation after the change."""
    stuck: list[str]
    """Runtimes that still worked in an older epoch."""
    waiting: list[str]
    """Runtimes that had sent no outcome yet, or too few to call them stuck."""
    median_invocations: float | None
    """Median number of invocations that a runtime needed to move, the first new one included; absent if none moved."""
    median_milliseconds: float | None
    """Median time from the change to a runtime's first new outcome."""
    position: Position
    policy_hash: str
    engine_version: str
    schema_version: int = 1


Fact = (
    DegradationAlert
    | RollbackEvent
    | Decision
    | Activation
    | RolloutStep
    | Hindsight
    | Benefit
    | CommandResult
    | Adoption
    | Alert
    | Receipt
    | TagCondition
)
