"""The policy: every threshold, guard and limit of the engine, with the guide's defaults.

A policy is data.  It reaches the engine through the log (``SetPolicy``), so a replay applies the same policy at the
same position; facts carry its hash.  ``PolicySet`` holds the policies of a whole installation, already resolved: one
default, one per overridden agent, one per overridden task.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from crl_stream.core.identity import TaskKey
from crl_stream.core.ids import policy_hash
from crl_stream.core.modes import Mode, OnChange
from crl_stream.core.monitor.detectors import DETECTORS, avg_reward, error_rate, success_rate
from crl_stream.errors import IncompletePart

Ratio = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]
Share = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
Hours = Annotated[float, msgspec.Meta(gt=0.0, le=8_760.0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]

GuardrailAction = Literal["alert", "rollback", "off"]
AtLeastZero = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
NamedMetric = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9._:-]{1,128}/(alert|rollback|off)/(higher|lower)_is_worse"
        r"/[0-9]{1,9}(\.[0-9]{1,9})?/[0-9]{1,9}(\.[0-9]{1,9})?$",
        max_length=200,
    ),
]
Guard = Literal["none", "evidence"]
Baseline = Literal["lifetime", "before_window", "recent"]


class Degradation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a window counts as degraded (guide: "Degradation Thresholds")."""

    lookback_window: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 20
    """Size of the window: outcomes that are kept and judged per variant."""
    success_drop: Annotated[float, success_rate.LIMIT.range] = success_rate.LIMIT.default
    """Relative drop in the success rate; a window is degraded only if its drop is greater than this."""
    reward_drop: Annotated[float, avg_reward.LIMIT.range] = avg_reward.LIMIT.default
    """Relative drop in the mean reward; a window is degraded only if its drop is greater than this.

    Without ``reward_floor``, a drop from a mean of zero or less is a share of the scale from -1 to 1.
    """
    error_increase: Annotated[float, error_rate.LIMIT.range] = error_rate.LIMIT.default
    """Relative increase in the error rate; a window is degraded only if its increase is greater than this.

    Without ``error_floor``, and with a baseline without errors, it is the error rate itself.
    """
    success_floor: Annotated[float, success_rate.FLOOR.range] = success_rate.FLOOR.default
    """Successes that a window must lack compared with its baseline, in addition to ``success_drop``; 0: no floor."""
    reward_floor: Annotated[float, avg_reward.FLOOR.range] = avg_reward.FLOOR.default
    """Loss of reward that a window must show in addition to ``reward_drop``, in outcomes that fall from 1 to -1.

    With a floor, windows are also compared with a baseline of zero or less; the drop is then relative to its size.
    """
    error_floor: Annotated[float, error_rate.FLOOR.range] = error_rate.FLOOR.default
    """Errors that a window must have beyond what its baseline predicts, in addition to ``error_increase``.

    With a floor, windows are also compared with a baseline without errors.
    """
    baseline: Baseline = "lifetime"
    """What the window is compared with: the whole lifetime, the lifetime before the window, or the ``recent`` past.

    The recent past is the last ``memory`` outcomes before the window, or the lifetime before the window if its mean
    reward is higher.  Nothing enters it while the variant is degraded.
    """
    memory: Annotated[int, msgspec.Meta(ge=40, le=1_000_000, multiple_of=2)] = 200
    """Outcomes before the window after which all counts of the recent past are halved."""
    min_baseline: AtLeastOne = 20
    """Outcomes that a baseline needs before a window is compared with it."""
    min_recent: AtLeastOne = 10
    """Outcomes since the last activation that the window needs before it is judged."""
    guard: Guard = "none"
    """``none`` follows the guide exactly; ``evidence`` acts only when the e-SR statistic agrees.

    The statistic (see ``evidence``) looks for drops of .05 or more, however small the limits above are.
    """
    false_alarm_budget: Annotated[int, msgspec.Meta(ge=10, le=1_000_000_000)] = 5_000
    """With ``guard = "evidence"``: on average, at most one false rollback in this many invocations."""
    head_start: Ratio = 0.0
    """Share of the sufficient e-value with which the evidence against a newly activated variant begins.

    A newcomer has not earned the trust that an established variant has.  A rollback or an undo gives no head start.
    """
    clean_verdicts: AtLeastOne = 20
    """HEALTHY verdicts in a row after which a degraded variant counts as recovered."""


