"""One step of the engine: a message is recorded, the variant judged, and what follows is stated.

Order of a step: record, verdict, rollback; if it fired, stop; else promote the best ready candidate.  So the
rollback is stated by the very outcome that reveals the degradation.  Nothing here knows Kafka, a clock or a
batch: time and place come with the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import Feedback, Invocation, Receipt
from crl_stream.core.monitor.changes import Activated, FleetHoldNoticed, HoldEnded, RolledBack
from crl_stream.core.monitor.commands import apply_command
from crl_stream.core.monitor.decision_matrix import decision, promotion
from crl_stream.core.monitor.dedupe import is_known, new_mark, remember
from crl_stream.core.monitor.evidence import update
from crl_stream.core.monitor.feedback import settle_waiting, take_feedback
from crl_stream.core.monitor.learning import reward_of, speed_of
from crl_stream.core.monitor.lifecycle import apply
from crl_stream.core.monitor.protection import protect
from crl_stream.core.monitor.row import (
    ABSENT,
    ERROR,
    EXPLICIT,
    FAILED,
    JUDGED,
    MICRO,
    RETIRED,
    SILENCE,
    SUCCESS,
    TaskRow,
    Variant,
    decode_row,
    encode_row,
    new_row,
)
from crl_stream.core.monitor.runtimes import follow_runtime, watch_clock
from crl_stream.core.monitor.snapshot import EARLIEST, active_variant, is_due, task_snapshot, variant_catalogue
from crl_stream.core.monitor.standing_orders import expired, is_over, next_end
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.monitor.variants import add_variant
from crl_stream.core.monitor.window import is_low, pack_outcome, take_in
from crl_stream.core.policy import Policy

__all__ = ["Context", "Step", "fold", "follow_fleet", "look_again", "pass_time", "step"]


class Step(NamedTuple):
    """What became of a message, and what is to be published."""

    disposition: Literal["applied", "duplicate", "too_late", "rejected"]
    reason: str | None
    facts: Sequence[Any]


_QUIET: Final = Step("applied", None, ())
"""What most outcomes come to."""


def step(row: TaskRow, message: Any, at: Context, policy: Policy) -> Step:
    """Fold one Invocation, Feedback or task command into ``row``, in place."""
    row.offset, row.incarnation = at.offset, at.incarnation
    time = at.timestamp_ms
    if time > row.time:
        row.time = time
    turn = Turn(row, at, policy)
    if row.pinned is not None or row.held is not None:
        apply(turn, expired(row))
    if at.fleet is not None or row.shown_fleet:
        _notice_fleet(turn)
    disposition: Literal["applied", "duplicate", "too_late", "rejected"] = "applied"
    reason = None
    kind = type(message)
    if kind is Invocation:
        disposition, reason = _take_invocation(turn, message)
    elif kind is Feedback:
        disposition, amended = take_feedback(turn, message)
        if amended is not None:
            _follow(turn, amended, outcome=False)
    else:
        disposition = apply_command(turn, message)
    _publish_state(turn)
    if disposition == "applied" and not turn.facts:
        return _QUIET
    return Step(disposition, reason, turn.facts)


def pass_time(row: TaskRow, at: Context, policy: Policy) -> Sequence[Any]:
    """Let ``row`` know that it is ``at.timestamp_ms`` now; its facts.  For a row whose ``wake`` has come.

    Pins and holds that are over end, and what was not published yet is published.  Nothing is judged: whatever a hold
    kept back waits for the next outcome, as always.
    """
    row.offset, row.incarnation = at.offset, at.incarnation
    if at.timestamp_ms > row.time:
        row.time = at.timestamp_ms
    turn = Turn(row, at, policy)
    apply(turn, expired(row))
    _notice_fleet(turn)
    _publish_state(turn, due=True)
    return turn.facts


def look_again(row: TaskRow, at: Context, policy: Policy) -> Step:
    """Judge the active variant between two outcomes, under whatever policy; nothing but a rollback may follow.

    For those who have no next outcome to wait for.  Only the active variant has anything to be protected from, and a
    promotion waits for an outcome as always.
    """
    row.offset, row.incarnation = at.offset, at.incarnation
    turn = Turn(row, at, policy)
    apply(turn, expired(row))
    if row.active is not None:
        apply(turn, protect(turn, row.variants[row.active], outcome=False))
    _publish_state(turn)
    return Step("applied", None, turn.facts)


def follow_fleet(row: TaskRow, at: Context, policy: Policy) -> Step:
    """Publish the task as it stands under a hold of the fleet that has just begun or ended."""
    row.offset, row.incarnation = at.offset, at.incarnation
    if at.timestamp_ms > row.time:
        row.time = at.timestamp_ms
    turn = Turn(row, at, policy)
    apply(turn, expired(row))
    _notice_fleet(turn)
    turn.active_changed = True  # who holds it may be another, from the same millisecond on
    _publish_state(turn, due=True)
    return Step("applied", None, turn.facts)


def fold(
    data: bytes | None, key: TaskKey, messages: Sequence[tuple[Any, Context]], policy: Policy
) -> tuple[bytes, list[Any]]:
    """The pure face of ``step``: row bytes and messages in, row bytes and facts out."""
    row = new_row(key) if data is None else decode_row(data)
    facts: list[Any] = []
    for message, at in messages:
        facts += step(row, message, at, policy).facts
    return encode_row(row), facts


# -- record ----------------------------------------------------------------------------------------
def _take_invocation(
    turn: Turn, invocation: Invocation
) -> tuple[Literal["applied", "duplicate", "rejected"], str | None]:
    row, rules, offset, variant_id = turn.row, turn.rules, turn.at.offset, invocation.variant_id
    formula = rules.formula
    digest = blake2b(invocation.invocation_id.encode(), digest_size=8).digest()
    variant = row.variants.get(variant_id)
    if variant is None and not is_known(row.ids, digest):
        variant = add_variant(turn, variant_id)
        if variant is None:
            # Its id is not remembered: sent again when there is room, it counts.
            return "rejected", "variant_limit"
    if not remember(row.ids, digest, rules.duplicate_ids) or variant is None:
        row.duplicates += 1
        return "duplicate", None
    owners = row.owners
    owners += variant.mark or new_mark(row, variant)
    if len(owners) > rules.duplicate_ids:  # as many as there are ids
        del owners[: len(owners) - rules.duplicate_ids]
    variant.last_offset = offset

    status, share, errors, given = invocation.status, invocation.quality, invocation.error_count, invocation.reward
    success = status == "success"
    quality = ABSENT if share is None else round(share * MICRO)
    speed = speed_of(invocation, formula)
    if errors > 255:
        errors = 255
    flags = SUCCESS if success else 0
    if status == "error":
        flags |= ERROR | FAILED
    elif errors:
        flags |= ERROR
    if given is None:
        reward = reward_of(success, quality, speed, errors, formula)
    else:
        reward, flags = round(given * MICRO), flags | EXPLICIT
    if invocation.role == "shadow":
        shadow = variant.shadow
        shadow.n += 1
        shadow.successes += success
        shadow.reward += reward
        return "applied", None

    explored = invocation.variant_source == "explore"
    if row.active is None and not explored and not variant.quarantined and variant.state != RETIRED:
        apply(turn, [Activated(variant, "first_seen", invocation.invocation_id, "The first variant seen")])
    seen_epoch = invocation.active_epoch
    if seen_epoch is None or seen_epoch >= variant.epoch:
        flags |= JUDGED
        flags |= update(variant, reward, flags, rules.size, rules.claims)
    packed = pack_outcome(offset, digest, reward, speed, quality, errors, flags)
    take_in(variant, packed, reward, flags, rules.size, rules.rate, rules.claims)
    if variant.life.n == 1:
        turn.catalogue_changed = True  # it may have run in the shadow so far
    row.n += 1
    _count_flaws(variant, success, speed, quality)
    if row.waiting:
        settle_waiting(turn, variant, int.from_bytes(digest, "little"))
    runtime_id = invocation.runtime_id
    if runtime_id is not None and not explored:
        follow_runtime(turn, runtime_id, seen_epoch)
    watch_clock(turn, invocation.timestamp)
    held = row.held
    if held is not None and is_over(held, row):
        apply(turn, [HoldEnded()])
    if flags & JUDGED:
        _follow(turn, variant, outcome=True)
    elif (said := decision(turn, variant)) is not None:
        apply(turn, [said])
    return "applied", None


def _count_flaws(variant: Variant, success: bool, speed: int, quality: int) -> None:
    """What the recommendations for a weak variant go by."""
    if not success:
        variant.failures += 1
    if speed < 0 and speed != ABSENT:
        variant.slow += 1
    if is_low(quality):
        variant.low_quality += 1


# -- what follows ----------------------------------------------------------------------------------
def _follow(turn: Turn, variant: Variant, *, outcome: bool) -> None:
    """Verdict and rollback, then the matrix; a promotion only if nothing was rolled back.

    ``outcome`` says whether an outcome is the reason, or a late score of one.
    """
    active, rolled_back = variant.variant_id == turn.row.active, False
    changes = protect(turn, variant, outcome=outcome)
    if changes:
        apply(turn, changes)
        rolled_back = any(type(change) is RolledBack for change in changes)
    said = decision(turn, variant)
    if said is not None:
        apply(turn, [said])
    if active and not rolled_back:
        promoted = promotion(turn)
        if promoted is not None:
            apply(turn, [promoted])


def _notice_fleet(turn: Turn) -> None:
    """A hold of the fleet that the task was not yet published with, or that it was published with and is over."""
    row, fleet = turn.row, turn.at.fleet
    current = 0 if fleet is None else fleet.since
    if row.shown_fleet != current:
        apply(turn, [FleetHoldNoticed(current)])


def _publish_state(turn: Turn, *, due: bool = False) -> None:
    """Publish what has changed, and say when the row has to be looked at again; ``due``: a snapshot in any case."""
    row, rules = turn.row, turn.rules
    if row.active is not None and (
        turn.active_changed or row.shown_exploration != rules.exploration or row.shown_mode != rules.mode
    ):
        row.shown_mode, row.shown_exploration = rules.mode, rules.exploration
        turn.facts.append(active_variant(turn))
    if turn.catalogue_changed:
        turn.facts.append(variant_catalogue(turn))
    # Most outcomes are neither early nor many since the last snapshot: that is seen without a call.
    fresh = row.n - row.shown_n >= rules.snapshot_outcomes or row.n <= EARLIEST
    if due or (turn.facts and _is_news(turn.facts)) or (fresh and is_due(row, rules)):
        row.shown_n, row.shown_time = row.n, row.time
        wake = 0
        turn.facts.append(task_snapshot(row, turn.at, turn.policy))
    else:
        wake, silent = row.shown_time + rules.snapshot_ms, row.time + SILENCE
        if silent > wake:
            wake = silent
    if row.reviews or row.pinned is not None or row.held is not None:
        end = next_end(row)
        if end and (wake == 0 or end < wake):
            wake = end
    row.wake = wake


def _is_news(facts: Sequence[Any]) -> bool:
    """Whether a snapshot has to follow at once; after a receipt alone it may wait for the next one."""
    for fact in facts:  # noqa: SIM110 - any() over a generator costs as much as the rest of a quiet step
        if type(fact) is not Receipt:
            return True
    return False
