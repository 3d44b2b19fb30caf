"""The row of a task: everything the engine remembers about it, packed for one atomic write.

A row is decoded once per batch, folded in place and encoded once.  Rewards and their sums are integers in
millionths, so a late amendment can remove exactly what was added before.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import Any, Final, Literal, NamedTuple

import msgspec

from crl_stream.core.identity import TaskKey
from crl_stream.core.packing import pack

MICRO: Final = 1_000_000
OUTCOME: Final = Layout("<qQiiiBB")
"""Packed fields: offset, hash of the invocation id, reward, speed, quality (millionths), error count, flags."""
SIZE: Final = 30
ABSENT: Final = -(2**31)
"""Stands for a speed or quality that was not given."""

SUCCESS: Final = 1
ERROR: Final = 2
FAILED: Final = 4
EXPLICIT: Final = 8
JUDGED: Final = 16
WEIGHED: Final = 32
STAGED: Final = 64
"""Flags of an outcome: success; counts as an error; status ``error``; reward given, not computed; judged since the
activation; included in the current evidence; included in the rollout in progress."""

DECIDED: Final = {"no_action": 1, "human_approval": 2, "auto_apply": 4}
"""One bit for each possible decision of the matrix."""
PROMOTED_IN_SHADOW: Final = 8
"""Bit for a promotion that shadow mode reported but did not make."""

SEEN: Final = 0
REGISTERED: Final = 1
RETIRED: Final = 2


class Sums(msgspec.Struct, array_like=True, gc=False):
    """Totals over some outcomes; both rewards and squares of rewards are in millionths."""

    n: int = 0
    successes: int = 0
    errors: int = 0
    reward: int = 0
    squares: int = 0


class Frozen(msgspec.Struct, array_like=True, gc=False):
    """A baseline that is not the variant's own past.

    It is what the replaced variant had delivered, a level that a person accepted, or what the active variant delivers
    during a rollout.  Only the last of these still changes.
    """

    variant_id: str
    sums: Sums
    concurrent: bool = False
    """Whether the baseline is what the active variant delivers during the rollout in progress."""


class Configuration(msgspec.Struct, array_like=True, gc=False):
    """What an operator has registered about a variant; ``modifications`` and ``content`` are JSON."""

    parent: str | None = None
    model_tier: str | None = None
    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    modifications: bytes = b"[]"
    content: bytes = b""
    """The configuration that runtimes get, as JSON; empty if there is none."""
    ref: str | None = None


class Tags(msgspec.Struct, array_like=True, gc=False):
    """The provider and the model, each as the latest outcome that named one gave it."""

    provider: str | None = None
    model: str | None = None


class Spread(msgspec.Struct, array_like=True, gc=False):
    """Sums over some values of a guardrail metric, in its own unit; higher is worse."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0


class Gauge(msgspec.Struct, array_like=True, gc=False):
    """The values of one guardrail metric of a variant (``gauges``); higher is worse."""

    window: bytearray = msgspec.field(default_factory=bytearray)
    """The latest judged values as packed ``gauges.VALUE``, oldest first."""
    past: Spread = msgspec.field(default_factory=Spread)
    """Sums over the values that have left the window; old ones fade."""
    evidence: list[float] = msgspec.field(default_factory=lambda: [0.0] * 3)
    least: float = 0.0
    """The lowest value so far, or 0 if that is lower."""
    seen: int = 0
    """Number of values since judging began."""
    frozen: Spread | None = None
    """What the replaced variant delivered; None if the variant is judged against its own past."""
    open_alert: str = ""
    """Id of the open alert; empty if there is none."""
    since_alert: int = 0
    """Number of values since the alert was opened."""
    sign: int = 1
    """-1 if lower is worse, so that the values are negated."""


