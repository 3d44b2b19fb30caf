"""The detectors: one file each, found by listing this folder, and sorted by ``ORDER``, which also breaks ties.

``core/monitor/detector.py`` lists what a file must define and what each part means; CONTRIBUTING.md has an example.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.folder import load, misfit, only_once
from crl_stream.core.monitor.detector import PARTS, Detector, detector_of
from crl_stream.core.monitor.row import Sums


def _discover() -> tuple[Detector, ...]:
    modules = sorted(load(__name__, __path__, PARTS), key=lambda module: module.ORDER)
    only_once(modules, "NAME", lambda module: module.NAME)
    only_once(modules, "ORDER", lambda module: module.ORDER)
    only_once(modules, "CHANGE", lambda module: module.CHANGE)
    only_once(modules, "LIMIT.name", lambda module: module.LIMIT.name)
    only_once(modules, "FLOOR.name", lambda module: module.FLOOR.name)
    for place, module in enumerate(modules, start=1):
        if place != module.ORDER:
            # ORDER sets the place of the evidence in the rows; a gap that is filled later would shift those places.
            raise misfit(module, f"has ORDER = {module.ORDER}", f"the next one is {place}")
    return tuple(map(detector_of, modules))


DETECTORS: Final[tuple[Detector, ...]] = _discover()


def figures_of(baseline: Sums, recent: Sums, worst: Detector | None) -> dict[str, float]:
    """Return the guide's ``degradation_metrics``: the figures of ``worst``, then the others, then the sample size."""
    found: dict[str, float] = {}
    if baseline.n and recent.n:
        for detector in sorted(DETECTORS, key=lambda detector: detector is not worst):
            finding = detector.detect(baseline, recent, floored=detector is worst)
            found |= detector.measure(baseline, recent, None if finding is None else finding.change)
    return found | {"sample_size": recent.n}
