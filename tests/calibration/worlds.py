"""Simulated histories whose truth is known."""

from __future__ import annotations

from random import Random
from typing import Any

from builders import AGENT, TASK

from crl_stream.calibration.history import History, HistoryReader
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey

KEY = TaskKey(AGENT, TASK)


def bernoulli(random: Random, p: float, count: int, correlation: float = 0.0) -> list[bool]:
    """Return successes with probability ``p``; each outcome and the next have this ``correlation``."""
    found, last = [], p
    for _ in range(count):
        good = random.random() < p + correlation * (last - p)
        found.append(good)
        last = float(good)
    return found


def invocations_of(variant: str, successes: list[bool], first: int = 0, **fields: Any) -> list[m.Invocation]:
    """Return invocations with ids that the variant and the number determine."""
    return [
        m.Invocation(
            schema_version=1,
            invocation_id=f"{variant}-{number}",
            timestamp="2025-11-19T14:30:00Z",
            agent_name=AGENT,
            task_type=TASK,
            variant_id=variant,
            status="success" if good else "failure",
            **fields,
        )
        for number, good in enumerate(successes, start=first)
    ]


def history_of(messages: list[Any], most: int = 20_000) -> History:
    reader = HistoryReader(KEY, most)
    for message in messages:
        reader.take(message)
    return reader.history()


def a_history(seed: int, count: int, correlation: float = 0.0, **rates: float) -> History:
    """Return a history of variants with these success rates; the first one is active."""
    random, messages, source = Random(seed), list[Any](), "live"
    for name, p in rates.items():
        messages += invocations_of(name, bernoulli(random, p, count, correlation), variant_source=source)
        source = "explore"
    return history_of(messages)
