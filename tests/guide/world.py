"""Stores with a history, recorded as a script at the time of the guide would have done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builders import AGENT, TASK, a_command, invocations

from crl_stream.core import messages as m
from crl_stream.guide.store import Store

GUIDE = Path(__file__).with_name("CRL_SAFETY_GUIDE.md")
WHO = (AGENT, TASK)


def record(store: Store, variant_id: str, outcomes: str, **fields: Any) -> None:
    """Record one outcome per letter: ``S`` success, ``F`` failure, ``E`` error."""
    for invocation in invocations(variant_id, outcomes, **fields):
        store.record(invocation)


def order(store: Store, kind: type, **fields: Any) -> m.CommandResult:
    return store.order(a_command(kind, **fields))


def promising(store: Store) -> None:
    """``api-optimized`` has a Q-value of 0.95 after 12 visits, but its lead is too small for an automatic promotion."""
    record(store, "default", "S" * 30, reward=0.92)
    record(store, "api-optimized", "S" * 12, reward=0.95, variant_source="explore")


def replaced(store: Store) -> None:
    """``api-optimized``, with 30 successes, replaced a proven default and has since succeeded 10 times."""
    record(store, "default", "S" * 30, reward=0.5)
    record(store, "api-optimized", "S" * 30, reward=0.5, variant_source="explore")
    order(store, m.ActivateVariant, variant_id="api-optimized")
    record(store, "api-optimized", "S" * 10, reward=0.5, active_epoch=2)


def collapsed(store: Store) -> None:
    """As in ``replaced``, but then ``api-optimized`` fails until it is rolled back."""
    replaced(store)
    for _ in range(20):
        if active_of(store) == "default":
            break
        record(store, "api-optimized", "F", active_epoch=2, reward=-1.0)


def as_in_the_guide(store: Store) -> None:
    """While held, ``api-optimized`` drops from 90 % over 100 outcomes to 75 % in the last 20; rewards are unchanged."""
    record(store, "default", "S" * 30, reward=0.5)
    record(store, "api-optimized", "S" * 20, reward=0.5, variant_source="explore")
    order(store, m.ActivateVariant, variant_id="api-optimized")
    order(store, m.HoldTask, reason="somebody is looking")
    # 20 of 20 succeeded before the activation, then 55 of 60, then 15 of 20: 90 of all 100, but 75 % of the window.
    record(store, "api-optimized", ("S" * 11 + "F") * 5, reward=0.5, active_epoch=2)
    record(store, "api-optimized", "SSSF" * 5, reward=0.5, active_epoch=2)


def active_of(store: Store) -> str:
    [(_, _, variant_id)] = store.get_active_variants()
    return variant_id


def lines_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the lines of a telemetry file."""
    path = folder / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