class Variant(msgspec.Struct, array_like=True, gc=False):
    """One variant of a task, with its figures and its window."""

    variant_id: str
    state: int = SEEN
    quarantined: bool = False
    life: Sums = msgspec.field(default_factory=Sums)
    q: float = 0.0
    q_start: float = 0.0
    """The Q-value before the oldest outcome of the window."""
    window: bytearray = msgspec.field(default_factory=bytearray)
    """The window's outcomes as packed ``OUTCOME`` records, oldest first."""
    judged: Sums = msgspec.field(default_factory=Sums)
    """Totals over the judged outcomes of the window."""
    baseline: Frozen | None = None
    evidence: list[float] = msgspec.field(default_factory=lambda: [0.0] * 9)
    """e-SR statistics: three alternatives each for success, reward and error."""
    degraded: bool = False
    """Whether the variant was reported as degraded and has neither recovered nor been activated since."""
    alert_id: str = ""
    """Id of the last degradation alert."""
    clean: int = 0
    """Number of outcomes with a HEALTHY verdict since the last DEGRADED verdict."""
    degraded_at: int = -1
    """``life.n`` at the last DEGRADED verdict."""
    left_at: int = 0
    """``life.n`` when the variant was last replaced as the active one."""
    epoch: int = 0
    """Epoch that began with the variant's last activation."""
    decided_epoch: int = -1
    decided: int = 0
    """Bits of the decisions published in ``decided_epoch``."""
    rollbacks: int = 0
    last_offset: int = -1
    failures: int = 0
    slow: int = 0
    low_quality: int = 0
    shadow: Sums = msgspec.field(default_factory=Sums)
    configuration: Configuration | None = None
    auto_apply_id: str = ""
    """Id of the last ``auto_apply`` decision."""
    reward_start: list[float] | None = None
    """Evidence from rewards before the oldest outcome of the window; kept from the first amendment on."""
    alerted: bool = False
    """Whether an alert of kind ``degradation`` is open; False if an alert about a rollback was sent instead."""
    mark: bytes = b""
    """The byte for this variant in ``TaskRow.owners``, unique in the task; empty before the first outcome."""
    too_late: int = 0
    """How many scores arrived for outcomes that had already left the window."""
    degraded_since: int = 0
    """When ``degraded`` was last set, in milliseconds; 0 in rows of older engines."""
    past: Sums = msgspec.field(default_factory=Sums)
    """Totals of outcomes that left the window while the variant was not degraded; old ones fade (``baseline.age``).

    Kept under the baseline ``recent`` only.
    """
    left_n: int = -1
    """The task's outcome count when the variant was last replaced as the active one; -1 in rows of older engines."""
    origin: Sums | None = None
    """The lifetime when a person last accepted the variant's level; earlier outcomes no longer serve as a baseline."""
    declined: int = 0
    """``life.n`` when the variant's rollout ended without a degradation; at twice as many, it may be promoted again."""
    sources: bytearray = msgspec.field(default_factory=bytearray)
    """The mark of the runtime that each outcome of the window came from (``sources``), oldest first.

    Older engines recorded no marks, so the first outcomes of the window may lack one.
    """
    tags: Tags | None = None
    """The provider and model that the latest outcomes named; None until an outcome has named one."""
    gauges: dict[str, Gauge] = {}
    """By guardrail metric."""
    proposed_as: str = ""
    """Type of the proposal that created the variant, until it is known whether the variant helped; else empty."""


class Scores(msgspec.Struct, array_like=True, gc=False):
    """Sums over some scores, in millionths."""

    n: int = 0
    total: int = 0
    shift: int | None = None
    """What is added to each score of this judge; None while too few are known."""


class Judge(msgspec.Struct, array_like=True, gc=False):
    """The first scores of one judge (``judges``), or the usual scores of the task."""

    quality: Scores = msgspec.field(default_factory=Scores)
    reward: Scores = msgspec.field(default_factory=Scores)


class StandingOrder(msgspec.Struct, array_like=True, gc=False):
    """A pin or a hold; times in milliseconds, ``until_n`` in outcomes of the task.

    If it has both limits, it lasts until both have passed.
    """

    actor: str
    reason: str
    since: int
    until: int | None = None
    until_n: int | None = None
    variant_id: str | None = None
    stops: Literal["all", "promotions"] = "all"
    """What a hold on the fleet stops; a task's own hold stops everything."""


