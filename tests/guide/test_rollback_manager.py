"""The guide's rollback workflow through its own API: detect, choose, execute, log, report."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from builders import AGENT, TASK, an_invocation

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy
from crl_stream.errors import UsageError
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from guide.world import WHO, active_of, as_in_the_guide, collapsed, lines_of, order, record, replaced

SCHEMA = [
    "rollback_id",
    "timestamp",
    "agent_name",
    "task_type",
    "from_variant",
    "to_variant",
    "reason",
    "degradation_metrics",
]
"""The fields of the guide's rollback event, in the guide's order."""


def test_a_degraded_variant_is_rolled_back_and_the_event_is_told_once(store: Store) -> None:
    collapsed(store)
    manager = RollbackManager()
    event = manager.monitor_and_rollback(agent_name=AGENT, task_type=TASK, current_variant="api-optimized")
    assert event is not None
    assert (event["from_variant"], event["to_variant"]) == ("api-optimized", "default")
    assert active_of(store) == "default"
    assert manager.monitor_and_rollback(*WHO, "api-optimized") is None
    assert RollbackManager().monitor_and_rollback(*WHO, "api-optimized") is None
    assert manager.monitor_and_rollback(*WHO, "default") is None


def test_the_event_is_the_guides_example_field_by_field(store: Store) -> None:
    """The task is held while its variant drops from 90 % to 75 %; the next check gives the guide's verdict."""
    as_in_the_guide(store)
    order(store, m.ResumeTask)
    event = RollbackManager().monitor_and_rollback(*WHO, "api-optimized")
    assert event is not None
    assert list(event)[: len(SCHEMA)] == SCHEMA
    assert re.fullmatch(r"rb-\d{8}-[0-9a-f]{6,}", event["rollback_id"])
    assert datetime.fromisoformat(event["timestamp"]).utcoffset() is not None
    assert event["timestamp"].endswith("Z")
    assert event["rollback_id"][3:11] == event["timestamp"][:10].replace("-", "") == "20251119"
    assert event["reason"] == "Success rate dropped from 90% to 75% (16.7% drop)"
    figures = event["degradation_metrics"]
    assert list(figures)[:3] == ["baseline_success_rate", "recent_success_rate", "success_drop_pct"]
    assert figures["baseline_success_rate"] == pytest.approx(0.90)
    assert figures["recent_success_rate"] == pytest.approx(0.75)
    assert figures["success_drop_pct"] == pytest.approx(0.167, abs=5e-4)
    assert figures["sample_size"] == 20
    assert isinstance(figures["sample_size"], int)


def test_it_is_told_also_under_the_name_of_the_variant_that_took_the_place(store: Store) -> None:
    """After the rollback, a list of active variants, as in Example 2, contains only the replacement."""
    collapsed(store)
    manager = RollbackManager()
    told = [manager.monitor_and_rollback(*active) for active in store.get_active_variants()]
    assert [(event or {})["from_variant"] for event in told] == ["api-optimized"]
    assert [manager.monitor_and_rollback(*active) for active in store.get_active_variants()] == [None]


def test_a_healthy_variant_stays(store: Store) -> None:
    replaced(store)
    assert RollbackManager().monitor_and_rollback(*WHO, "api-optimized") is None
    assert active_of(store) == "api-optimized"


@pytest.mark.parametrize("variant_id", ["new", "default"])
def test_a_variant_that_is_not_active_is_not_rolled_back(store: Store, variant_id: str) -> None:
    replaced(store)
    record(store, "default", "F" * 20)
    assert RollbackManager().monitor_and_rollback(*WHO, variant_id) is None
    assert RollbackManager().monitor_and_rollback("nobody", "nothing", variant_id) is None


def test_the_target_is_the_best_of_those_with_five_visits(store: Store) -> None:
    for name, count, reward in (("four", 4, 0.99), ("second", 30, 0.8), ("best", 20, 0.85)):
        record(store, name, "S" * count, reward=reward, variant_source="explore")
    record(store, "current", "S" * 30, reward=0.9)
    while active_of(store) == "current":
        record(store, "current", "F", reward=-1.0)
    event = RollbackManager().monitor_and_rollback(*WHO, "current")
    assert event is not None
    assert event["to_variant"] == "best"


def test_without_a_target_nothing_changes_and_nothing_is_told(store: Store) -> None:
    record(store, "default", "S" * 20 + "F" * 10)
    assert SafetyMonitor().check_performance_degradation(*WHO, "default")[0]
    assert RollbackManager().monitor_and_rollback(*WHO, "default") is None
    assert active_of(store) == "default"
    # Once a target appears, the next check finds it, without another outcome of the active variant.
    record(store, "rescue", "S" * 5, variant_source="explore")
    assert RollbackManager().monitor_and_rollback(*WHO, "rescue") is None  # the call asks about another variant
    assert active_of(store) == "default"
    event = RollbackManager().monitor_and_rollback(*WHO, "default")
    assert event is not None
    assert (event["to_variant"], active_of(store)) == ("rescue", "rescue")


def test_a_hold_keeps_the_variant_where_it_is(store: Store) -> None:
    as_in_the_guide(store)
    assert RollbackManager().monitor_and_rollback(*WHO, "api-optimized") is None
    assert active_of(store) == "api-optimized"


def test_a_rollback_that_was_undone_meanwhile_is_history_and_no_news(store: Store) -> None:
    collapsed(store)
    order(store, m.UndoRollback)
    manager = RollbackManager()
    assert manager.monitor_and_rollback(*WHO, "api-optimized") is None
    assert len(manager.get_rollback_history()) == 1


