"""A store with a history, told as a script of the guide's time would have recorded it."""

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
    """One outcome a letter: ``S`` success, ``F`` failure, ``E`` error."""
    for invocation in invocations(variant_id, outcomes, **fields):
        store.record(invocation)


def order(store: Store, kind: type, **fields: Any) -> m.CommandResult:
    return store.order(a_command(kind, **fields))


def promising(store: Store) -> None:
    """``api-optimized`` is at Q = 0.95 after 12 visits, and not far enough ahead to be promoted without being asked."""
    record(store, "default", "S" * 30, reward=0.92)
    record(store, "api-optimized", "S" * 12, reward=0.95, variant_source="explore")


def replaced(store: Store) -> None:
    """``api-optimized``, proven by 30 successes, is active over a proven default, and has done well 10 times since."""
    record(store, "default", "S" * 30, reward=0.5)
    record(store, "api-optimized", "S" * 30, reward=0.5, variant_source="explore")
    order(store, m.ActivateVariant, variant_id="api-optimized")
    record(store, "api-optimized", "S" * 10, reward=0.5, active_epoch=2)


def collapsed(store: Store) -> None:
    """The same, and then it fails until it has been left."""
    replaced(store)
    for _ in range(20):
        if active_of(store) == "default":
            break
        record(store, "api-optimized", "F", active_epoch=2, reward=-1.0)


def as_in_the_guide(store: Store) -> None:
    """Held, ``api-optimized`` went from 90 % to 75 % in its last 20 outcomes of 100, its rewards unchanged."""
    record(store, "default", "S" * 30, reward=0.5)
    record(store, "api-optimized", "S" * 20, reward=0.5, variant_source="explore")
    order(store, m.ActivateVariant, variant_id="api-optimized")
    order(store, m.HoldTask, reason="somebody is looking")
    # 55 of 60 since the activation, then 15 of 20: 90 of 100 in all, 75 % of the window.
    record(store, "api-optimized", ("S" * 11 + "F") * 5, reward=0.5, active_epoch=2)
    record(store, "api-optimized", "SSSF" * 5, reward=0.5, active_epoch=2)


def active_of(store: Store) -> str:
    [(_, _, variant_id)] = store.get_active_variants()
    return variant_id


def lines_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a telemetry file."""
    path = folder / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
