"""The closed-loop benchmark counts what it claims to count, and equal seeds give equal figures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from benchmarks.detection import __main__ as program
from benchmarks.detection.figures import KINDS, figures, summary
from benchmarks.detection.loop import Change, Loop, Result
from benchmarks.detection.report import table
from benchmarks.detection.worlds import WORLDS, Days, Rate, Runs, World, recorded
from crl_stream.errors import ConfigError

BY_NAME = {world.name: world for world in WORLDS}
HEALTHY, COLLAPSE = BY_NAME[".92/.80"], BY_NAME["0.90>0.60, other 0.85"]


def a_result(*changes: Change, live: int = 100, got: float = 80.0, never: float = 90.0) -> Result:
    return Result(100, live, got, never, 95.0, changes, Counter(), (), "a")


def test_every_kind_of_world_is_played_and_summed_up() -> None:
    assert {world.kind for world in WORLDS} == set(KINDS)
    cells = [
        {"world": world.name, "kind": world.kind, "policy": "p", "figures": figures(world, [a_result()])}
        for world in WORLDS
    ]
    [summed] = summary(cells).values()
    assert {name.partition(":")[0] for name in summed} == {"healthy", "only worse alternatives", "collapse", "outage"}


def test_every_world_has_its_own_name_and_begins_at_once() -> None:
    assert len(BY_NAME) == len(WORLDS)
    assert all(world.phases[0][0] == 0 and world.at(world.outcomes) == len(world.phases) - 1 for world in WORLDS)


def test_a_fleet_that_never_follows_loses_nothing_and_equal_seeds_give_equal_results() -> None:
    never, guide = program.policy_of("never"), program.policy_of("guide")
    result = Loop(HEALTHY, never, "s").run()
    assert (result.changes, result.got) == ((), result.never)
    assert Loop(COLLAPSE, guide, "s").run() == Loop(COLLAPSE, guide, "s").run()
    assert Loop(COLLAPSE, guide, "s").run() != Loop(COLLAPSE, guide, "t").run()


def test_a_rollback_is_false_before_the_collapse_and_worse_if_the_target_is() -> None:
    early = Change(200, "rollback", "a", "b", 0.9, 0.85)
    late = Change(310, "rollback", "a", "b", 0.6, 0.85)
    found = figures(COLLAPSE, [a_result(early), a_result(late)])
    assert found["rollbacks_per_1000"] == 10.0
    assert found["false_rollbacks_per_1000"] == found["rollbacks_to_worse_per_1000"] == 5.0
    assert (found["caught"], found["delay_median"], found["delay_p90"]) == (0.5, 11, 11)
    assert found["lost_per_1000"] == pytest.approx(100.0)
    assert found["gain_of_oracle"] == pytest.approx(-2.0)


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
    assert Loop(fallen, program.policy_of("guide"), "s").run().alarms


def test_a_promotion_is_counted_apart_from_rollbacks() -> None:
    found = figures(HEALTHY, [a_result(Change(50, "auto_apply", "a", "b", 0.92, 0.8))])
    assert (found["promotions"], found["promotions_to_worse"], found["rollbacks_per_1000"]) == (1, 1, 0.0)


@pytest.mark.parametrize("kind", [Rate, Runs, Days])
def test_a_source_has_its_rate_in_the_long_run(kind: type[Rate]) -> None:
    source, random = kind(0.8), Random(3)
    good = sum(source.draw(random, now)["status"] == "success" for now in range(20_000))
    assert good / 20_000 == pytest.approx(0.8, abs=0.015)


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
    assert isinstance(world, World)


def test_the_program_prints_a_table_and_keeps_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "RESULTS", tmp_path)
    assert program.main(["outage", "alone", "--tasks", "1", "--policies", "never", "--processes", "1"]) == 0
    [kept] = tmp_path.glob("detection-*.json")
    page = json.loads(kept.read_text(encoding="utf-8"))
    assert {cell["kind"] for cell in page["cells"]} == {"outage", "alone"}
    assert page["summary"]["never"]["outage: mean loss per 1,000"] == 0.0
    assert capsys.readouterr().out.strip() == table(page)
    rows = [line for line in table(page, markdown=True).splitlines() if line]
    assert all(line.startswith("| ") and line.endswith(" |") for line in rows)


def test_a_setting_that_does_not_exist_is_refused_before_anything_is_played() -> None:
    with pytest.raises(ConfigError):
        program.policy_of("production,rollback.confidance=1")
