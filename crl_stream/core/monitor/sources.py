"""Which runtime each outcome came from, and what each runtime reported last about the active variant.

A window stores one byte for each outcome: the mark of its runtime, or 0 if it named none.  The runtimes that a task
knows have different marks; any other has the mark that ``mark_of`` derives from its name, which it may share.

For each runtime, the row also keeps the sums of its last 10 to 19 judged outcomes of the active variant in the current
epoch.  At 20, the first 10 are dropped, so every outcome counts once or not at all, and a late score can correct them.
A runtime that sends a thousand outcomes does not change what the others have reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crl_stream.core.ids import name_digest
from crl_stream.core.monitor.row import ERROR, JUDGED, OUTCOME, SIZE, SUCCESS, Runtime, Sums, TaskRow, Variant

BATCH: Final = 10
"""How many outcomes of a runtime are dropped at once; between one and two times as many are kept."""


def mark_of(runtime_id: str) -> int:
    """Return a mark derived from a runtime's name, 1 to 255."""
    first: int = name_digest(runtime_id)[0]
    return 1 + first % 255


def free_mark(row: TaskRow, runtime_id: str) -> int:
    """Return a free mark for the runtime, the first from ``mark_of`` on; ``mark_of`` itself if all 255 are taken."""
    first = mark_of(runtime_id)
    taken = {runtime.mark for runtime in row.runtimes.values()}
    return next((mark for mark in (*range(first, 256), *range(1, first)) if mark not in taken), first)


def attribute(
    row: TaskRow, variant: Variant, runtime: Runtime | None, runtime_id: str | None, reward: int, flags: int
) -> None:
    """Record which runtime the window's newest outcome came from, and add the outcome to what the runtime reported.

    Call this before the outcome's reward is amended.

    Args:
        row: The task.
        variant: The variant whose window the outcome has just entered.
        runtime: The runtime, if the task knows it.
        runtime_id: The name that the outcome gives, if any.
        reward: The outcome's reward in millionths.
        flags: The outcome's flags, as in ``row``.
    """
    sources = variant.sources
    if runtime is not None:
        sources.append(runtime.mark)
    else:
        sources.append(0 if runtime_id is None else mark_of(runtime_id))
    length = len(variant.window)
    while len(sources) * SIZE > length:
        del sources[0]
    if runtime is None or not flags & JUDGED or variant.variant_id != row.active:
        return
    runtime.reward += reward
    if flags & SUCCESS:
        runtime.successes += 1
    if flags & ERROR:
        runtime.errors += 1
    runtime.n = n = runtime.n + 1
    if not n % BATCH:
        _turn_over(runtime)


def _turn_over(runtime: Runtime) -> None:
    """After every tenth outcome, drop the ten before the last ten, and remember the sums of the last ten."""
    if runtime.n > BATCH:
        runtime.n = BATCH
        runtime.successes -= runtime.first_successes
        runtime.errors -= runtime.first_errors
        runtime.reward -= runtime.first_reward
    runtime.first_successes, runtime.first_errors = runtime.successes, runtime.errors
    runtime.first_reward = runtime.reward


def start_again(runtime: Runtime) -> None:
    """Forget what a runtime reported: another variant is active, or a person has accepted the active one's level."""
    runtime.n = runtime.successes = runtime.errors = runtime.reward = 0
    runtime.first_successes = runtime.first_errors = runtime.first_reward = 0


def amend_runtime(row: TaskRow, variant: Variant, invocation: int, change: int) -> None:
    """Amend what a runtime reported: the reward of an outcome in the window changes by ``change`` millionths.

    If that runtime has reported too many outcomes since, there is nothing to change.
    """
    window, sources = variant.window, variant.sources
    first = len(window) // SIZE - len(sources)  # older engines recorded no sources
    if variant.variant_id != row.active:
        return
    outcomes = [(fields[1], fields[6] & JUDGED) for fields in OUTCOME.iter_unpack(window)][first:]
    at = next((at for at, (found, judged) in enumerate(outcomes) if found == invocation and judged), -1)
    mark = sources[at] if at >= 0 else 0
    if not mark:
        return
    later = zip(sources[at + 1 :], outcomes[at + 1 :], strict=True)
    newer = sum(1 for source, (_, judged) in later if judged and source == mark)
    for runtime in row.runtimes.values():
        if runtime.mark == mark and newer < runtime.n:
            runtime.reward += change
            if BATCH <= runtime.n <= newer + BATCH:
                runtime.first_reward += change


def judged_sources(variant: Variant) -> Iterator[tuple[int, Sums]]:
    """Return the mark of the runtime and the sums, without squares, of each judged outcome of the window.

    Outcomes for which an older engine recorded no source count as outcomes that name no runtime.
    """
    sources = variant.sources
    first = len(variant.window) // SIZE - len(sources)
    for at, outcome in enumerate(OUTCOME.iter_unpack(variant.window)):
        flags = outcome[6]
        if flags & JUDGED:
            one = Sums(1, flags & SUCCESS, (flags & ERROR) >> 1, outcome[2])
            yield sources[at - first] if at >= first else 0, one
