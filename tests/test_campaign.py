"""The simulated fault campaign finds no error, gives exactly the same run again, and fails if any guard is removed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from source_tree import ROOT

from campaign.__main__ import main
from campaign.simulated import program
from campaign.simulated.broker import Broker
from campaign.simulated.figures import Figures
from campaign.simulated.mutants import MUTANTS, first_caught
from campaign.simulated.outlet import Outlet, Point
from campaign.simulated.processes import Kind, Table
from campaign.simulated.simulation import run_seed
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import encode_row, new_row
from crl_stream.stages.partition import PartitionRow, encode_partition, partition_key
from crl_stream.worker.stale_writes import SEEN

SEEDS = range(100)


def test_nothing_is_lost_doubled_or_wrong_whatever_dies_stalls_or_comes_twice() -> None:
    total = Figures()
    for seed in SEEDS:
        figures = run_seed(seed).examine()
        assert figures.is_exact, f"python -m campaign simulate --first {seed} --seeds 1: {figures.complaints}"
        total.add(figures)
    # If a kind of event never happened, the campaign proves nothing about it.
    assert {point for point in Point if total.crashes[point] >= 10} == set(Point)
    assert min(total.crashes_with_orders, total.engaged, total.skipped, total.duplicates) > 100
    assert min(total.late_rows, total.refused_writers, total.compacted, total.looks, total.mended) > 50
    assert total.inconclusive <= len(SEEDS) // 20


def test_the_partition_row_is_the_last_record_of_a_write_though_it_was_covered_itself() -> None:
    broker = Broker(1, start=0, tick=1)
    changelog = broker.changelogs[Kind.MONITOR.value, 0]
    newer, older = encode_partition(PartitionRow(next_offset=9)), encode_partition(PartitionRow(next_offset=1))
    row = encode_row(new_row(TaskKey("a", "b")))
    changelog.append(0, [(partition_key(0), newer, ()), (b"a/b", row, ()), (partition_key(0), older, ())], writer=1)
    outlet: Any = Outlet(2, broker, random.Random(0))
    table = Table(outlet, Kind.MONITOR, 0, broker)
    work = table.write(0, {b"a/b": row}, newer, ((SEEN, b"{}"),))
    for _ in work.__await__():
        pass
    assert [(r.key, r.headers) for r in changelog.records[3:]] == [
        (b"a/b", ()),
        (partition_key(0), ((SEEN, b"{}"),)),
    ]


@pytest.mark.parametrize("guard", MUTANTS)
def test_without_a_guard_a_seed_is_red(guard: str) -> None:
    assert first_caught(guard) is not None


def test_the_switches_are_off_again_afterwards() -> None:
    before = vars(run_seed(3).examine())
    for guard in MUTANTS:
        first_caught(guard, first=3, seeds=1)
    assert vars(run_seed(3).examine()) == before


def test_the_product_knows_nothing_of_the_campaign() -> None:
    sources = (ROOT / "crl_stream").rglob("*.py")
    assert [path for path in sources if "campaign" in path.read_text(encoding="utf-8")] == []


def test_a_run_prints_its_figures_and_a_failure_how_to_repeat_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["simulate", "--seeds", "2", "--first", "7", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["seeds"], figures["lost"], figures["first_failure"]) == (2, 0, None)

    monkeypatch.setattr(program, "run_seed", lambda seed: 1 // (seed - 8))
    assert main(["simulate", "--seeds", "2", "--first", "8"]) == 1
    assert "python -m campaign simulate --first 8 --seeds 1" in capsys.readouterr().out
