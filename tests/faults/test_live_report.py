"""The live campaign's table says what was induced, what was noticed and what broke; an interrupted run can continue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from campaign.__main__ import main
from campaign.live import faults
from campaign.live.fault import find_faults
from campaign.live.guards import GUARDS
from campaign.live.journal import Journal, read_journal
from campaign.live.mutants import MUTANTS
from campaign.live.offsets import Offsets
from campaign.live.oracle.findings import Findings
from campaign.live.points import POINTS
from campaign.live.report import sum_up, table, verdict
from campaign.live.rounds import Played, plan_rounds


def a_round(number: int = 1, *, engaged: int = 20, **found: Any) -> Played:
    engagement = {"recovery_seconds": 2.0, "figures": {"skipped": 5}, "note": ""}
    engagements = [engagement | {"engaged": n < engaged, "in_flight": {"command": n % 2}} for n in range(20)]
    return Played(
        key=f"F1/{number}/20/1",
        fault="F1",
        number=number,
        workers=2,
        partitions=4,
        services=False,
        engagements=engagements,
        findings=Findings(records=100, **found).as_dict(),
    )


def test_a_round_in_which_all_held_and_all_was_noticed_is_no_complaint() -> None:
    lines = sum_up([a_round(1), a_round(2)], find_faults())
    assert verdict(lines) == []
    kill, race = lines
    assert (kill.id, kill.times, kill.engaged, kill.records, kill.recovery(0.95)) == ("F1", 40, 40, 200, 2.0)
    # Kills that hit a command in flight are counted again, on a separate line.
    assert (race.id, race.times, race.figures["command"]) == ("F26", 20, 20)


@pytest.mark.parametrize("kind", ["lost", "doubled", "wrong_rows", "disordered", "foreign", "went_back"])
def test_whatever_is_broken_is_in_the_table_and_in_the_exit_code(kind: str, tmp_path: Path) -> None:
    broken = a_round(**{kind: 1, "complaints": [f"{kind} 1: something"]})
    assert not broken.is_exact
    lines = sum_up([broken], find_faults())
    assert getattr(lines[0], kind) == 1 and verdict(lines)
    journal = Journal(tmp_path / "results.jsonl")
    journal.append(broken)
    assert main(["report", str(journal.file)]) == 3


def test_more_than_one_fault_in_twenty_that_nobody_noticed_is_too_many() -> None:
    assert verdict(sum_up([a_round(engaged=19)], find_faults())) == []
    assert verdict(sum_up([a_round(engaged=18)], find_faults())) != []


def test_a_round_that_could_not_be_played_is_a_failure() -> None:
    stuck = Played(
        key="k", fault="F1", number=1, workers=2, partitions=4, services=False, engagements=[], error="TimeoutError: "
    )
    assert verdict(sum_up([stuck], find_faults())) != []


def test_the_table_has_a_row_for_each_fault_also_in_markdown() -> None:
    lines = sum_up([a_round()], find_faults())
    plain, markdown = table(lines).splitlines(), table(lines, markdown=True).splitlines()
    assert len(plain) == len(lines) + 1 and len(markdown) == len(lines) + 2
    assert markdown[2].startswith("| F1 | kill -9 | 1 | 20 | 20 | 0 | 100 | 0 |")


def test_a_results_file_whose_last_line_was_cut_off_goes_on_behind_the_line_before(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    journal = Journal(file)
    journal.append(a_round(1))
    journal.append(a_round(2))
    file.write_bytes(file.read_bytes()[:-40])
    again = Journal(file)
    assert again.keys == {"F1/1/20/1"}
    again.append(a_round(2))
    assert [played.number for played in read_journal(file)] == [1, 2]


def test_a_campaign_induces_each_fault_as_often_as_its_file_says_and_no_round_twice() -> None:
    found = find_faults()
    planned = list(plan_rounds(list(found.values()), 1, 1.0))
    for fault in found.values():
        assert sum(each.times for each in planned if each.fault is fault) == fault.times
    assert len({each.key for each in planned}) == len(planned)
    assert (found["F1"].times, found["F2"].times, found["F5"].times) == (200, 50, 30)


def test_the_folder_is_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    files = [path for folder in faults.__path__ for path in Path(folder).glob("f*.py")]
    assert main(["live", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == len(files) == len(find_faults())
    assert main(["live", "--only", "F999"]) == 2


def test_every_line_and_every_guard_that_is_named_is_in_the_product() -> None:
    assert [name for name, point in POINTS.items() if not callable(getattr(point.owner, point.function))] == []
    assert {mutant.guard for mutant in MUTANTS} == set(GUARDS)


async def test_a_committed_offset_that_goes_back_is_told_and_one_that_is_set_back_on_purpose_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = iter([5, 7, 6, 2])
    offsets = Offsets(None, None, {"group": ["log"]})  # type: ignore[arg-type]

    async def committed(_group: str) -> dict[tuple[str, int], int]:
        return {("log", 0): next(said)}

    monkeypatch.setattr(offsets, "committed", committed)
    for _ in range(3):
        await offsets.look()
    assert offsets.went_back == ["group: log 0 went back from 7 to 6"]
    offsets.forget()
    await offsets.look()
    assert len(offsets.went_back) == 1
