"""The benchmark of the dashboard computes its figures from what was measured, and runs with few tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from joins.environments import python_of
from source_tree import ROOT, environment_of_this_checkout

from benchmarks import dashboard, dashboard_processes
from benchmarks.dashboard import AGENT, HISTORY, Extent, background, delays, extent, factors, history, spans
from benchmarks.dashboard_throughput import AGAIN, ALONE, APART, CPU, WALL, WITHIN, ratios
from benchmarks.dashboard_viewers import Viewer
from benchmarks.entrants import Missing
from benchmarks.latency_load import PLACEHOLDER
from benchmarks.outcomes import VARIANTS
from benchmarks.probes import aimed_at, story
from benchmarks.report import markdown
from benchmarks.sections import Plan, sections
from crl_stream.core.identity import TaskKey
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.topics import ROLLBACKS

SMALL = Extent(tasks=3, loads=1, probes=2, apart=0.1, rest=0.1, rounds=1, burst=10)


def test_a_percentile_is_a_time_that_was_measured() -> None:
    assert spans([float(number) for number in range(40, 0, -1)]) == {"p50": 20.0, "p95": 38.0, "max": 40.0, "n": 40}
    assert spans([7.0]) == {"p50": 7.0, "p95": 7.0, "max": 7.0, "n": 1}
    assert spans([]) == {"n": 0}


def test_what_was_never_on_the_screen_is_counted_and_makes_no_figure_better() -> None:
    found = delays({"a": 1_000.0, "b": 2_000.0, "c": 3_000.0}, {"a": 1_100.0, "c": 3_300.0, "other": 5.0})
    assert found == {"p50": 100.0, "p95": 300.0, "max": 300.0, "n": 2, "not seen": 1}
    assert delays({"a": 1.0}, {}) == {"n": 0, "not seen": 1}


def test_first_paint_is_compared_with_the_bare_page_that_was_loaded_beside_it() -> None:
    loads = {
        "empty cache": [{"paint": 300.0}, {"paint": 100.0}, {"paint": 80.0}],
        "again": [{"paint": 50.0}, {"paint": 50.0}, {"paint": 50.0}],
        dashboard.YARDSTICK: [{"paint": 100.0}, {"paint": 50.0}, {"paint": 10.0}],
    }
    assert factors(loads, "paint") == {"empty cache": 3.0, "again": 1.0}


def test_throughput_with_viewers_is_compared_within_a_round() -> None:
    def rounds(*rates: float) -> list[dict[str, float]]:
        return [{WALL: rate, CPU: 2 * rate} for rate in rates]

    found = ratios({
        ALONE: rounds(100.0, 10.0, 50.0), AGAIN: rounds(110.0, 10.0, 50.0),
        APART: rounds(99.0, 9.9, 49.5), WITHIN: rounds(50.0, 9.0, 40.0),
    })  # fmt: skip
    assert found[AGAIN][WALL] == {"min": 1.0, "median": 1.0, "max": 1.1}
    assert found[APART][CPU] == pytest.approx({"min": 0.99, "median": 0.99, "max": 0.99})
    assert found[WITHIN][WALL] == {"min": 0.5, "median": 0.8, "max": 0.9}


@pytest.mark.parametrize("tasks", [3, 20, 1_000])
def test_every_task_gets_outcomes_of_every_variant_in_turn(tasks: int) -> None:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for message in background(tasks):
        assert PLACEHOLDER.decode() in message.invocation_id
        seen[message.task_type][message.variant_id] += 1
    assert len(seen) == tasks
    assert all(counts == dict.fromkeys(VARIANTS, 5) for counts in seen.values())


def test_every_probed_task_is_one_failure_from_its_rollback_and_comes_first_by_name() -> None:
    driver, before = TopologyDriver(), list(history(SMALL))
    assert len(before) == HISTORY * SMALL.tasks + SMALL.probes * (len(story()) - 1)
    driver.pipe(*before)
    assert [event for event in driver.read(ROLLBACKS) if event.agent_name == AGENT] == []
    keys = [TaskKey(AGENT, f"probe-{number:02d}") for number in range(SMALL.probes)]
    driver.pipe(*(aimed_at(story()[-1], key) for key in keys))
    found = [event for event in driver.read(ROLLBACKS) if event.agent_name == AGENT]
    assert [(event.task_type, event.epoch) for event in found] == [(key.task_type, 2) for key in keys]
    assert min(message.agent_name for message in background(1)) > AGENT
    assert all(extent(None, quick=quick).probes <= 50 for quick in (True, False)), "more than one page of the table"


def test_a_viewer_fetches_again_exactly_when_the_page_would() -> None:
    viewer = Viewer(None, "http://localhost/dashboard/", Counter())  # type: ignore[arg-type]
    wants: list[Any] = []
    for name, body in (
        ("snapshot", {"refetch": False}),
        ("task", {"key": "a/b", "row": []}),
        ("beat", {"live": True}),
        ("fact", {"kind": "rollback"}),
        ("overview", {}),
        ("snapshot", {"refetch": True}),
    ):
        viewer.hear(name, json.dumps(body).encode())
        wants.append(viewer.wanted())
    assert wants == [None, None, None, "parts", "parts", "page"]


def test_a_run_without_a_browser_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dashboard_processes, "ROOT", tmp_path)
    with pytest.raises(Missing, match="scripts/environment browser"):
        dashboard_processes.browser_command()
    found = dashboard.run("127.0.0.1:1", SMALL)
    assert "scripts/environment browser" in found["missing"]
    assert "scripts/environment browser" in markdown({"machine": {}, "sections": {"dashboard": found}})


def test_the_number_of_tasks_is_an_option_and_a_usual_run_has_a_thousand() -> None:
    assert extent(None, quick=False).tasks == 1_000
    assert (extent(20, quick=True).tasks, extent(20, quick=False).tasks) == (20, 20)
    assert sections(Plan())["dashboard"].seconds <= 360


@pytest.mark.integration
@pytest.mark.browser
def test_the_whole_benchmark_runs_with_twenty_tasks(kafka: str, tmp_path: Path) -> None:
    python_of("browser")
    try:
        dashboard_processes.browser_command()
    except Missing as missing:
        pytest.skip(f"needs {missing}")
    command = [sys.executable, "-m", "benchmarks", "dashboard", "--quick", "--tasks", "20", "--json"]
    path = tmp_path / "run.json"
    path.write_text("{}", encoding="utf-8")
    done = subprocess.run(
        [*command, "--resume", str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=500.0,
        env=environment_of_this_checkout() | {"CRL_BOOTSTRAP_SERVERS": kafka, "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["sections"]["dashboard"]
    assert found["first contentful paint, ms"]["empty cache"]["n"] == 3
    assert found["first contentful paint, ms"]["empty cache"]["p50"] > 0
    for where, times in found["from the rollback's append to the screen, ms"].items():
        assert (times["n"], times["not seen"]) == (6, 0), where
        assert times["p50"] > 0, where
    assert list(found["resident memory, MB"]) == [
        "the worker, no viewer",
        *("the worker, 1 viewer", "its dashboard, 1 viewer"),
        *("the worker, 10 viewers", "its dashboard, 10 viewers"),
    ]
    assert all(size > 20 for size in found["resident memory, MB"].values())
    heard = found["catching up, what 5 viewers of the worker received"]
    assert heard["snapshot"] >= 5, "each viewer followed its stream"
    for name in (AGAIN, APART, WITHIN):
        assert found["catching up, ratio to no viewer"][name][CPU]["median"] > 0