_KNOWN: Final = {field.name: field.default for field in msgspec.structs.fields(Degradation)}
for _found in DETECTORS:
    for _part, _limit in (("LIMIT", _found.setting), ("FLOOR", _found.floor)):
        if _KNOWN.get(_limit.name, _limit.default) != _limit.default:
            raise IncompletePart(
                f"{_part} {_limit.name!r} of the detector {_found.name} names another setting of [degradation].",
                hint=f"give {_part} a different name",
            )
_FURTHER: Final = [limit for found in DETECTORS for limit in (found.setting, found.floor) if limit.name not in _KNOWN]
if _FURTHER:
    # The limits of added detectors become full settings, with range and default.
    Degradation = msgspec.defstruct(  # type: ignore[misc,assignment]
        "Degradation",
        [(limit.name, Annotated[float, limit.range], limit.default) for limit in _FURTHER],
        bases=(Degradation,),
        module=__name__,
        namespace={"__doc__": Degradation.__doc__},
        frozen=True,
        forbid_unknown_fields=True,
    )


class AutoApply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a variant may become active automatically (guide: "Decision Matrix")."""

    q_threshold: Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)] = 0.9
    min_samples: AtLeastOne = 10
    min_lead: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] = 0.05
    """Lead that a candidate needs over the active variant, in Q and in lifetime mean reward."""
    confidence: Annotated[float, msgspec.Meta(ge=0.0, le=5.0)] = 0.5
    """Standard errors by which a candidate must promise more than the active variant.

    The comparison is repeated with every outcome, so a small lead occurs by chance sooner or later.
    """
    min_outcomes_since_active: Count = 10
    """Outcomes that a candidate must have had since it was last active."""
    cooldown: Count = 20
    """After any change, nothing is promoted for this many outcomes of the task."""


class HumanApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a promising variant needs a person's approval (guide: "Decision Matrix")."""

    q_threshold: Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)] = 0.7
    min_samples: AtLeastOne = 5


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which variant a rollback may choose (guide: "highest Q-value, n>=5"), and what follows an undo."""

    min_samples: AtLeastOne = 5
    confidence: Annotated[float, msgspec.Meta(ge=0.0, le=5.0)] = 0.5
    """Standard errors by which a target must promise more than the degraded variant delivers."""
    doubt: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 10
    """Outcomes at its baseline that are added to a degraded variant's window before it is compared with a target."""
    verify: bool = True
    """Whether to take a rollback back if its target then delivers less than the replaced variant did."""
    parole: AtLeastOne = 100
    """Outcomes of the task after which a replaced variant's last window no longer rules it out as a target.

    The variant must then lead by at least two standard errors.
    """
    undo_hold: Count = 100
    """After an undo, there are no automatic changes for this many outcomes of the task."""
    renotify: AtLeastOne = 50
    """Outcomes of the task after which an open ``no_target`` or ``held_degradation`` alert is repeated."""
    runtime_share: Ratio = 0.5
    """Share of a window's loss that one runtime may account for while others report that the variant is healthy.

    Above it, nothing is rolled back.  A candidate that only one runtime has tried is not promoted either, while another
    runtime is active.  1 disables both rules.
    """


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a variant replaces the active one in stages instead of at once."""

    stages: Annotated[tuple[Share, ...], msgspec.Meta(max_length=10)] = ()
    """Share of the invocations that a candidate gets in each stage; the order does not matter.

    Without stages, automatic and approved promotions take effect at once, and ``crl rollout start`` uses 5 %, 25 % and
    50 %.
    """
    min_outcomes: AtLeastOne = 20
    """Outcomes of the candidate that each stage needs."""
    patience: AtLeastOne = 400
    """Outcomes of the candidate after which operators are alerted that a stage has stalled."""


class CommonCause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens if variants with the same provider or model fall together; other variants are not affected."""

    hold_outcomes: Count = 200
    """Outcomes of the task after which an incident ends without a recovery; 0: never hold for a common cause."""
    hold_hours: Hours = 24.0
    """Hours after which an incident ends without a recovery."""
    clean_outcomes: AtLeastOne = 10
    """Outcomes that must show that a variant has recovered; at most ``degradation.lookback_window`` count."""
    min_tasks: Count = 3
    """Tasks with a provider or model that must fall together before it counts as failing; 0: not counted."""
    share: Ratio = 0.5
    """Share of the tasks with a provider or model that must have fallen before it counts as failing."""
    span_minutes: AtLeastOne = 30
    """Minutes within which the tasks must fall to count as falling together."""


