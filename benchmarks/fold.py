"""Measures one fold step, and the work around it, in microseconds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.naive import NaiveMonitor
from benchmarks.outcomes import START, TICK, outcome, outcomes
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import decode_row, encode_row, new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Degradation, Policy
from crl_stream.settings import load_settings
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import partition_key
from crl_stream.wire.codec import decode, encode
from crl_stream.wire.topics import INVOCATIONS

STEPS = 20_000
ROUNDS = 7
GROWTH = (2, 4, 8, 16, 32)
"""Numbers of variants per task; 32 is the most that the default policy keeps."""


def run() -> dict[str, Any]:
    """Return the median times over several rounds, all in one process."""
    messages = [message for _, message in outcomes(STEPS)]
    key = next(outcomes(1))[0]
    values, key_bytes = [encode(message) for message in messages], key.encode()

    def steps(policy: Policy) -> Callable[[], None]:
        def fold() -> None:
            row = new_row(key)
            for offset, message in enumerate(messages):
                step(row, message, Context(0, offset, START + offset * TICK, 0, "0"), policy)

        return fold

    def naive() -> None:
        monitor = NaiveMonitor()
        for message in messages:
            monitor.step(message)

    records = [_Record(offset, START + offset * TICK, key.encode(), value, ()) for offset, value in enumerate(values)]

    def whole(size: int) -> Callable[[], None]:
        def fold() -> None:
            rows: dict[bytes, bytes] = {}
            for first in range(0, STEPS, size):
                entries = decode_batch(records[first : first + size])
                folded = fold_batch(0, 1, rows.get(partition_key(0)), rows, entries, {})
                rows |= folded.rows
                rows[partition_key(0)] = folded.partition_row

        return fold

    row = new_row(key)
    for offset, message in enumerate(messages[:600]):
        step(row, message, Context(0, offset, START + offset * TICK, 0, "0"), Policy())
    data = encode_row(row)
    guarded = Policy(degradation=Degradation(guard="evidence"))
    production = load_settings(environment={}, flags={"profile": "production"}).policies.default
    gc.collect()
    gc.freeze()
    figures = {
        # The speed of plain arithmetic on this machine, for comparison.
        "sum(range(1000)), the yardstick": _time(lambda: _each(lambda _: sum(range(1_000)), values), STEPS),
        "fold step": _time(steps(Policy()), STEPS),
        "fold step, guard = evidence": _time(steps(guarded), STEPS),
        "fold step, profile production": _time(steps(production), STEPS),
        "naive monitor": _time(naive, STEPS),
        "decode an invocation": _time(
            lambda: _each(lambda value: decode(INVOCATIONS, value, key_bytes), values), STEPS
        ),
        "decode a row": _time(lambda: _each(decode_row, [data] * STEPS), STEPS),
        "encode a row": _time(lambda: _each(encode_row, [row] * STEPS), STEPS),
        "decode, fold and encode, batches of 1": _time(whole(1), STEPS),
        "decode, fold and encode, batches of 20": _time(whole(20), STEPS),
        "decode, fold and encode, batches of 500": _time(whole(500), STEPS),
    }
    growth = {f"{count} variants": _time(_steps_of(key, count), STEPS) for count in GROWTH}
    gc.unfreeze()
    return {
        "microseconds": figures,
        "microseconds of a fold step by variants of the task": growth,
        "ratios": {
            "naive monitor / fold step": figures["naive monitor"]["median"] / figures["fold step"]["median"],
            "fold step / yardstick": figures["fold step"]["min"] / figures["sum(range(1000)), the yardstick"]["min"],
        },
        "goal": "one fold step: 10 us or less; the guide allows 1 ms for the check, 5 to 10 ms for the detection",
    }


def _steps_of(key: TaskKey, variants: int) -> Callable[[], None]:
    """Return a function that steps a task whose outcomes alternate between this many variants."""
    messages = [outcome(key, number, variant_id=f"variant-{number % variants}") for number in range(STEPS)]

    def fold() -> None:
        row = new_row(key)
        for offset, message in enumerate(messages):
            step(row, message, Context(0, offset, START + offset * TICK, 0, "0"), Policy())

    return fold


class _Record:
    __slots__ = ("headers", "key", "offset", "timestamp", "value")

    def __init__(self, offset: int, timestamp: int, key: bytes, value: bytes, headers: Any) -> None:
        self.offset, self.timestamp, self.key, self.value, self.headers = offset, timestamp, key, value, headers


def _each(function: Callable[[Any], Any], arguments: list[Any]) -> None:
    for argument in arguments:
        function(argument)


def _time(function: Callable[[], Any], count: int) -> dict[str, float]:
    function()
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        function()
        found.append((time.perf_counter() - started) / count * 1e6)
    return {"min": min(found), "median": statistics.median(found), "max": max(found)}
