"""The detectors: one file each, found by listing this folder, in the order in which ties are broken.

A detector has NAME (the metric's), ORDER, ``limit(degradation)`` in millionths, ``exceeds(baseline, recent, limit)``,
which says in whole numbers whether the window is degraded, None where nothing can be said, and for one that is
``detect``, which gives the change and how often the limit goes into it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Final, NamedTuple

from crl_stream.core.monitor.row import Sums
from crl_stream.core.policy import Degradation


class Finding(NamedTuple):
    """What one detector says of a window."""

    change: float
    """Relative to the baseline: a drop, or for errors an increase."""
    excess: float
    """``change`` as a multiple of the limit."""


class Detector(NamedTuple):
    """A module of this folder, checked."""

    order: int
    name: str
    limit: Callable[[Degradation], int]
    exceeds: Callable[[Sums, Sums, int], bool | None]
    detect: Callable[[Sums, Sums, int], Finding | None]
    describe: Callable[[Sums, Sums, float], str]
    measure: Callable[[Sums, Sums, float | None], dict[str, float]]


def _discover() -> tuple[Detector, ...]:
    found = []
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        found.append(
            Detector(
                module.ORDER,
                module.NAME,
                module.limit,
                module.exceeds,
                module.detect,
                module.describe,
                module.measure,
            )
        )
    return tuple(sorted(found))


DETECTORS: Final[tuple[Detector, ...]] = _discover()
