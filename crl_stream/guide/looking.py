"""Judgements that only the guide's scripts need: between two outcomes, and further back than a window."""

from __future__ import annotations

from msgspec.structs import replace

from crl_stream.core.monitor.lifecycle import apply
from crl_stream.core.monitor.protection import protect
from crl_stream.core.monitor.publishing import publish_state
from crl_stream.core.monitor.row import ERROR, JUDGED, MICRO, OUTCOME, SIZE, SUCCESS, Sums, TaskRow, Variant
from crl_stream.core.monitor.standing_orders import expired
from crl_stream.core.monitor.step import Context, Step
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.window import Outcome
from crl_stream.core.policy import Policy


def look_again(row: TaskRow, at: Context, policy: Policy) -> Step:
    """Judge the active variant between two outcomes, under the given policy; only a rollback can result.

    This is for scripts that cannot wait for the next outcome. Only the active variant needs protection; promotions
    still wait for the next outcome.
    """
    row.offset, row.incarnation = at.offset, at.incarnation
    turn = Turn(row, at, policy)
    apply(turn, expired(row))
    if row.active is not None:
        apply(turn, protect(turn, row.variants[row.active], outcome=False))
    publish_state(turn)
    return Step("applied", None, turn.facts)


def looking_back(variant: Variant, last: int, earlier: bytes = b"") -> Variant:
    """Return the variant as if its window were ``last`` outcomes long.

    ``earlier`` holds older outcomes that have left the window; the result can reach back no further than these.
    """
    window = (earlier + bytes(variant.window))[-last * SIZE :]
    judged = Sums()
    for fields in OUTCOME.iter_unpack(window):
        outcome = Outcome(*fields)
        if outcome.flags & JUDGED:
            judged.n += 1
            judged.reward += outcome.reward
            judged.squares += outcome.reward * outcome.reward // MICRO
            judged.successes += outcome.flags & SUCCESS
            judged.errors += (outcome.flags & ERROR) >> 1
    return replace(variant, window=bytearray(window), judged=judged)
