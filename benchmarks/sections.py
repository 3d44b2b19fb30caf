"""The sections that can be measured, in order, and about how long each takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from benchmarks import builds, client, console, dashboard, files, fold, guide, latency, recovery, rows, scaling, stages
from benchmarks.entrants import ENTRANTS
from benchmarks.race import race

LENGTHS = (1, 5, 20)
"""Consecutive outcomes of a task, which is also the number of events per touched row and batch."""


class Plan(NamedTuple):
    """How much a run measures: numbers of events, rounds and rows, and time limits."""

    quick: bool = False
    repeats: int = 3
    rows: int | None = None
    tasks: int | None = None
    """Tasks in the section of the dashboard."""

    @property
    def events(self) -> int:
        """Events in the input topic of a race."""
        return 100_000 if self.quick else 300_000

    @property
    def limit(self) -> float:
        """Seconds after which an unfinished contestant is stopped; its rate up to then counts."""
        return 5.0 if self.quick else 10.0


class Section(NamedTuple):
    """One part of a run."""

    what: str
    seconds: float
    """Approximate duration of the section, in seconds."""
    run: Callable[[str], dict[str, Any]]
    """Measures the section on the broker at the given address."""
    usual: bool = True
    """Whether a run without named sections includes this one."""
    beside_others: bool = False
    """Whether the section needs ``.venv-bench``, which has the libraries we compare with."""


def sections(plan: Plan) -> dict[str, Section]:
    """Return every section by name."""
    quick = plan.quick
    found = {
        "fold": Section("cost of a step, and its growth with variants", 25, lambda _: fold.run()),
        "builds": Section("the pure stages, interpreted and compiled", 40 + 13 * plan.repeats, partial(_builds, plan)),
        "rows": Section("memory per variant", 15, lambda _: rows.run()),
        "files": Section(
            "crl replay of a long file",
            30 * plan.repeats if quick else 150 * plan.repeats,
            partial(_files, plan),
            usual=not quick,
        ),
        "guide": Section("the costs for which the guide gives limits", 10, lambda _: guide.run(), usual=not quick),
    }
    for length in LENGTHS:
        found[f"race{length}"] = Section(
            f"all contestants on one topic, {length} event{'s' * (length != 1)} per touched row",
            (40 + 51 * plan.repeats) if quick else (40 + 71 * plan.repeats),
            partial(_race, plan, length, 1.0, list(ENTRANTS)),
            usual=not quick or length == 5,
            beside_others=True,
        )
    found |= {
        "race5-tenth": Section(
            "the same with a snapshot for every tenth event, however fast events arrive",
            10 + 42 * plan.repeats,
            partial(_race, plan, 5, 0.0, ["ours", "compiled", "bare", "quix", "kafka_streams"]),
            usual=not quick,
            beside_others=True,
        ),
        "stages": Section("where our worker's time goes", 30 if quick else 60, partial(_stages, plan), True, True),
        "scaling": Section(
            "ours: tasks, partitions, workers", 60 if quick else 280, partial(_scaling, plan), usual=not quick
        ),
        "latency": Section(
            "from publishing to the fact and the Resolver", 40 if quick else 280, partial(_latency, plan),
            beside_others=True,
        ),
        "console": Section("crl dashboard and status, cold", 45, console.run, usual=not quick),
    }  # fmt: skip
    found["dashboard"] = Section(
        "the dashboard in a browser, and what its viewers cost the worker",
        60 if quick else 360,
        partial(_dashboard, plan),
        usual=not quick,
    )
    found["client"] = Section(
        "publishing a file, compared with bare producers, and an agent without Kafka",
        15 + 20 * plan.repeats,
        partial(_client, plan),
    )
    found["recovery"] = Section("a worker reads its rows back", 30 if quick else 150, partial(_recovery, plan))
    return found


def _race(plan: Plan, length: int, snapshot_seconds: float, names: list[str], servers: str) -> dict[str, Any]:
    return race(
        servers, plan.events, length,
        repeats=plan.repeats, limit=plan.limit, names=names, snapshot_seconds=snapshot_seconds,
    )  # fmt: skip


def _files(plan: Plan, _: str) -> dict[str, Any]:
    return files.run(200_000 if plan.quick else 1_000_000, plan.repeats)


def _builds(plan: Plan, _: str) -> dict[str, Any]:
    return builds.run(repeats=plan.repeats)


def _stages(plan: Plan, servers: str) -> dict[str, Any]:
    return stages.run(servers, events=500_000, lengths=(5,) if plan.quick else (1, 5))


def _scaling(plan: Plan, servers: str) -> dict[str, Any]:
    return scaling.run(servers, events=plan.events, limit=plan.limit, repeats=plan.repeats, quick=plan.quick)


def _latency(plan: Plan, servers: str) -> dict[str, Any]:
    if plan.quick:
        return {"ours": latency.run(servers, repeats=1, probes=500, quick=True)}
    return {
        "ours": latency.run(servers),
        "others": latency.run_others(servers, ["quix", "kafka_streams", "faust"]),
    }


def _dashboard(plan: Plan, servers: str) -> dict[str, Any]:
    return dashboard.run(servers, dashboard.extent(plan.tasks, quick=plan.quick))


def _client(plan: Plan, servers: str) -> dict[str, Any]:
    return client.run(servers, messages=20_000 if plan.quick else 100_000, repeats=plan.repeats)


def _recovery(plan: Plan, servers: str) -> dict[str, Any]:
    return recovery.run(servers, rows=plan.rows or (50_000 if plan.quick else 1_000_000))
