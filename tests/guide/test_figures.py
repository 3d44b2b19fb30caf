"""The data that a script leaves in its folder: the next run continues the windows and reports each rollback once."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import invocations
from source_tree import environment_of_this_checkout

from crl_stream.core.monitor.row import encode_row
from crl_stream.core.policy import Policy
from crl_stream.errors import UsageError
from crl_stream.guide.figures import FILE, Figures
from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from crl_stream.guide.variant_proposer import VariantProposer
from guide.world import WHO, active_of, collapsed, record, replaced


def asked(store: Store) -> list[str]:
    """Run one round of the guide's Example 2, and return the ids of the rollbacks it reports."""
    manager = RollbackManager(store=store)
    found = [manager.monitor_and_rollback(*active) for active in store.get_active_variants()]
    return [event["rollback_id"] for event in found if event is not None]


def test_one_process_for_each_outcome_comes_to_the_same_figures_as_one_for_all(folder: Path, tmp_path: Path) -> None:
    messages = invocations("default", "SSFSSSSFSE" * 4, reward=0.5)
    with Store(tmp_path / "whole") as whole:
        for message in messages:
            whole.record(message)
        expected = QLearningEngine(store=whole).get_q_value(*WHO, "default")
        window = whole.source.looking_back(whole.source.rows()[0].key, "default", 20)
    for message in messages:
        with Store(folder) as one:
            one.record(message)
    with Store(folder) as last:
        assert QLearningEngine(store=last).get_visit_count(*WHO, "default") == 40
        assert QLearningEngine(store=last).get_q_value(*WHO, "default") == expected
        found = last.source.looking_back(last.source.rows()[0].key, "default", 20)
        assert window is not None and found is not None
        assert (found.judged, found.life) == (window.judged, window.life)


def test_a_rollback_is_told_once_by_whichever_process_asks_first(folder: Path) -> None:
    with Store(folder) as agent:
        collapsed(agent)
    with Store(folder) as first:
        told = asked(first)
        assert len(told) == 1
        assert asked(first) == []
    with Store(folder) as second:
        assert asked(second) == []
        assert len(RollbackManager(store=second).get_rollback_history()) == 1


def test_what_cron_finds_degraded_it_rolls_back_itself(folder: Path) -> None:
    """Only the script can find this degradation, because only the script uses so low a threshold."""
    with Store(folder) as agent:
        replaced(agent)
        record(agent, "api-optimized", "SSSSF" * 2, active_epoch=2, reward=0.5)
        assert active_of(agent) == "api-optimized"
    with Store(folder) as script:
        monitor = SafetyMonitor(degradation_success_threshold=0.01, store=script)
        event = RollbackManager(monitor).monitor_and_rollback(*WHO, "api-optimized")
        assert event is not None and event["to_variant"] == "default"
    with Store(folder) as agent:
        assert active_of(agent) == "default"


def test_a_longer_lookback_outlives_the_process(folder: Path) -> None:
    with Store(folder) as first:
        record(first, "default", "S" * 60)
    with Store(folder) as second:
        found = second.source.looking_back(second.source.rows()[0].key, "default", 50)
        assert found is not None and len(found.window) // 30 == 50


def test_the_proposer_goes_on_where_the_last_process_was(folder: Path) -> None:
    with Store(folder) as first:
        record(first, "default", "SSF" * 20, reward=0.3)
        [made] = VariantProposer(store=first).analyze_and_propose(min_invocations=50)
    with Store(folder) as second:
        assert VariantProposer(store=second).analyze_and_propose(min_invocations=50) == []
        [known] = VariantProposer(store=second).get_proposals(status="pending")
        assert known["proposal_id"] == made["proposal_id"]


def test_a_reader_sees_what_the_writer_records_while_both_run(folder: Path) -> None:
    with Store(folder) as writer, Store(folder) as reader:
        record(writer, "default", "S" * 3)
        assert QLearningEngine(store=reader).get_visit_count(*WHO, "default") == 3
        record(writer, "default", "S" * 4)
        assert QLearningEngine(store=reader).get_visit_count(*WHO, "default") == 7


RECORDER = """
import sys, time
from crl_stream.guide.store import Store
sys.path.insert(0, {tests!r})
from guide.world import collapsed, replaced
store = Store({folder!r})
{story}(store)
print("ready", flush=True)
time.sleep(600)
"""


def recorder(folder: Path, story: str) -> subprocess.Popen[str]:
    program = RECORDER.format(folder=str(folder), story=story, tests=str(Path(__file__).parents[1]))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment_of_this_checkout()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    """Kill the process and close its pipes."""
    process.kill()
    process.communicate()


def test_beside_a_process_that_records_a_second_one_tells_rollbacks_and_gets_one_clear_line(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = recorder(folder, "collapsed")
    try:
        with Store(folder) as cron, caplog.at_level(logging.WARNING):
            assert len(asked(cron)) == 1
            assert asked(cron) == []
            assert asked(cron) == []
            [line] = [r.getMessage() for r in caplog.records if "only reads" in r.getMessage()]
            assert "\n" not in line and f"process {process.pid}" in line
            with pytest.raises(UsageError) as refused:
                record(cron, "default", "S")
            assert "\n" not in refused.value.message and f"process {process.pid}" in refused.value.message
    finally:
        ended(process)


def test_nothing_is_lost_when_the_process_is_killed(folder: Path) -> None:
    process = recorder(folder, "replaced")
    ended(process)
    with Store(folder) as after:
        engine = QLearningEngine(store=after)
        assert [engine.get_visit_count(*WHO, name) for name in ("default", "api-optimized")] == [30, 40]
        record(after, "api-optimized", "F" * 20, active_epoch=2, reward=-1.0)
        assert active_of(after) == "default"


@pytest.mark.parametrize("damage", [b"no database at all", b"SQLite format 3\0" + b"x" * 5_000])
def test_a_damaged_file_is_put_aside_and_said_and_the_work_goes_on(
    folder: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(damage)
    with Store(folder) as store:
        record(store, "default", "SSS")
        assert QLearningEngine(store=store).get_visit_count(*WHO, "default") == 3
    assert len(list(folder.glob("*.damaged-*"))) == 1
    assert "windows and Q-values start over" in caplog.text


def test_rows_are_kept_byte_for_byte(folder: Path) -> None:
    with Store(folder) as store:
        collapsed(store)
        [row] = store.source.rows()
    contents = Figures(folder).read()
    assert contents is not None
    assert contents.rows == {row.key.encode(): encode_row(row)}


def test_keeping_an_outcome_takes_well_below_a_millisecond(folder: Path) -> None:
    messages = invocations("default", "S" * 2_000)
    with Store(folder, policy=Policy()) as store:
        started = time.process_time()
        for message in messages:
            store.record(message)
        assert (time.process_time() - started) / len(messages) < 0.003, "triple limit, for slow machines"