class Runtime(msgspec.Struct, array_like=True, gc=False):
    """A runtime: the epoch it has adopted, its late outcomes in the current epoch, and when it was last seen."""

    epoch: int = 0
    late: int = 0
    last_offset: int = -1
    seen: int = 0
    """Append time of the runtime's last outcome, in milliseconds; 0 in rows of older engines."""
    mark: int = 0
    """The byte for this runtime in ``Variant.sources``, 1 to 255; 0 until its first outcome under this engine."""
    n: int = 0
    """Number of the runtime's last judged outcomes of the active variant in this epoch, at most 19 (``sources``); the
    next fields are their sums."""
    successes: int = 0
    errors: int = 0
    reward: int = 0
    first_successes: int = 0
    """This field and the next ones are the sums over the first ten of these outcomes, if there are ten."""
    first_errors: int = 0
    first_reward: int = 0
    expected: bool = False
    """Whether the runtime worked shortly before the current epoch began, so that it should follow."""
    moved_after: int = -1
    """Number of its late outcomes before its first one in the current epoch; -1 until then."""
    moved_ms: int = 0
    """Milliseconds from the beginning of the epoch to that outcome."""
    stuck: str = ""
    """Cause id of the open alert that the runtime is stuck; empty if there is none."""
    behind: int = 0
    """Number of its late outcomes whose invocation began after the change, so that it could have followed."""


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """Feedback that arrived before its invocation; reward and quality in millionths."""

    invocation: int
    reward: int | None
    quality: int | None


class Review(msgspec.Struct, array_like=True, gc=False):
    """The result of a review; fields as in the snapshot, time in milliseconds."""

    proposal_id: str
    review: str
    outcome: str
    actor: str
    reason: str
    detail: str
    time: int
    command_id: str
    until: str | None = None


class Filed(msgspec.Struct, array_like=True, gc=False):
    """An open proposal from outside (``filing``)."""

    proposal_id: str
    variant_id: str
    expires: int
    """When the proposal expires, in milliseconds."""
    content: bytes
    """The ``FiledProposal`` of the snapshot, as JSON."""


class Declined(msgspec.Struct, array_like=True, gc=False):
    """A candidate from outside that a person rejected."""

    digest: bytes
    n: int
    """Number of examples that were claimed as evidence."""
    proposal_id: str


class Filings(msgspec.Struct, array_like=True, gc=False):
    """The proposals from outside: the open ones, oldest first, and the last ones that were rejected."""

    open: list[Filed]
    declined: list[Declined]


class PastRollback(msgspec.Struct, array_like=True, gc=False):
    """An enforced rollback that a person may review."""

    rollback_id: str
    from_variant: str
    review: str = ""
    """State of the rollback: ``confirmed``, ``undone``, ``taken_back`` by the monitor, or empty if none of these."""
    time: int = 0
    """When the rollback was made, in milliseconds; 0 in rows of older engines."""


class Left(msgspec.Struct, array_like=True, gc=False):
    """The variant that the latest rollback replaced; the sums of its ``Promise`` are compared with the target's."""

    rollback_id: str
    variant_id: str
    n: int
    value: int
    successes: int
    flawless: int


class Stratum(msgspec.Struct, array_like=True, gc=False):
    """What the candidate of a rollout and the active variant delivered over the same time."""

    candidate: Sums
    control: Sums


class Rollout(msgspec.Struct, array_like=True, gc=False):
    """A rollout in progress: how far it has come, and what its candidate has delivered."""

    rollout_id: str
    variant_id: str
    """The candidate."""
    shares: list[int]
    """Share of the invocations that the candidate gets in each stage, in thousandths, ascending."""
    min_outcomes: int
    """Number of outcomes of the candidate that each stage needs."""
    cause: str
    cause_id: str
    actor: str
    since: int
    """When the rollout began, in milliseconds."""
    stage_since: int
    stage_n: int
    """The task's outcome count when the present stage of the rollout began."""
    stage: int = 0
    """Index into ``shares``."""
    candidate: Sums = msgspec.field(default_factory=Sums)
    """What the candidate delivered in this stage; its baseline is what the active variant delivered meanwhile."""
    past: list[Stratum] = []
    """The earlier stages."""
    recent: list[Stratum] = []
    """The last outcomes of this stage in two blocks, the previous and the current one."""
    paused: StandingOrder | None = None
    stalled: bool = False
    """Whether operators were alerted that this stage is not ending."""
    kept: Frozen | None = None
    """The candidate's baseline before the rollout."""


