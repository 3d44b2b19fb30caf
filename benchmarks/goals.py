"""The project's performance goals, compared with the figures of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.spread import ratio, spread

Figures = dict[str, Any]
"""The results of a run: sections by name, as ``python -m benchmarks`` writes them."""

RATE = "warm_events_per_second"
"""Rates leave out the first 30 % of the outcomes, when JIT compilers are cold and tasks are new."""
RESOLVER, BARE = "publish to Resolver", "bare produce to consume"
MEMORY = "bytes per variant in memory"
RECOVERY = "seconds from start to ready"


class Goal(NamedTuple):
    """A goal and whether a run met it; one line of the list of goals."""

    name: str
    wanted: str
    found: str
    met: bool | None
    """Whether the goal was met; None if this run did not measure it."""


def judge(figures: Figures) -> list[Goal]:
    """Return every goal: met, missed or not measured."""
    return [
        *_of_the_race(figures),
        *_of_the_latency(figures),
        _of_the_step(figures),
        _of_the_memory(figures),
        _of_the_recovery(figures),
        _of_two_workers(figures),
    ]


def _of_the_race(figures: Figures) -> Iterator[Goal]:
    for length, factor in ((20, 2.0), (5, 2.0), (1, 1.3)):
        for other, title in (("quix", "Quix Streams"), ("kafka_streams", "Kafka Streams")):
            name = f"whole job / {title}, {length} event{'s' * (length != 1)} per touched row"
            yield _at_least(name, factor, _ratios(figures, length, other))
            if "compiled" in figures.get(f"race{length}", {}).get("results", {}):
                yield _at_least(f"{name}, compiled", factor, _ratios(figures, length, other, "compiled"))
    for other, title, factor in (("faust", "stock Faust", 20.0), ("bare", "the same job bare on aiokafka", 0.6)):
        for length in (20, 5, 1):
            name = f"whole job / {title}, {length} event{'s' * (length != 1)} per touched row"
            yield _at_least(name, factor, _ratios(figures, length, other))
            if other == "faust" and "compiled" in figures.get(f"race{length}", {}).get("results", {}):
                yield _at_least(f"{name}, compiled", factor, _ratios(figures, length, other, "compiled"))


def _ratios(figures: Figures, length: int, other: str, ours: str = "ours") -> Any:
    results = figures.get(f"race{length}", {}).get("results", {})
    return ratio(results.get(ours, ()), results.get(other, ()), RATE)


def _at_least(name: str, factor: float, found: Any) -> Goal:
    if found is None:
        return Goal(name, f">= {factor:g} x", "not measured", None)
    said = f"{found.median:.2f} x ({found.least:.2f} to {found.most:.2f})"
    return Goal(name, f">= {factor:g} x", said, found.median >= factor)


def _of_the_latency(figures: Figures) -> Iterator[Goal]:
    cells = figures.get("latency", {}).get("ours", {})
    for partitions in (4, 12):
        name = f"p99 publish to Resolver at 1,000/s, {partitions} partitions, in each of five repeats"
        measured = cells.get(f"{partitions} partitions", {}).get("1000/s", [])
        worst = [cell["paths"][RESOLVER]["p99"] for cell in measured if RESOLVER in cell["paths"]]
        lost = sum(cell["lost"] for cell in measured)
        if not worst:
            yield Goal(name, "<= 25 ms", "not measured", None)
            continue
        said = f"{', '.join(f'{p99:.1f}' for p99 in worst)} ms" + (f"; {lost} lost" if lost else "")
        met = max(worst) <= 25.0 and not lost
        yield Goal(name, "<= 25 ms", said, met if len(worst) >= 5 or not met else None)
    name = "p99 publish to Resolver / bare produce to consume at 1,000/s, 64 partitions"
    pairs = [cell["paths"] for cell in cells.get("64 partitions", {}).get("1000/s", [])]
    factors = [paths[RESOLVER]["p99"] / paths[BARE]["p99"] for paths in pairs if RESOLVER in paths and BARE in paths]
    said = ", ".join(f"{factor:.2f} x" for factor in factors)
    yield Goal(name, "<= 2 x", said or "not measured", max(factors) <= 2.0 if factors else None)


def _of_the_step(figures: Figures) -> Goal:
    found = figures.get("fold", {}).get("microseconds", {}).get("fold step")
    said = f"{found['median']:.1f} us ({found['min']:.1f} to {found['max']:.1f})" if found else "not measured"
    return Goal("one fold step", "<= 10 us", said, found["median"] <= 10.0 if found else None)


def _of_the_memory(figures: Figures) -> Goal:
    sizes = [entry[MEMORY] for entry in figures.get("rows", {}).values() if isinstance(entry, dict) and MEMORY in entry]
    said = " and ".join(f"{size:,.0f}" for size in sizes) + " bytes" if sizes else "not measured"
    return Goal(
        "memory per variant with its 20 outcomes", "<= 1,500 bytes", said, max(sizes) <= 1_500 if sizes else None
    )


def _of_the_recovery(figures: Figures) -> Goal:
    entries = [
        entry[RECOVERY]
        for name, entry in figures.get("recovery", {}).items()
        if name.startswith("1,000,000 rows") and isinstance(entry, dict)
    ]
    said = f"{entries[0]:.1f} s" if entries else "not measured"
    return Goal("1,000,000 rows recovered", "<= 60 s", said, entries[0] <= 60.0 if entries else None)


def _of_two_workers(figures: Figures) -> Goal:
    name, wanted = "two workers / one worker, with the same CPU time per worker", ">= 1.7 x"
    scaling, rate = figures.get("scaling", {}), "warm_events_per_cpu_second"
    one, two = (spread(scaling.get(f"{count} worker{'s' * (count > 1)}", ()), rate) for count in (1, 2))
    if one is None or two is None:
        return Goal(name, wanted, "not measured", None)
    factor = 2.0 * two.median / one.median
    return Goal(name, wanted, f"{factor:.2f} x", factor >= 1.7)
