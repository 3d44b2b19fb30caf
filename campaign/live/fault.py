"""What defines a fault (a file in ``campaign/live/faults/``), and the result of inducing it once."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from campaign.live import faults
from campaign.live.world import World

ORDERS_RACING: Final = "F26"
"""The table's name for faults that struck while a command, a score or a policy was in flight."""


@dataclass
class Engagement:
    """The result of inducing a fault: whether the system's own figures show that it noticed, and those figures."""

    engaged: bool
    figures: Mapping[str, float] = field(default_factory=dict)
    recovery_seconds: float | None = None
    """Seconds from the fault until the affected partitions made progress again."""
    in_flight: Mapping[str, int] = field(default_factory=dict)
    """Commands, policies and scores in flight when the fault struck, as counted by ``World.in_flight`` (F26)."""
    note: str = ""

    @property
    def raced(self) -> bool:
        """Whether a command, policy or score was in flight."""
        return any(self.in_flight.values())


@dataclass(frozen=True)
class Fault:
    """A type of fault."""

    id: str
    title: str
    times: int
    """Number of times that the fault is induced in the whole campaign."""
    per_round: int
    induce: Callable[[World, random.Random], Awaitable[Engagement]]
    prepare: Callable[[World, random.Random], Awaitable[None]] | None = None
    """A function that is called instead of ``World.start``, if it is given."""
    own_broker: bool = False
    """Whether rounds of the fault need their own broker, because the fault harms more than their topics."""
    examines: bool = True
    """Whether the oracle examines the result."""
    plan: dict[str, Any] = field(default_factory=dict)
    """Fields of ``world.Plan`` that rounds of the fault need, regardless of the seed."""


def find_faults() -> dict[str, Fault]:
    """Return all types of faults by id, in numerical order."""
    found: dict[str, Fault] = {}
    for each in pkgutil.iter_modules(faults.__path__):
        chapter = importlib.import_module(f"{faults.__name__}.{each.name}")
        fault = Fault(
            chapter.ID,
            chapter.TITLE,
            chapter.TIMES,
            chapter.PER_ROUND,
            chapter.induce,
            getattr(chapter, "prepare", None),
            own_broker=getattr(chapter, "OWN_BROKER", False),
            examines=getattr(chapter, "EXAMINES", True),
            plan=getattr(chapter, "PLAN", {}),
        )
        if fault.id in found:
            raise ValueError(f"two files define the fault {fault.id}")
        found[fault.id] = fault
    return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))
