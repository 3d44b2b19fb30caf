"""The runtimes of a task: which ones are remembered, which epoch each has adopted, and how far its clock is off."""

from __future__ import annotations

from typing import Final

from crl_stream.core.ids import name_digest
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.monitor import facts
from crl_stream.core.monitor.adoption import followers_of
from crl_stream.core.monitor.row import Runtime
from crl_stream.core.monitor.sources import free_mark
from crl_stream.core.monitor.turn import Turn

_SKEW_PAUSE = 1_000
"""How many outcomes of a task must pass between two alerts about its runtimes' clocks."""
STRANGERS: Final = 32
"""When no room is left: maximum receipts per epoch for unknown runtimes, as a multiple of ``limits.runtimes``."""
_FILTER_BYTES: Final = 2_048
"""Size of the Bloom filter: with 1,000 forgotten runtimes, about one new runtime in 500 gets no receipt."""


def follow_runtime(turn: Turn, runtime_id: str, epoch: int | None, seconds: float | None = None) -> Runtime:
    """Record which epoch a runtime works with; its first outcome in the current epoch produces a receipt.

    The runtimes are kept in the order in which they were last seen.  If there are more than ``limits.runtimes``, the
    oldest are dropped, and a Bloom filter remembers which of these have adopted the epoch, so each still gets only one
    receipt.  Invented ids get at most ``STRANGERS`` times ``limits.runtimes`` receipts per epoch.  ``seconds`` is how
    long the invocation took; without it, it is taken to have begun when the runtime was last seen.
    """
    row = turn.row
    runtimes, is_stranger = row.runtimes, False
    runtime = runtimes.pop(runtime_id, None)
    if runtime is None:
        runtime = Runtime()
        limit = turn.policy.limits.runtimes
        if len(runtimes) >= limit:
            is_stranger = True
            _forget_runtimes(turn, limit - 1)
            if row.receipted and all(row.receipted[at] & bit for at, bit in _places(runtime_id)):
                # It has followed, so outcomes that it began before do not make it stuck.
                runtime.epoch, runtime.moved_after = row.epoch, 0
    if not runtime.mark:
        runtime.mark = free_mark(row, runtime_id)
    runtimes[runtime_id] = runtime
    began = runtime.seen if seconds is None else row.time - round(seconds * 1_000)
    runtime.last_offset, runtime.seen = turn.at.offset, row.time
    if epoch is None:
        return runtime
    if epoch < row.epoch:
        runtime.late += 1
        if epoch > runtime.epoch:
            runtime.epoch = epoch  # it follows changes, so it is expected to follow the next one too
        _stay_behind(turn, runtime_id, runtime, epoch, began)
    elif runtime.epoch < row.epoch:
        runtime.epoch = row.epoch
        _moved(turn, runtime_id, runtime)
        if is_stranger:
            row.strangers += 1
            if row.strangers > STRANGERS * turn.policy.limits.runtimes:
                return runtime
        turn.facts.append(facts.receipt(turn, runtime_id, runtime.late))
    return runtime


def _moved(turn: Turn, runtime_id: str, runtime: Runtime) -> None:
    """Record that a runtime has followed the latest change."""
    row = turn.row
    if runtime.stuck:
        turn.facts.append(facts.no_longer_stuck(turn, runtime_id, "it uses the active variant now", runtime.stuck))
        runtime.stuck = ""
    runtime.moved_after, runtime.moved_ms = runtime.late, row.time - (row.epoch_since or row.since)
    _settle(turn)


def _stay_behind(turn: Turn, runtime_id: str, runtime: Runtime, epoch: int, began: int) -> None:
    """Alert operators once if a runtime does not follow: after too many outcomes, or with one that ``began`` too late.

    ``epoch`` is what the outcome names, and ``began`` is when its invocation began, in milliseconds.  An invocation
    that began before the change cannot know it, so many of them at the same time are no reason for an alert, and do not
    count towards one.  Neither do outcomes that arrive within ``operations.stuck_grace`` after the change: a runtime
    that reports in batches sends them late.
    """
    row, operations = turn.row, turn.policy.operations
    if runtime.stuck or runtime.moved_after >= 0:
        return
    since = row.epoch_since or row.since
    if began <= since or row.time <= since + round(operations.stuck_grace * 1_000):
        return
    runtime.behind += 1
    if runtime.behind <= operations.stuck_invocations and began <= since + round(operations.stuck_seconds * 1_000):
        return
    runtime.stuck = turn.identify("st", "stuck", f"{runtime_id} {row.epoch}")
    turn.facts.append(facts.stuck(turn, runtime_id, runtime, epoch))
    _settle(turn)


def _settle(turn: Turn) -> None:
    """Publish the adoption once every expected runtime has followed or is stuck."""
    row = turn.row
    if row.adopting:
        found = followers_of(row)
        if not found.waiting:
            row.adopting = False
            if not found.expected:
                return  # all of them were forgotten
            turn.facts.append(facts.adoption(turn, found, complete=True))


def _forget_runtimes(turn: Turn, most: int) -> None:
    """Keep the ``most`` runtimes seen last; the filter remembers which of the others have adopted the epoch."""
    row = turn.row
    for name in list(row.runtimes)[: len(row.runtimes) - most]:
        gone = row.runtimes.pop(name)
        row.forgotten += 1
        if gone.stuck:
            words = "it was forgotten to make room for other runtimes"
            turn.facts.append(facts.no_longer_stuck(turn, name, words, gone.stuck))
        if gone.epoch == row.epoch:
            if not row.receipted:
                row.receipted = bytearray(_FILTER_BYTES)
            for at, bit in _places(name):
                row.receipted[at] |= bit
    _settle(turn)


def _places(runtime_id: str) -> list[tuple[int, int]]:
    """Return the runtime's bits in the Bloom filter, each as the index of a byte and a mask."""
    digest = name_digest(runtime_id)
    numbers = [int.from_bytes(digest[at : at + 2], "little") % (_FILTER_BYTES * 8) for at in (0, 2, 4, 6)]
    return [(number >> 3, 1 << (number & 7)) for number in numbers]


def watch_clock(turn: Turn, timestamp: str) -> None:
    """Alert operators if an outcome's own timestamp is further from its append time than the policy allows."""
    at, row = turn.at, turn.row
    # Both times are usually in the same minute, and comparing texts is far cheaper than computing the difference.
    limit = turn.rules.max_skew
    if limit >= 120 and timestamp[:16] == _minute(at.timestamp_ms // 60_000):
        return
    try:
        skew = abs(from_text(timestamp) - at.timestamp_ms) / 1_000
    except ValueError:
        return
    if skew <= limit:
        return
    row.skewed += 1
    if row.skew_n < 0 or row.n - row.skew_n >= _SKEW_PAUSE:
        row.skew_n = row.n
        turn.facts.append(facts.clock_skew(turn, skew))


_minutes: dict[int, str] = {}


def _minute(number: int) -> str:
    text = _minutes.get(number)
    if text is None:
        _minutes.clear()
        text = _minutes[number] = to_text(number * 60_000)[:16]
    return text