class Watched(msgspec.Struct, array_like=True, gc=False):
    """A rollback that shadow mode reported, until what happens next shows whether it was right (``scorecard``)."""

    rollback_id: str
    variant_id: str
    """The variant that would have been rolled back, which stays active."""
    target: str
    epoch: int
    metric: str
    """The metric that led to the rollback; empty if there was none."""
    started: Sums
    """The variant's lifetime when the rollback was reported."""
    baseline: Sums
    """The baseline of the variant's window when the rollback was reported."""
    target_started: Sums
    """The target's lifetime when the rollback was reported."""
    promised: Sums
    """The outcomes by which the target was chosen."""
    judging: str
    """Digest of the settings (``Rules.judging``) when the rollback was reported."""


class Prediction(msgspec.Struct, array_like=True, gc=False):
    """What the latest change of the active variant promised, until it is known whether it helped (``benefit``)."""

    epoch: int
    cause: str
    cause_id: str
    command_id: str
    """The command that made the change or began its rollout; empty if no person did."""
    from_variant: str
    expected: list[int]
    """The ``Promise`` of the new variant."""
    before: list[int]
    """The ``Promise`` of the replaced variant."""
    started: Sums
    """The lifetime of the new variant when it became active."""
    from_started: Sums
    """The lifetime of the replaced variant at that time."""
    told: int = 0
    """The number of outcomes at which the change was last judged."""


class Kept(msgspec.Struct, array_like=True, gc=False):
    """How many promotions of a task kept their promise, by their last judgement; open ones are not counted."""

    helped: int = 0
    no_change: int = 0
    hurt: int = 0


class Past(msgspec.Struct, array_like=True, gc=False):
    """A past change of a task (``past``); time in milliseconds."""

    kind: str
    id: str
    time: int
    from_variant: str | None
    to_variant: str
    epoch: int
    """The epoch that the change began; -1 if it began none."""
    fate: str = ""
    actor: str = ""
    finding: str = ""


class Pace(msgspec.Struct, array_like=True, gc=False):
    """How many outcomes a task gets (``pace``); counts are outcomes of the task."""

    since: int
    """When counting began, in milliseconds."""
    born: int
    """The task's outcome count when counting began."""
    hour: int
    """The hour of the last snapshot, counted from 1970."""
    start: int
    """The task's outcome count when that hour began."""
    before: int = 0
    """Number of outcomes in the hour before."""


class Card(msgspec.Struct, array_like=True, gc=False):
    """The scorecard of the rollbacks that shadow mode reported under the same settings."""

    judging: str = ""
    """Digest of these settings (``Rules.judging``)."""
    right: int = 0
    wrong: int = 0
    open: int = 0
    avoidable: int = 0
    """Bad outcomes that the right rollbacks would have avoided."""
    caused: int = 0
    """Bad outcomes that the right and wrong rollbacks would have caused."""
    outcomes: int = 0
    """Total number of outcomes by which the right and wrong rollbacks were judged."""


class OneRuntime(msgspec.Struct, array_like=True, gc=False):
    """Why the degraded active variant is not rolled back: only one runtime makes it look degraded.

    The figures are those of the last alert.
    """

    runtime_id: str | None
    """The runtime; None for outcomes that name no runtime, or one that the task does not know."""
    n: int
    """The task's outcome count at the last alert about this runtime."""
    metric: str
    share: int
    """The runtime's share of the window's loss, in millionths."""
    outcomes: int
    """How many judged outcomes of the window came from this runtime."""
    judged: int
    others: int
    """Number of other runtimes that report the variant as healthy."""
    other_outcomes: int
    words: str


