"""The benchmarks report only what was measured: ratios within a round, goals, and figures that pass the oracle."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from source_tree import ROOT

from benchmarks import __main__ as program
from benchmarks.contestants import bare, job
from benchmarks.entrants import ENTRANTS, FOLDER, of_job, summary_of
from benchmarks.goals import judge
from benchmarks.latency import quantiles
from benchmarks.oracle import Oracle
from benchmarks.outcomes import START, runs
from benchmarks.probes import story
from benchmarks.report import FIGURES as FIGURES_FOLDER
from benchmarks.report import PAGE, markdown, text, with_tables
from benchmarks.spread import Spread, ratio, spread
from benchmarks.stages import Stacks, stage_of
from crl_stream.broker.jars import KAFKA_VERSION, read_pins
from crl_stream.core import messages as m
from crl_stream.settings import load_settings
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import partition_key
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import TASKS

RATE = "warm_events_per_second"
FIGURES = (RATE, "events_per_second", "warm_events_per_cpu_second", "peak_megabytes", "events_per_row")


def test_a_ratio_compares_only_what_ran_in_the_same_round_and_was_right() -> None:
    ours = [{RATE: 100.0}, {RATE: 60.0}, {RATE: 90.0}, {RATE: 80.0}]
    theirs = [{RATE: 50.0}, {RATE: 20.0}, {RATE: 1.0, "wrong": "a window"}, {"failed": "it ended"}]
    assert ratio(ours, theirs, RATE) == Spread(2.5, 2.0, 3.0, 2)
    assert spread(theirs, RATE) == Spread(35.0, 20.0, 50.0, 2)


def test_no_figure_is_made_up_where_there_is_none() -> None:
    assert Spread.of([float("nan")]) is None
    assert ratio([], [], RATE) is None
    assert spread([{"missing": "no JDK"}], RATE) is None


def race(ours: float, **others: float) -> dict[str, object]:
    rates = {"ours": ours, **others}
    results = {name: [dict.fromkeys(FIGURES, rate)] for name, rate in rates.items()}
    contestants = {name: {"title": name, "setup": ""} for name in rates}
    return {
        "events": 1, "tasks": 1, "length": 5, "partitions": 4, "snapshot_seconds": 1.0,
        "results": results, "contestants": contestants,
    }  # fmt: skip


def verdicts(sections: dict[str, object]) -> dict[str, bool | None]:
    return {goal.name: goal.met for goal in judge(sections)}


def test_a_goal_is_met_missed_or_not_measured() -> None:
    found = verdicts({"race5": race(100.0, quix=50.0, kafka_streams=51.0), "race1": race(130.0, quix=100.0)})
    assert found["whole job / Quix Streams, 5 events per touched row"] is True
    assert found["whole job / Kafka Streams, 5 events per touched row"] is False
    assert found["whole job / Quix Streams, 1 event per touched row"] is True
    assert found["whole job / Quix Streams, 20 events per touched row"] is None
    assert found["one fold step"] is None


def cell(resolver: float, bare: float = 10.0, lost: int = 0) -> dict[str, object]:
    quantile = {"p50": 1.0, "p99.9": 30.0, "max": 30.0}
    paths = {"publish to Resolver": quantile | {"p99": resolver}, "bare produce to consume": quantile | {"p99": bare}}
    load = {"per_second": 1_000.0}
    return {"rate": 1_000, "probes": 10, "lost": lost, "load": load, "paths": paths}


@pytest.mark.parametrize(
    ("cells", "met"),
    [
        ([cell(20.0)] * 5, True),
        ([cell(20.0)] * 4 + [cell(26.0)], False),
        ([cell(20.0)] * 4 + [cell(20.0, lost=1)], False),
        ([cell(20.0)] * 2, None),
    ],
)
def test_the_goal_of_the_latency_holds_in_each_of_five_repeats(cells: list[object], met: bool | None) -> None:
    found = verdicts({"latency": {"ours": {"4 partitions": {"1000/s": cells}, "64 partitions": {"1000/s": cells}}}})
    assert found["p99 publish to Resolver at 1,000/s, 4 partitions, in each of five repeats"] is met


def test_two_workers_are_held_against_twice_the_cpu_time_of_one() -> None:
    rate = "warm_events_per_cpu_second"
    found = verdicts({"scaling": {"1 worker": [{rate: 100.0}], "2 workers": [{rate: 86.0}]}})
    assert found["two workers / one worker, with the same CPU time per worker"] is True
    found = verdicts({"scaling": {"1 worker": [{rate: 100.0}], "2 workers": [{rate: 84.0}]}})
    assert found["two workers / one worker, with the same CPU time per worker"] is False


def test_a_quantile_is_a_time_that_was_measured() -> None:
    assert quantiles([float(number) for number in range(1, 1_001)]) == {
        "p50": 500.0, "p99": 990.0, "p99.9": 999.0, "max": 1_000.0, "n": 1_000,
    }  # fmt: skip
    assert quantiles([3.0])["p99.9"] == 3.0


def test_the_report_shows_every_contestant_and_why_one_is_missing() -> None:
    found = race(100.0, quix=50.0)
    found["results"] |= {"bytewax": [{"missing": "no wheel for this Python"}]}  # type: ignore[operator]
    found["contestants"] |= {"bytewax": {"title": "Bytewax", "setup": ""}}  # type: ignore[operator]
    page = {
        "machine": {"cpu": "one"},
        "sections": {"race5": found, "latency": {"ours": {"4 partitions": {"1000/s": [cell(20.0)]}}}},
    }
    for shown in (markdown(page), text(page)):
        assert "missing: no wheel for this Python" in shown
        assert "2.00 (2.00 to 2.00)" in shown
        assert "publish to Resolver" in shown
        assert "not measured" in shown
    lines = markdown(page).splitlines()
    heads = [number for number, line in enumerate(lines) if set(line) == {"|", "-"}]
    assert heads
    assert all(lines[number].count("|") == lines[number - 1].count("|") for number in heads)


# -- the oracle ------------------------------------------------------------------------------------
def outcomes_and_oracle(count: int = 400, tasks: int = 3) -> tuple[list[dict[str, object]], Oracle]:
    """Return outcomes as a contestant parses them, 0.1 s of log time apart, and an oracle that has recorded them."""
    oracle, messages = Oracle(), []
    for number, (key, message) in enumerate(runs(count, tasks, 5)):
        messages.append({"time": number * 100, **json.loads(encode(message))})
        oracle.take([(key.encode().decode(), message.variant_id, message.status == "success")], number * 100)
    return messages, oracle


def job_snapshots(messages: list[dict[str, object]], seconds: float) -> dict[str, list[tuple[int, object]]]:
    states: dict[str, dict[str, object]] = {}
    found: dict[str, list[tuple[int, object]]] = {}
    for message in messages:
        task = f"{message['agent_name']}/{message['task_type']}"
        states[task] = job.step(states.get(task), message)
        if (page := job.publish(task, states[task], message["time"], seconds)) is not None:
            (name, n), summary = of_job(json.dumps(page).encode())
            found.setdefault(name, []).append((n, summary))
    return found


@pytest.mark.parametrize("seconds", [0.0, 1.0, 5.0])
def test_the_job_of_the_others_and_the_oracle_agree_though_neither_knows_the_other(seconds: float) -> None:
    messages, oracle = outcomes_and_oracle()
    found = job_snapshots(messages, seconds)
    assert oracle.complaint(found, seconds=seconds) is None
    assert sum(map(len, found.values())) == oracle.snapshots_due(seconds) > 12


def test_what_we_publish_passes_the_oracle_of_the_others() -> None:
    driver, found = TopologyDriver(), {}
    oracle = Oracle()
    for key, message in runs(600, 2, 5):
        driver.pipe(message)
        oracle.take([(str(key), message.variant_id, message.status == "success")], 0)
    for page in driver.read(TASKS):
        read = summary_of(ENTRANTS["ours"], encode(page))
        assert read is not None
        found.setdefault(read[0][0], []).append((read[0][1], read[1]))
    assert oracle.complaint(found, seconds=1e9, extra=True) is None
    assert found


@pytest.mark.parametrize("harm", ["a count", "a window", "a missing one", "one too many", "an unknown task"])
def test_the_oracle_sees_what_is_wrong(harm: str) -> None:
    messages, oracle = outcomes_and_oracle()
    found = job_snapshots(messages, 1.0)
    task = min(found)
    n, summary = found[task][-1]
    variant, count, size, successes = summary[0]  # type: ignore[index]
    if harm == "a count":
        found[task][-1] = n, ((variant, count + 1, size, successes), *summary[1:])  # type: ignore[index]
    elif harm == "a window":
        found[task][-1] = n, ((variant, count, size, successes - 1), *summary[1:])  # type: ignore[index]
    elif harm == "a missing one":
        del found[task][1]
    elif harm == "one too many":
        found[task].append((n + 1, summary))
    else:
        found["nobody/knows"] = [(1, summary)]
    assert oracle.complaint(found, seconds=1.0) is not None


def test_a_run_that_was_cut_off_may_lack_the_end_and_nothing_before_it() -> None:
    messages, oracle = outcomes_and_oracle()
    found = job_snapshots(messages[:200], 1.0)
    assert oracle.complaint(found, complete=False) is None
    assert oracle.complaint(found, complete=True) is not None
    del found[min(found)][1]
    assert oracle.complaint(found, complete=False) is not None


# -- the input ---------------------------------------------------------------------------------------
def test_a_task_comes_so_often_in_a_row_with_every_variant_and_without_a_pattern_of_failures() -> None:
    made = list(runs(6_000, 200, 5))
    for first in range(0, len(made), 5):
        assert len({key for key, _ in made[first : first + 5]}) == 1
    of_one = [message for key, message in made if key == made[0][0]]
    assert set(Counter(message.variant_id for message in of_one).values()) == {10}
    assert len({message.invocation_id for _, message in made}) == len(made)
    failed = Counter((str(key), message.variant_id) for key, message in made if message.status == "failure")
    assert 0.04 < failed.total() / len(made) < 0.10
    assert max(failed.values()) <= 6


def test_the_last_outcome_of_the_story_and_no_other_is_the_one_that_rolls_back() -> None:
    made = story()
    driver = TopologyDriver()
    for message in made[:-1]:
        driver.pipe(message)
    assert not driver.read("crl.rollbacks")
    driver.pipe(made[-1])
    assert [rollback.to_variant for rollback in driver.read("crl.rollbacks")] == ["api-baseline"]


def test_a_tick_on_one_partition_of_the_bare_job_leaves_the_rows_of_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "policy.json").write_bytes(load_settings(environment={}).policies.canonical())
    monkeypatch.setattr("sys.argv", ["bare", "", "any", "in", "crl.tasks", "2", str(tmp_path), "1"])
    outcomes = list(runs(60, 6, 5))
    of = {home: [pair for pair in outcomes if partition_of(pair[0].encode(), 2) == home] for home in (0, 1)}
    assert all(of.values())

    async def rows() -> list[dict[bytes, bytes]]:
        task = bare.Job(bare.Course(), SimpleNamespace(count=0), None, None)

        async def write(*_: object) -> None:
            """Write nothing: no Kafka is needed."""

        task.write = write  # type: ignore[method-assign]
        for home, pairs in of.items():
            records = [_record(n, key.encode(), encode(message)) for n, (key, message) in enumerate(pairs)]
            if home:
                records.append(_record(len(records), b"!tick", encode(m.Tick(schema_version=1))))
            await task.work(TopicPartition("in", home), records)
        return task.rows

    found = asyncio.run(rows())
    for home, pairs in of.items():
        assert found[home].keys() - {partition_key(home)} == {key.encode() for key, _ in pairs}


def _record(offset: int, key: bytes, value: bytes) -> SimpleNamespace:
    return SimpleNamespace(offset=offset, timestamp=START + offset, key=key, value=value, headers=())


# -- where the time goes -------------------------------------------------------------------------------
def test_a_sample_counts_for_the_innermost_stage_that_is_known() -> None:
    fold = ["main (crl_stream/__main__.py:3)", "work (crl_stream/worker/stages.py:120)", "fold_batch (monitor.py:9)"]
    assert stage_of(fold) == "fold: around the step"
    assert stage_of([*fold, "step (crl_stream/core/monitor/step.py:60)", "take (core/monitor/window.py:3)"]).startswith(
        "fold: window"
    )
    assert (
        stage_of([*fold, "step (crl_stream/core/monitor/step.py:60)", "task_snapshot (snapshot.py:9)"]) == "snapshots"
    )
    assert stage_of(["run (asyncio/runners.py:1)", "select (selectors.py:5)"]) == "waiting"
    assert stage_of(["unheard (of.py:1)"]) == "other"
    stacks = Stacks.of(["a;fold_batch (monitor.py:9) 3", "b;select (selectors.py:5) 7", "c;x (of.py:1) 1", "noise"])
    assert stacks.shares() == {"fold: around the step": 0.75, "other": 0.25}


# -- the program -----------------------------------------------------------------------------------------
def test_every_contestant_is_a_file_of_its_own() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} | {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert {"bare", "quix", "bytewax_job", "stock_faust", "kafka_streams", "job", "meter"} <= files
    for path in [FOLDER / "job.py", FOLDER / "meter.py"]:
        assert "crl_stream" not in path.read_text(encoding="utf-8"), "the file runs where our package is not installed"


def test_kafka_streams_has_the_version_of_the_broker() -> None:
    pins = read_pins(FOLDER / "kafka_streams" / "jars.txt")
    assert ("org.apache.kafka", "kafka-streams", KAFKA_VERSION) in [pin[:3] for pin in pins]
    assert not {pin.artifact for pin in pins} & {pin.artifact for pin in read_pins()}


def test_what_is_no_snapshot_is_not_taken_for_one() -> None:
    for value in (None, b"", b"{}", b"[1]", b"\xff"):
        assert summary_of(ENTRANTS["quix"], value) is None
        assert summary_of(ENTRANTS["ours"], value) is None


def test_a_section_that_does_not_exist_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["race7"])
    assert "there is no section race7" in capsys.readouterr().err


def test_a_run_that_has_everything_measures_nothing_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"seconds": 1.0, "sections": {"race5": race(100.0, quix=40.0)}}), encoding="utf-8")
    assert program.main(["race5", "--resume", str(path)]) == 0
    assert "2.50 x (2.50 to 2.50)" in capsys.readouterr().out


def test_results_of_runs_do_not_get_into_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/benchmarks/results/", "/.venv-*"} <= set(ignored)


def test_the_page_shows_the_run_that_is_kept_beside_it() -> None:
    (kept,) = FIGURES_FOLDER.glob("*.json")
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, json.loads(kept.read_text(encoding="utf-8"))) == page
    for plot in re.findall(r"\(performance/(.*?)\)", page):
        assert (FIGURES_FOLDER / plot).is_file()