@pytest.mark.parametrize(("mode", "told"), [("shadow", True), ("observe", False)])
def test_the_modes_that_do_not_act_do_not_act_here_either(mode: str, told: bool) -> None:
    store = Store(None, policy=Policy(operations=Operations(mode=mode)))  # type: ignore[arg-type]
    replaced(store)
    record(store, "api-optimized", "F" * 12, active_epoch=2, reward=-1.0)
    event = RollbackManager(store=store).monitor_and_rollback(*WHO, "api-optimized")
    assert (event is not None) is told
    assert event is None or event["enforced"] is False
    assert active_of(store) == "api-optimized"


# -- thresholds ------------------------------------------------------------------------------------
def test_the_managers_thresholds_decide_also_about_what_was_recorded_before(store: Store) -> None:
    """Two failures in 60 are a drop of 6.9 % in the window, which the guide's 10 % threshold accepts."""
    record(store, "rescue", "S" * 20, reward=0.5, variant_source="explore")
    record(store, "default", "S" * 50 + "SSSSFSSSFS", reward=0.5)
    assert RollbackManager().monitor_and_rollback(*WHO, "default") is None
    monitor = SafetyMonitor(degradation_success_threshold=0.02)
    event = RollbackManager(monitor).monitor_and_rollback(*WHO, "default")
    assert event is not None
    assert (event["from_variant"], event["to_variant"]) == ("default", "rescue")


def test_the_managers_thresholds_keep_a_variant_that_the_guides_would_have_left(store: Store) -> None:
    RollbackManager(SafetyMonitor(degradation_success_threshold=0.9, degradation_reward_threshold=0.9))
    replaced(store)
    record(store, "api-optimized", "F" * 5, active_epoch=2, reward=0.5)
    assert active_of(store) == "api-optimized"
    plain = Store(None)
    replaced(plain)
    record(plain, "api-optimized", "F" * 5, active_epoch=2, reward=0.5)
    assert active_of(plain) == "default"


def test_a_manager_without_thresholds_leaves_the_policy_alone(store: Store) -> None:
    RollbackManager(SafetyMonitor(lookback_window=50))
    RollbackManager()
    assert SafetyMonitor().thresholds["lookback_window"] == 50


def test_the_samples_that_a_target_needs_are_a_threshold_too(store: Store) -> None:
    manager = RollbackManager(rollback_min_samples=31)
    collapsed_without_target = [*WHO, "api-optimized"]
    replaced(store)
    record(store, "api-optimized", "F" * 12, active_epoch=2, reward=-1.0)
    assert manager.monitor_and_rollback(*collapsed_without_target) is None
    assert active_of(store) == "api-optimized"


def test_a_manager_and_its_monitor_ask_one_store(store: Store) -> None:
    with pytest.raises(UsageError, match="another store"):
        RollbackManager(SafetyMonitor(), store=Store(None))
    with pytest.raises(UsageError):
        RollbackManager(rollback_min_samples=0)


# -- history ---------------------------------------------------------------------------------------
def several(store: Store, agents: tuple[str, ...] = ("a", "b", "c")) -> None:
    """Record one rollback for each agent, a day apart."""
    for number, agent in enumerate(agents):
        day = f"2025-11-{19 + number}T14:30:00Z"
        for variant, status, count in (("v1", "success", 30), ("v0", "success", 10)):
            for _ in range(count):
                source = "explore" if variant == "v0" else None
                store.record(
                    an_invocation(variant, status, agent_name=agent, timestamp=day, variant_source=source, reward=0.5)
                )
        for _ in range(12):
            store.record(an_invocation("v1", "failure", agent_name=agent, timestamp=day))


def test_the_history_is_newest_first_and_as_long_and_of_whom_one_asks_for(store: Store) -> None:
    several(store)
    manager = RollbackManager()
    assert [event["agent_name"] for event in manager.get_rollback_history()] == ["c", "b", "a"]
    assert [event["agent_name"] for event in manager.get_rollback_history(limit=2)] == ["c", "b"]
    assert [event["agent_name"] for event in manager.get_rollback_history(agent_name="b")] == ["b"]
    assert [event["agent_name"] for event in manager.get_rollback_history(1, "a")] == ["a"]
    assert manager.get_rollback_history(limit=0) == []
    assert manager.get_rollback_history(agent_name="nobody") == []
    with pytest.raises(UsageError):
        manager.get_rollback_history(limit=-1)


def test_what_the_history_says_stands_in_the_telemetry_file_word_for_word(store: Store, folder: Path) -> None:
    several(store)
    lines = lines_of(folder, "rollback_events.jsonl")
    assert lines == list(reversed(RollbackManager().get_rollback_history()))
    assert all(list(line)[: len(SCHEMA)] == SCHEMA for line in lines)
    assert len({line["rollback_id"] for line in lines}) == 3


def test_the_next_process_finds_the_history_and_adds_to_it(folder: Path) -> None:
    with Store(folder) as first:
        several(first)
    with Store(folder) as second:
        manager = RollbackManager(store=second)
        assert len(manager.get_rollback_history()) == 3
        told = manager.monitor_and_rollback("a", TASK, "v1")
        assert told is not None, "the first process did not report it"
        assert manager.monitor_and_rollback("a", TASK, "v1") is None
        several(second, ("d", "e", "f"))
        assert len(manager.get_rollback_history()) == 6


def test_a_store_without_a_folder_keeps_its_history_in_memory() -> None:
    store = Store(None)
    several(store)
    assert [event["agent_name"] for event in RollbackManager(store=store).get_rollback_history()] == ["c", "b", "a"]