class Incident(msgspec.Struct, array_like=True, gc=False):
    """Variants with the same tag fell together; times in milliseconds, ``..._n`` in outcomes of the task."""

    incident_id: str
    tag: str
    """What the variants share, like ``provider:openai``."""
    since: int
    """When the common cause was found."""
    since_n: int
    began: int
    """Log offset of the outcome with which the fall began."""
    offset: int
    """Log offset at which the incident was found; only later outcomes can show a recovery."""
    until: int
    until_n: int
    """Limits in time and in outcomes; the incident ends without a recovery when either is reached."""
    clean: int
    """How many outcomes a variant needs to show its recovery."""
    first: str
    """The variant that was active when the fall began."""
    fall: Sums
    """What the variants delivered from the beginning of the fall until it was found."""
    before: dict[str, Sums]
    """What each variant had delivered before the fall; variants with too few outcomes are left out."""


class TagReport(msgspec.Struct, array_like=True, gc=False):
    """A report from the log that a tag is failing in many tasks."""

    incident_id: str
    until: int
    """When the report expires, in milliseconds."""
    words: str


class TaskRow(msgspec.Struct, array_like=True, gc=False):
    """All variants of a task, and which one is active.

    Times are in milliseconds. Fields named ``..._n`` count outcomes of the task.
    """

    agent_name: str
    task_type: str
    incarnation: int = 0
    offset: int = -1
    """The highest log offset that has been applied."""
    time: int = 0
    n: int = 0
    duplicates: int = 0
    amended: int = 0
    skewed: int = 0
    epoch: int = 0
    active: str | None = None
    previous: str | None = None
    since: int = 0
    changed_n: int = 0
    cause: str = ""
    cause_id: str = ""
    rollback_id: str | None = None
    """Id of the latest change of the active variant, if that was a rollback."""
    confirmed: bool = False
    """No longer used, because ``rollbacks`` has replaced it; the field keeps its place in the array."""
    latch: bool = False
    """Whether shadow mode has already reported a rollback in this activation."""
    no_target_n: int = -1
    """The task's outcome count at the last ``no_target`` alert; -1 if no such alert is open."""
    held_n: int = -1
    """The task's outcome count at the last ``held_degradation`` alert; -1 if none was sent under the current holds."""
    skew_n: int = -1
    pinned: StandingOrder | None = None
    held: StandingOrder | None = None
    ids: bytearray = msgspec.field(default_factory=bytearray)
    command_ids: bytearray = msgspec.field(default_factory=bytearray)
    waiting: list[Waiting] = []
    variants: dict[str, Variant] = {}
    runtimes: dict[str, Runtime] = {}
    reviews: list[Review] = []
    shown_n: int = 0
    shown_time: int = 0
    """When the last snapshot was published, in milliseconds."""
    shown_mode: str = ""
    shown_exploration: float = 0.0
    feedback_ids: bytearray = msgspec.field(default_factory=bytearray)
    """Ids of scores, kept apart from ``ids`` so that they do not push out the ids of outcomes."""
    rollbacks: list[PastRollback] = []
    """The last 8 rollbacks, oldest first; reviewed ones are dropped first."""
    wake: int = -1
    """When a tick next has work to do in this row, in milliseconds.  0: never; -1: an older engine wrote the row."""
    shown_fleet: int = 0
    """``since`` of the fleet's hold when the task was last published; 0 if there was none."""
    born: int = -1
    """Offset of the record that created the row, in its incarnation; -1 if unknown."""
    owners: bytearray = msgspec.field(default_factory=bytearray)
    """The mark of the variant for each id in ``ids``, in the same order: the newest come last."""
    too_late: int = 0
    """How many scores arrived for outcomes that had already left their window."""
    unmatched: int = 0
    """How many waiting scores were pushed out by newer ones before their outcome arrived."""
    receipted: bytearray = msgspec.field(default_factory=bytearray)
    """A Bloom filter of the forgotten runtimes that have adopted the current epoch; empty until one is forgotten."""
    strangers: int = 0
    """How many receipts of this epoch were for unknown runtimes while there was no room to remember them all."""
    forgotten: int = 0
    """How many times a runtime was forgotten to make room for another."""
    left: Left | None = None
    """The variant that the latest rollback replaced, while that rollback is being verified."""
    rollout: Rollout | None = None
    """The rollout in progress; None if there is none."""
    epoch_since: int = 0
    """When the epoch began, in milliseconds; 0 in rows of older engines, where ``since`` is that time."""
    watched: Watched | None = None
    """The latest rollback that shadow mode reported, until it is judged."""
    card: Card | None = None
    """How often rollbacks that shadow mode reported were right; None before the first one."""
    one_runtime: OneRuntime | None = None
    """The only runtime that makes the active variant look degraded; None unless this prevents a rollback."""
    incident: Incident | None = None
    """The incident in progress: variants with the same tag fell together, and none has recovered yet."""
    told: list[str] = []
    """The tags that the task last announced for its active variant."""
    shown_on_change: str = "next_turn"
    adopting: bool = False
    """Whether expected runtimes have still to follow the latest change, or to be found stuck."""
    judges: dict[str, Judge] = {}
    """By name, in the order of their last use; the first one of the task set the scale."""
    level: Judge = msgspec.field(default_factory=Judge)
    """The usual scores of the task on that scale; old ones fade."""
    filings: Filings | None = None
    """The proposals from outside; None until the first one."""
    prediction: Prediction | None = None
    """What the latest change promised, until it has been judged by its outcomes."""
    promotions: Kept | None = None
    """How many promotions kept their promise; None before the first judgement."""
    past: list[Past] = []
    """The last changes of each kind, oldest first."""
    kept: dict[str, Kept] = {}
    """How many changes helped, by the type of proposal that they speak for; promotions are in ``promotions``."""
    pace: Pace | None = None
    """How many outcomes the task gets; None until its first snapshot under this engine."""

    @property
    def key(self) -> TaskKey:
        """The task this row belongs to."""
        return TaskKey(self.agent_name, self.task_type)


