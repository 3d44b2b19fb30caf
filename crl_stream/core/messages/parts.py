"""Types that several messages share: bounded fields, positions, evidence."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from crl_stream.core.identity import IDENTIFIER_PATTERN

SCHEMA_VERSION = 1
"""The only version of every message so far; a breaking change gets a new topic."""

TIMESTAMP_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$"


def _matching(pattern: str) -> msgspec.Meta:
    r"""Return the pattern with ``\Z`` where the schema has ``$``, because Python's ``$`` allows a final line feed."""
    return msgspec.Meta(pattern=pattern[:-1] + r"\Z", extra_json_schema={"pattern": pattern})


Identifier = Annotated[str, _matching(IDENTIFIER_PATTERN)]
Name = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": IDENTIFIER_PATTERN})]
"""An ``Identifier`` on the hot path, checked by the codec, which remembers the names it has seen."""
ShortText = Annotated[str, msgspec.Meta(max_length=2_000)]
ForeignText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""An id or a name that another system has given."""
Amount = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Measure = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Metrics = Annotated[dict[Identifier, Measure], msgspec.Meta(max_length=4)]
"""Numbers by name."""
Unit = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Reward = Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)]
SchemaVersion = Annotated[int, msgspec.Meta(ge=1, le=1)]
Timestamp = Annotated[str, _matching(TIMESTAMP_PATTERN)]
"""A time in RFC 3339, in UTC, ending in ``Z``."""
Instant = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": TIMESTAMP_PATTERN})]
"""A ``Timestamp`` on the hot path, checked by the codec."""
Ordinal = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""The number of an epoch, or an offset."""

VerdictKind = Literal["HEALTHY", "DEGRADED", "INCONCLUSIVE"]
Stops = Literal["all", "promotions"]
STOPS: Final = frozenset(get_args(Stops))
DecisionKind = Literal["auto_apply", "human_approval", "no_action"]
ActivationCause = Literal[
    "first_seen",
    "auto_apply",
    "rollback",
    "undo",
    "command",
    "approval",
    "rollback_verified_worse",
    "rollout",
    "rollout_aborted",
    "common_cause",
]


BenefitFinding = Literal["helped", "no_change", "hurt", "open"]
ProposalType = Literal[
    "create_specialized_variant",
    "modify_variant_parameters",
    "promote_variant_to_default",
    "retire_underperforming_variant",
    "enforce_task",
]

BaselineSource = Literal["lifetime", "before_window", "recent", "replaced_variant", "accepted_level", "active_variant"]


class Position(msgspec.Struct, frozen=True):
    """A position in the log; a fact or snapshot covers all records up to it."""

    partition: int
    offset: int


class Modification(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change to a variant's configuration: a prompt section or a parameter (guide: proposal schema)."""

    section: str | None = None
    operation: Literal["append", "prepend", "replace", "remove"] | None = None
    content: str | None = None
    parameter: str | None = None
    value: Any = None
    reason: str | None = None


class Evidence(msgspec.Struct, frozen=True):
    """The findings of both judges: the guide's rule and the e-SR statistic."""

    rule: VerdictKind
    guard: Literal["none", "evidence"]
    e_value: float
    """Mean of the metrics' e-SR statistics; grows by about 1 per healthy outcome."""
    threshold: float
    """The e-value that counts as evidence: 1.25 times the false alarm budget."""
    sufficient: bool
    """Whether ``e_value >= threshold``."""
    e_values: dict[str, float]
    """e-value by metric."""
    absolute: bool = False
    """Whether the variant is degraded because a full window has no success, regardless of rule and evidence."""


class Judged(msgspec.Struct, frozen=True):
    """The outcomes behind a verdict, oldest first, so that anyone can check it."""

    offsets: list[int]
    successes: str
    """One character per outcome: ``S`` success, ``F`` failure, ``E`` error."""
    rewards: list[float]
    baseline_n: int
    baseline_source: BaselineSource
    baseline_variant: str | None = None


class Delivered(msgspec.Struct, frozen=True):
    """What a variant delivered over some outcomes."""

    n: int
    success_rate: float
    """0 to 1."""
    avg_reward: float
    """-1 to 1."""
    error_rate: float
    """Share of the outcomes with an error, 0 to 1."""


class Gain(msgspec.Struct, frozen=True):
    """How much more a variant delivered than the one that it replaced, as the difference of two means."""

    expected: float | None
    """The gain that the figures promised when the change was made; None if they promised nothing."""
    observed: float
    low: float
    """Lower limit of the 90 % interval."""
    high: float
    """Upper limit of the 90 % interval."""


class Touches(msgspec.Struct, frozen=True, kw_only=True):
    """What a message is about reaches: how many tasks and runtimes, and how many invocations an hour."""

    tasks: int | None = 1
    """Number of tasks; null if it is every task of the fleet."""
    runtimes: int | None = None
    """Number of runtimes that the task knows; absent if that is not known."""
    outcomes_an_hour: int | None = None
    """Outcomes of the last hour, by append time; of a task that is younger, its rate so far.

    Absent in the first minute of a task, and if it is not known."""


class LastTime(msgspec.Struct, frozen=True, kw_only=True):
    """The task's previous change of the same kind, and what became of it."""

    change: Literal["rollback", "promotion", "registration", "retirement"]
    timestamp: Timestamp
    to_variant: Identifier
    """The variant that became active, was registered or was retired."""
    from_variant: Identifier | None = None
    """The variant that was replaced; absent for a registration or retirement."""
    id: str
    """Id of the rollback, decision or command that made the change."""
    fate: Literal["confirmed", "undone", "taken_back", "rolled_back"] | None = None
    """What happened to the change since; absent if it stands and, if it was a rollback, was not reviewed."""
    actor: str | None = None
    """Who confirmed or undid it."""
    finding: BenefitFinding | None = None
    """Whether it helped, by the last ``Benefit`` about it; absent before the first."""


class UnreviewedRollback(msgspec.Struct, frozen=True, kw_only=True):
    """An enforced rollback that no one has confirmed or undone yet."""

    rollback_id: Identifier
    from_variant: Identifier
    since: Timestamp
    """When it was made."""


class Candidate(msgspec.Struct, frozen=True):
    """A variant that a rollback considered as its target; if it was not chosen, ``why_not`` gives the reason."""

    variant_id: str
    q_value: float
    n_visits: int
    chosen: bool
    why_not: str | None = None


class CandidateEvidence(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the source of a candidate claims about it. The reviewer sees these claims; no decision is based on them.

    Scores are on the source's own scale.
    """

    n: Count | None = None
    """Number of examples or runs behind the scores."""
    metric: ForeignText | None = None
    """What the scores measure."""
    score_before: Measure | None = None
    """Score of what the candidate was made from, such as the parent."""
    score_after: Measure | None = None
    """Score of the candidate."""
    dataset: ForeignText | None = None
    url: ShortText | None = None
    """Where the full report is."""


class Change(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The exact effect of an approved proposal."""

    action: Literal["register", "activate", "retire", "enforce"]
    """``enforce`` changes the policy: ``crl proposals approve`` does so, and the monitor only records the approval."""
    variant_id: Identifier
    parent: Identifier | None = None
    model_tier: ShortText | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    modifications: list[Modification] = []
    configuration: dict[str, Any] | None = None
    ref: ForeignText | None = None
    provider: ShortText | None = None
    model: ShortText | None = None
