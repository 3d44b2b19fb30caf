"""The closed-loop benchmark counts and prints what its documentation says, and equal seeds give equal figures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from benchmarks.detection import __main__ as program
from benchmarks.detection.contestants import contestant_of, parameters, policy_of
from benchmarks.detection.document import BEGIN, END, FOLDER, PAGE, to_json, with_tables
from benchmarks.detection.engine import Engine
from benchmarks.detection.figures import KINDS, figures, summary
from benchmarks.detection.limit import greatest_gain, least_delay
from benchmarks.detection.loop import Change, Loop, Result
from benchmarks.detection.report import WIDTH, markdown, text
from benchmarks.detection.worlds import WORLDS, recorded
from crl_stream.errors import ConfigError, UsageError

BY_NAME = {world.name: world for world in WORLDS}
HEALTHY, COLLAPSE = BY_NAME[".92/.80"], BY_NAME["0.90>0.60, other 0.85"]


def a_result(*changes: Change, live: int = 100, got: float = 80.0, never: float = 90.0) -> Result:
    return Result(100, live, got, never, 95.0, changes, Counter(), (), "a")


def cells_of(*names: str) -> list[dict[str, Any]]:
    """The figures of a run in which every contestant has the same result in every world."""
    return [
        {"world": world.name, "kind": world.kind, "contestant": name, "figures": figures(world, [a_result()])}
        for world in WORLDS
        for name in names
    ]


def test_every_kind_of_world_is_played_and_summed_up() -> None:
    assert {world.kind for world in WORLDS} == set(KINDS)
    [summed] = summary(cells_of("p")).values()
    kinds = {
        "healthy",
        "only worse alternatives",
        "collapse",
        "newcomer",
        "rollout",
        "all but outages",
        "outage",
        "alone",
        "guardrail",
    }
    assert {name.partition(":")[0] for name in summed} == kinds


def test_every_world_has_its_own_name_and_begins_at_once() -> None:
    assert len(BY_NAME) == len(WORLDS)
    assert all(world.phases[0][0] == 0 and world.at(world.outcomes) == len(world.phases) - 1 for world in WORLDS)


def test_a_fleet_that_never_follows_loses_nothing_and_equal_seeds_give_equal_results() -> None:
    never, guide = policy_of("never"), policy_of("guide")
    result = Loop(HEALTHY, Engine(never), "s").run()
    assert (result.changes, result.got) == ((), result.never)
    assert Loop(COLLAPSE, Engine(guide), "s").run() == Loop(COLLAPSE, Engine(guide), "s").run()
    assert Loop(COLLAPSE, Engine(guide), "s").run() != Loop(COLLAPSE, Engine(guide), "t").run()


def test_a_rollout_costs_what_it_gives_away_and_is_completed_if_the_new_variant_is_in_use_at_the_end() -> None:
    world = BY_NAME["0.95 rolled out for 0.85"]
    back_and_forth = [Change(100, "rollback", "a", "b", 0.9, 0.9), Change(200, "rollback", "b", "a", 0.9, 0.9)]
    done = a_result(*back_and_forth, Change(711, "rollout", "a", "b", 0.85, 0.95))._replace(last="b")
    found = figures(world, [done, a_result()])
    assert (found["completed"], found["until_completed"]) == (0.5, 400)
    assert found["lost_per_task"] == 15.0


def test_the_product_rolls_out_in_stages_what_others_activate_at_once() -> None:
    world = BY_NAME["0.60 rolled out for 0.90"]
    staged = Loop(world, Engine(policy_of("production")), "s").run()
    at_once = Loop(world._replace(staged=False), Engine(policy_of("production")), "s").run()
    assert "command" not in {change.cause for change in staged.changes}
    assert "command" in {change.cause for change in at_once.changes}


def test_a_rollback_is_false_before_the_collapse_and_worse_if_the_target_is() -> None:
    early = Change(200, "rollback", "a", "b", 0.9, 0.85)
    late = Change(310, "rollback", "a", "b", 0.6, 0.85)
    found = figures(COLLAPSE, [a_result(early), a_result(late)])
    assert found["rollbacks_per_1000"] == 10.0
    assert found["false_rollbacks_per_1000"] == found["rollbacks_to_worse_per_1000"] == 5.0
    assert (found["caught"], found["delay_median"], found["delay_p90"]) == (0.5, 11, 11)
    assert found["lost_per_1000"] == pytest.approx(100.0)
    assert found["gain_of_oracle"] == pytest.approx(-2.0)


def test_a_cascade_is_each_rollback_after_the_first_that_leaves_a_variant_which_had_not_become_worse() -> None:
    due, needless = Change(310, "rollback", "a", "b", 0.6, 0.85), Change(340, "rollback", "b", "a", 0.85, 0.6)
    assert figures(COLLAPSE, [a_result(due, needless, needless), a_result(due)])["cascades"] == 2
    assert figures(COLLAPSE, [a_result(needless), a_result(needless, due)])["cascades"] == 0
    cells = [
        {"world": kind, "kind": kind, "contestant": "p", "figures": figures(COLLAPSE, [a_result(due, needless)])}
        for kind in ("healthy", "collapse", "outage")
    ]
    [summed] = summary(cells).values()
    assert summed["all but outages: cascades"] == 2


def test_standard_errors_say_how_far_the_luck_of_the_tasks_moves_a_figure() -> None:
    results = [a_result(got=got)._replace(oracle=oracle) for got, oracle in ((80.0, 95.0), (86.0, 97.0), (91.0, 99.0))]
    found = figures(COLLAPSE, results)
    assert found["lost_error"] == pytest.approx(stdev([100.0, 40.0, -10.0]) / 3**0.5)
    without = [figures(COLLAPSE, results[:at] + results[at + 1 :])["gain_of_oracle"] for at in range(3)]
    jackknife = (2 / 3 * sum((each - fmean(without)) ** 2 for each in without)) ** 0.5
    assert found["gain_error"] == pytest.approx(jackknife, rel=0.15)
    cells = [
        {"world": str(number), "kind": kind, "contestant": "p", "figures": found}
        for number in range(4)
        for kind in ("healthy", "collapse")
    ]
    [summed] = summary(cells).values()
    assert summed["healthy: standard error of the mean loss"] == pytest.approx(found["lost_error"] / 2)
    assert summed["collapse: standard error of the share"] == pytest.approx(found["gain_error"] / 2)
    assert figures(COLLAPSE, results[:1])["lost_error"] is None


def test_a_rollback_of_an_equal_newcomer_is_false() -> None:
    world = BY_NAME["0.90 replaces 0.90"]
    change = Change(320, "rollback", "b", "a", 0.9, 0.9)
    found = figures(world, [a_result(change)])
    assert (found["false_rollbacks_per_1000"], found["caught"]) == (10.0, 0.0)


def test_a_variant_that_is_alone_is_measured_by_its_alarms() -> None:
    steady, fallen = BY_NAME["0.90 alone"], BY_NAME["0.90>0.60 alone"]
    alarms = [a_result()._replace(alarms=at) for at in ((30, 310), (290,), (305, 320))]
    assert figures(steady, alarms)["alarms_per_1000_days"] == pytest.approx(1_000 * 100 * 5 / 300)
    found = figures(fallen, alarms)
    assert (found["caught"], found["delay_median"], found["delay_p90"]) == (pytest.approx(2 / 3), 8.5, 11)
    assert Loop(fallen, Engine(policy_of("guide")), "s").run().alarms


def test_a_promotion_is_counted_apart_from_rollbacks() -> None:
    found = figures(HEALTHY, [a_result(Change(50, "auto_apply", "a", "b", 0.92, 0.8))])
    assert (found["promotions"], found["promotions_to_worse"], found["rollbacks_per_1000"]) == (1, 1, 0.0)


def test_real_outcomes_become_worlds_whose_best_variant_is_active_first(tmp_path: Path) -> None:
    lines = [
        {"task_type": "fix", "variant_id": name, "status": "success" if number < good else "failure"}
        for name, good in (("poor", 5), ("fine", 15), ("rare", 1))
        for number in range(20 if name != "rare" else 3)
    ]
    file = tmp_path / "outcomes.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    [world] = recorded(file)
    assert (world.name, world.first, list(world.phases[0][1])) == ("real fix", "fine", ["fine", "poor"])


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(program, "RESULTS", tmp_path)
    return tmp_path


def test_the_program_prints_tables_and_keeps_the_figures(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["outage", "alone", "--tasks", "1", "--policies", "never", "--rivals", "rule", "--processes", "1"]
    assert program.main(words) == 0
    [kept] = results.glob("detection-*.json")
    page = json.loads(kept.read_text(encoding="utf-8"))
    assert {cell["kind"] for cell in page["cells"]} == {"outage", "alone"}
    assert page["summary"]["never"]["outage: mean loss per 1,000"] == 0.0
    assert page["summary"]["rule"]["alone: worst false alarms per 1,000 days"] > 500
    assert capsys.readouterr().out.strip() == text(page)
    assert program.main(["--show", str(kept), "--markdown"]) == 0
    assert capsys.readouterr().out.strip() == markdown(page)
    assert list(results.iterdir()) == [kept]


def a_page(*names: str) -> dict[str, Any]:
    cells = cells_of(*names)
    spread = {"median": 54_321.0, "min": 43_210.0, "max": 65_432.0}
    cost = {name: {"ns": spread, "ratio": {"median": 1.5, "min": 0.5, "max": 2.5}, "bytes": 2_345} for name in names}
    machine = {"cpu": "a cpu", "cores": "2", "python": "CPython 3.11"}
    return {
        "started": "2026-11-28T10:00:00+00:00", "machine": machine, "engine": "3", "river": "0.26.1", "seed": "s",
        "tasks": 1, "contestants": parameters(names, ()), "missing": {}, "cost": cost, "summary": summary(cells),
        "cells": cells,
    }  # fmt: skip


NAMES = ("guide", "production", "rule", "evidence", "sequential", "sequential,expected=5000")


def test_the_tables_fit_a_terminal_and_show_everyone() -> None:
    page = a_page(*NAMES) | {"missing": {"sequential": "it is not installed"}}
    lines = text(page).splitlines()
    assert max(map(len, lines)) <= WIDTH
    codes = [said["code"] for said in page["contestants"].values()]
    assert len(set(codes)) == len(NAMES)
    assert [line.split() for line in lines].count(["", *codes][1:]) == 5
    assert "NOT PLAYED: it is not installed" in " ".join(lines)
    rows = [line for line in markdown(page).splitlines() if line.startswith("|")]
    assert all(line.endswith(" |") for line in rows)


def test_a_run_is_put_between_the_marks_of_the_page_and_can_be_made_again_from_its_json() -> None:
    page = json.loads(to_json(a_page(*NAMES)))
    once = with_tables(f"before\n{BEGIN}\nold\n{END}\nafter\n", page)
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "old" not in once
    assert with_tables(once, json.loads(to_json(page))) == once
    with pytest.raises(SystemExit):
        with_tables("no marks", page)


def test_the_page_shows_the_run_that_is_kept_beside_it() -> None:
    [kept] = FOLDER.glob("*.json")
    shown = PAGE.read_text(encoding="utf-8")
    assert with_tables(shown, json.loads(kept.read_text(encoding="utf-8"))) == shown
    for plot in ("frontier.svg", "delay.svg"):
        assert (FOLDER / plot).is_file()
        assert f"(detection/{plot})" in shown


def test_rivals_without_their_library_are_named_and_the_others_play(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "prepare", lambda: "no index")
    words = ["outage", "--tasks", "1", "--policies", "--rivals", "adwin", "rule", "--processes", "1", "--json"]
    assert program.main(words) == 0
    page = json.loads(capsys.readouterr().out)
    assert set(page["missing"]) == {"adwin"}
    assert {cell["contestant"] for cell in page["cells"]} == {"rule"}


@pytest.mark.parametrize(
    ("name", "error"),
    [("production,rollback.confidance=1", ConfigError), ("no-such-policy", ConfigError), ("rule,window=20", UsageError),
     ("sequential,expected", UsageError), ("sequential,expected=many", UsageError)],
)  # fmt: skip
def test_a_contestant_that_does_not_exist_is_refused_before_anything_is_played(
    name: str, error: type[Exception], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error):
        contestant_of(name)
    option = "--rivals" if error is UsageError else "--policies"
    with pytest.raises(SystemExit, match="2"):
        program.main(["--rivals", "rule", option, name])
    assert "hint:" in capsys.readouterr().err
    assert not list(results.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["collapses"],
        ["outage", "--tasks", "0"],
        ["--outcomes", "no/such/file"],
        ["--show", "no/such/file"],
        ["--show", "pyproject.toml"],
    ],
)
def test_options_that_cannot_be_used_are_refused_in_a_sentence(
    words: list[str], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.main(words)
    assert "error: " in capsys.readouterr().err
    assert not list(results.iterdir())


def test_the_limit_is_lordens_bound_and_only_known_where_a_success_rate_falls() -> None:
    """ln 5,000 is 8.517, and one outcome gives .3112 nats of information about a fall from .9 to .6."""
    delay = least_delay(COLLAPSE)
    assert delay == pytest.approx(8.517 / 0.3112, rel=1e-3)
    assert greatest_gain(COLLAPSE) == pytest.approx(1 - delay / 400)
    assert [world.name for world in WORLDS if least_delay(world) is not None and world.kind == "healthy"] == []
    assert least_delay(BY_NAME["0.85>0.60 rewards"]) is None
    assert greatest_gain(BY_NAME["0.85>0.50, other 0.93"]) is None  # here a promotion contributes to the gain, too
    assert least_delay(BY_NAME["0.85>0.50, other 0.93"]) is not None
    assert least_delay(COLLAPSE, budget=50_000) > delay