SILENCE: Final = 1_000
"""Milliseconds without a record after which a tick publishes a task's unpublished state."""

_DECODER: Final = msgspec.msgpack.Decoder(TaskRow)


def new_row(key: TaskKey) -> TaskRow:
    """Return the row of a task about which nothing is known yet."""
    return TaskRow(key.agent_name, key.task_type)


def encode_row(row: TaskRow) -> bytes:
    """Return the row as stored in the changelog; equal logs give equal bytes."""
    return pack(row)


class _Place(msgspec.Struct, array_like=True, gc=False):
    """The fields that every row begins with; decoding skips the rest."""

    agent_name: str
    task_type: str
    incarnation: int
    offset: int


_PLACE_DECODER: Final = msgspec.msgpack.Decoder(_Place)


def row_position(data: bytes) -> tuple[int, int]:
    """Return a row's (incarnation, highest applied offset); of two rows of a task, the higher one is newer.

    Raises ``msgspec.MsgspecError`` if the bytes are not a row.
    """
    try:
        place = _PLACE_DECODER.decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"a name is not UTF-8: {error}") from error
    return place.incarnation, place.offset


def decode_row(data: bytes) -> TaskRow:
    """Decode a row; raise ``msgspec.MsgspecError`` if the bytes are not a row."""
    try:
        return _DECODER.decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"a name is not UTF-8: {error}") from error


class RowMarks(NamedTuple):
    """What can be read from a row without decoding all of it."""

    wake: int
    """When time alone next affects the row, in milliseconds; 0: never."""
    shown_fleet: int
    offset: int
    incarnation: int
    born: int


_MARKS: Final = frozenset(RowMarks._fields)
_MARKS_DECODER: Final = msgspec.msgpack.Decoder(
    msgspec.defstruct(
        "_Marks",
        [
            (name, int if name in _MARKS else msgspec.Raw, 0 if name == "shown_fleet" else -1)
            for name in TaskRow.__struct_fields__
        ],
        array_like=True,
        gc=False,
    )
)
"""Reads a few numbers from a row and skips the rest."""


def row_marks(data: bytes) -> RowMarks:
    """Return the marks of a row; for a row from an older engine, ``wake`` covers what that engine left unpublished.

    Raises ``msgspec.MsgspecError`` if the bytes are not a row.
    """
    found: Any = _MARKS_DECODER.decode(data)
    wake: int = found.wake
    if wake < 0:
        row = decode_row(data)
        until = [order.until for order in (row.pinned, row.held) if order is not None and order.until is not None]
        wake = min([*until, row.time + SILENCE] if row.n > row.shown_n else until, default=0)
    return RowMarks(wake, found.shown_fleet, found.offset, found.incarnation, found.born)
