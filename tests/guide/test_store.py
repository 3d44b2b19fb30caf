"""The store that the guide's four objects share: it records outcomes and returns figures from the workers' engine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from builders import AGENT, AT, TASK, a_collapse, an_invocation, invocations
from core.histories import outcomes, scores
from core.task import Task
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.policy import Limits, Policy
from crl_stream.errors import CommandRefused, InvalidMessage
from crl_stream.guide.looking import looking_back
from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from guide.world import WHO, active_of, collapsed, order, record, replaced

judged = scores.filter(lambda score: score.reward is not None or score.quality is not None)


@given(st.lists(outcomes | outcomes | judged, max_size=100))
def test_a_store_folds_what_is_recorded_exactly_as_the_workers_do(history: list[Any]) -> None:
    store, worker = Store(None), Task()
    for message in history:
        store.record(message)
    worker.take(*history)
    for row in store.source.rows():
        for name in worker.row.variants:
            mine, theirs = row.variants[name], worker.variant(name)
            assert (mine.q, mine.life, mine.judged, mine.quarantined) == (
                theirs.q,
                theirs.life,
                theirs.judged,
                theirs.quarantined,
            )
        assert (row.active, row.epoch, row.n, row.duplicates) == (
            worker.row.active,
            worker.row.epoch,
            worker.row.n,
            worker.row.duplicates,
        )


def test_objects_that_are_built_without_arguments_share_one_store(store: Store) -> None:
    monitor, manager, learning = SafetyMonitor(), RollbackManager(), QLearningEngine()
    assert monitor.store is manager.store is learning.store is Store.default() is store


# -- record ----------------------------------------------------------------------------------------
def test_a_mapping_is_enough_of_an_invocation(store: Store) -> None:
    outcome = {"agent_name": AGENT, "task_type": TASK, "variant_id": "v", "status": "success"}
    assert store.record(outcome)
    assert store.record(outcome)
    assert QLearningEngine().get_visit_count(*WHO, "v") == 2


def test_the_same_invocation_again_is_recognised_and_not_counted(store: Store) -> None:
    same = an_invocation("v")
    assert store.record(same) is True
    assert store.record(same) is False
    assert QLearningEngine().get_visit_count(*WHO, "v") == 1


def test_a_late_reward_moves_q_as_if_it_had_been_known(store: Store) -> None:
    store.record(an_invocation("v", "success", invocation_id="i1"))
    late = {"type": "feedback", "agent_name": AGENT, "task_type": TASK, "invocation_id": "i1", "reward": 0.25}
    assert store.record(late)
    assert QLearningEngine().get_q_value(*WHO, "v") == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "fine"}, "status"),
        ({"agent_name": "a b"}, "agent_name"),
        ({"reward": 1.5}, "reward"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"variant_id": None}, "variant_id"),
        ({"error_count": -1}, "error_count"),
    ],
)
def test_an_outcome_that_does_not_fit_is_refused_and_nothing_changes(
    store: Store, change: dict[str, Any], words: str
) -> None:
    given = {"agent_name": AGENT, "task_type": TASK, "variant_id": "v", "status": "success"}
    with pytest.raises(InvalidMessage, match=words):
        store.record(given | change)
    assert store.source.rows() == []


def test_a_task_takes_so_many_variants_and_says_when_there_is_no_room(folder: Path) -> None:
    with Store(None, policy=Policy(limits=Limits(variants=2))) as store:
        record(store, "one", "S" * 3)
        order(store, m.RegisterVariant, variant_id="two")
        with pytest.raises(InvalidMessage, match="already has 2 variants"):
            record(store, "three", "S")


# -- time and place --------------------------------------------------------------------------------
def test_time_is_the_outcomes_own_and_never_goes_back(store: Store) -> None:
    store.record(an_invocation("v", timestamp="2025-11-19T14:30:00Z"))
    store.record(an_invocation("v", timestamp="2025-11-19T15:00:00Z"))
    store.record(an_invocation("v", timestamp="2025-11-19T14:00:00Z"))
    [row] = store.source.rows()
    assert row.time - row.since == 30 * 60 * 1_000


def test_outcomes_stand_one_after_the_other_whatever_their_task(store: Store) -> None:
    for number in range(6):
        store.record(an_invocation("v", task_type=f"task-{number % 2}"))
    assert [row.offset for row in store.source.rows()] == [4, 5]


# -- active variants and commands ------------------------------------------------------------------
def test_the_active_variants_are_those_that_runtimes_would_use(store: Store) -> None:
    assert store.get_active_variants() == []
    record(store, "v2", "S", task_type="b")
    record(store, "v1", "S", task_type="a")
    record(store, "v3", "S", task_type="a", variant_source="explore")
    record(store, "v4", "S", task_type="c", variant_source="explore")
    assert store.get_active_variants() == [(AGENT, "a", "v1"), (AGENT, "b", "v2")]


def test_an_order_is_applied_or_refused_with_the_engines_reason(store: Store) -> None:
    replaced(store)
    assert active_of(store) == "api-optimized"
    with pytest.raises(CommandRefused, match="is unknown"):
        order(store, m.ActivateVariant, variant_id="nobody")
    same = {"command_id": "cmd-1", "hours": 1.0}
    order(store, m.HoldTask, **same)
    with pytest.raises(CommandRefused, match="already sent"):
        order(store, m.HoldTask, **same)


def test_an_alert_is_said_on_the_log_of_the_program(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "crl_stream.guide"):
        collapsed(store)
    [line] = [r.getMessage() for r in caplog.records if "rolled back" in r.getMessage()]
    assert f"crl undo {AGENT}/{TASK}" in line


def test_the_story_of_the_integration_tests_ends_here_as_it_does_there(store: Store) -> None:
    for message in a_collapse():
        if isinstance(message, m.Invocation):
            store.record(message)
        else:
            store.order(message)
    [event] = RollbackManager().get_rollback_history()
    assert (event["from_variant"], event["to_variant"], event["enforced"]) == ("api-optimized", "default", True)


# -- looking back ----------------------------------------------------------------------------------
@given(st.lists(st.sampled_from("SFE"), max_size=80), st.integers(2, 250))
def test_a_longer_look_back_is_over_the_very_outcomes_that_were_recorded(letters: list[str], last: int) -> None:
    store = Store(None)
    record(store, "v", "".join(letters))
    seen = store.source.looking_back(*_place(), last)
    recent = letters[-last:]
    if not letters:
        assert seen is None
        return
    assert seen is not None
    assert (seen.judged.n, seen.judged.successes, seen.judged.errors) == (
        len(recent),
        recent.count("S"),
        recent.count("E"),
    )
    assert seen.judged == looking_back(seen, last).judged


def _place() -> tuple[Any, str]:
    from crl_stream.core.identity import TaskKey

    return TaskKey(AGENT, TASK), "v"


def test_what_is_kept_for_longer_looks_is_bounded(store: Store) -> None:
    record(store, "v", "S" * 500)
    seen = store.source.looking_back(*_place(), 1_000)
    assert seen is not None
    assert seen.judged.n == 200


def test_a_variant_that_was_forgotten_brings_nothing_back_with_its_name() -> None:
    store = Store(None, policy=Policy(limits=Limits(variants=2)))
    record(store, "active", "S" * 3)
    record(store, "v", "F" * 30, variant_source="explore")
    record(store, "other", "S" * 3, variant_source="explore")  # replaces the idle variant
    record(store, "v", "S" * 25, variant_source="explore")
    seen = store.source.looking_back(*_place(), 200)
    assert seen is not None
    assert (seen.judged.n, seen.judged.successes) == (25, 25)


def test_recording_from_many_threads_loses_nothing(store: Store) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(store.record, invocations("v", "S" * 400)))
    assert QLearningEngine().get_visit_count(*WHO, "v") == 400


def test_the_instant_of_a_recorded_outcome_is_the_one_of_its_events(store: Store) -> None:
    collapsed(store)
    [event] = RollbackManager().get_rollback_history()
    assert event["timestamp"][:19] == AT[:19]