class Guardrails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens if the active variant, or a rollout's candidate, costs more or takes longer at the same quality.

    Each metric is compared with what the variant delivered before, or with the replaced variant; evidence is required
    under every profile (``degradation.false_alarm_budget``).
    """

    cost: GuardrailAction = "alert"
    """``alert`` informs operators; ``rollback`` also rolls back to a cheaper variant that is not worse."""
    cost_increase: AtLeastZero = 0.5
    """Relative increase of the mean cost that is still accepted."""
    cost_floor: AtLeastZero = 0.0
    """Increase of the mean cost, in the unit of ``cost``, that is always accepted."""
    duration: GuardrailAction = "alert"
    duration_increase: AtLeastZero = 0.5
    """Relative increase of the mean duration that is still accepted."""
    duration_floor: AtLeastZero = 1.0
    """Increase of the mean duration, in seconds, that is always accepted."""
    tokens: GuardrailAction = "off"
    """Like ``cost``, for the sum of ``tokens_input`` and ``tokens_output``."""
    tokens_increase: AtLeastZero = 0.5
    """Relative increase of the mean number of tokens that is still accepted."""
    tokens_floor: AtLeastZero = 0.0
    """Increase of the mean number of tokens that is always accepted."""
    metrics: Annotated[tuple[NamedMetric, ...], msgspec.Meta(max_length=8)] = ()
    """The named ``metrics`` to watch, each as ``NAME/ACTION/DIRECTION/LIMIT/FLOOR``.

    For example, ``tool_calls/alert/higher_is_worse/0.5/2`` accepts an increase by half or by 2.  ``DIRECTION`` is
    ``higher_is_worse`` or ``lower_is_worse``; ``LIMIT`` and ``FLOOR`` are as above.
    """

    def __post_init__(self) -> None:
        """Refuse a name that is given twice or that another metric has: its values would be mixed."""
        names = {"cost", "duration", "tokens"}
        for metric in self.metrics:
            name = metric.split("/")[0]
            if name in names:
                raise ValueError(f"metrics: {name!r} is already the name of a metric; give each its own name")
            names.add(name)


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How outcomes become rewards, and rewards become Q."""

    rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.1
    """Smallest step of Q: ``Q += max(rate, 1/n) * (R - Q)``."""
    outcome_weight: Ratio = 0.4
    quality_weight: Ratio = 0.3
    speed_weight: Ratio = 0.2
    error_penalty: Ratio = 0.1
    """Amount by which each error lowers the reward."""
    baseline_seconds_low: Positive = 60.0
    baseline_seconds_medium: Positive = 300.0
    baseline_seconds_high: Positive = 900.0


class Proposals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an improvement is proposed (guide: "Proposal Triggers")."""

    min_invocations: AtLeastOne = 50
    create_below_q: float = 0.6
    promote_gap: float = 0.20
    modify_below_q: float = 0.6
    retire_below_q: float = 0.4
    retire_after_rollbacks: AtLeastOne = 3
    expires_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 30
    promote_min_samples: AtLeastOne = 5
    """Outcomes that a candidate and the active variant both need before they are compared."""
    expected_q: float = 0.8
    """The Q-value with which a weak variant is compared if no other variant is better."""
    enforce_min_rollbacks: AtLeastOne = 5
    """Rollbacks that shadow mode must have reported and judged before it is proposed to enforce them."""
    max_open: AtLeastOne = 5
    """Proposals that one task may have open at once, without filed ones and those that a person has deferred.

    If there are more, the most confident ones are open; a proposal that had to make room is opened again when there is
    room.
    """
    enforce_precision: Ratio = 0.9
    """Share of the judged rollbacks that must have been right before it is proposed to enforce them."""


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may review a proposal."""

    four_eyes: bool = False
    """Whether a proposal must be approved by somebody other than the person or program that filed it."""


class Operations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the engine may act on its own, and how long people's commands stay in force."""

    mode: Mode = "enforce"
    """``enforce`` acts, ``shadow`` reports what it would do, ``observe`` only alerts."""
    exploration: Ratio = 0.0
    """Share of invocations that try a variant other than the active one; quarantined variants are never tried."""
    pin_hours: Hours = 24.0
    hold_hours: Hours = 24.0
    max_skew_seconds: Positive = 3_600.0
    """Operators are alerted if an outcome's own time differs from its append time by more than this."""
    stuck_invocations: AtLeastOne = 5
    """A runtime is stuck if more than this many of its invocations in an older epoch began after a change."""
    stuck_seconds: Positive = 120.0
    """A runtime is also stuck if it begins an invocation in an older epoch more than this long after a change."""
    stuck_grace: Annotated[float, msgspec.Meta(ge=0.0, le=86_400.0)] = 10.0
    """Seconds after a change during which outcomes in an older epoch do not count against a runtime.

    A runtime that reports in batches sends outcomes that it finished before the change and after it in one batch.
    Choose more than the longest time between two batches.
    """
    on_change: OnChange = "next_turn"
    """``next_turn``: a session follows a change at once. ``next_session``: only new sessions follow it."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that keep the row of a task small."""

    variants: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 32
    runtimes: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 64
    duplicate_ids: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    """How many invocation ids of a task are remembered."""
    command_ids: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 32
    waiting_feedback: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 32
    """How many scores may wait for their invocation."""
    reviews: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 32
    snapshot_outcomes: AtLeastOne = 10
    snapshot_seconds: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 1.0


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings that determine the decisions about a task."""

    degradation: Degradation = Degradation()
    auto_apply: AutoApply = AutoApply()
    human_approval: HumanApproval = HumanApproval()
    rollback: Rollback = Rollback()
    rollout: Rollout = Rollout()
    common_cause: CommonCause = CommonCause()
    guardrails: Guardrails = Guardrails()
    learning: Learning = Learning()
    proposals: Proposals = Proposals()
    review: Review = Review()
    operations: Operations = Operations()
    limits: Limits = Limits()


class PolicySet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The policies of an installation, already resolved."""

    default: Policy = Policy()
    agents: dict[str, Policy] = {}
    """Policies of agents, by ``agent_name``."""
    tasks: dict[str, Policy] = {}
    """Policies of tasks, by ``agent_name/task_type``."""

    def for_task(self, key: TaskKey) -> Policy:
        """Return the policy in force for a task: its own, else its agent's, else the default."""
        if self.tasks and (policy := self.tasks.get(str(key))) is not None:
            return policy
        return self.agents.get(key.agent_name, self.default)

    def canonical(self) -> bytes:
        """Return the canonical JSON of this policy set: what differs from the guide, with sorted keys.

        Equal sets have equal bytes; ``parse`` is its inverse.
        """
        return _ENCODER.encode(_difference(msgspec.to_builtins(self), _GUIDE_SET))

    @classmethod
    def parse(cls, text: bytes) -> PolicySet:
        """Parse a canonical text; raise ``msgspec.MsgspecError`` if it is not valid."""
        return msgspec.json.decode(text, type=cls)

    def digest(self) -> str:
        """Return the first 16 hex digits of the SHA-256 of the canonical text."""
        return policy_hash(self.canonical())


def _difference(full: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of ``full`` that differ from ``base``, at any depth; overrides are compared with the guide."""
    sparse: dict[str, Any] = {}
    for key, value in full.items():
        if key in ("agents", "tasks"):
            if value:
                sparse[key] = {name: _difference(policy, _GUIDE_SET["default"]) for name, policy in value.items()}
        elif isinstance(value, dict):
            if inner := _difference(value, base[key]):
                sparse[key] = inner
        elif value != base[key]:
            sparse[key] = value
    return sparse


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")

GUIDE: Final = PolicySet()
"""The guide's values exactly; in force until a ``SetPolicy`` is read from the log."""
_GUIDE_SET: Final[dict[str, Any]] = msgspec.to_builtins(GUIDE)
