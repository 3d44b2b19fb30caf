"""The public snapshot: when it is published, and that its figures match the outcomes."""

from __future__ import annotations

from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given, settings

from crl_stream.core import messages as m
from crl_stream.core.policy import Limits, Operations, Policy

from .histories import histories
from .task import Task, collapsed, proven


def plain(task: Task, n: int, seconds: float = 1.0) -> list[int]:
    """Return the numbers of the outcomes after which a snapshot was published without any fact."""
    found = []
    for number in range(1, n + 1):
        task.pass_time(round((seconds - 1) * 1_000))
        facts = task.run("default", "S")
        if facts and all(isinstance(fact, m.TaskSnapshot) for fact in facts):
            found.append(number)
    return found


def test_calm_outcomes_are_published_at_2_5_and_10_and_then_every_tenth() -> None:
    # The first outcome also publishes a fact: the activation.
    assert plain(Task(), 42) == [2, 5, 10, 20, 30, 40]


def test_snapshots_are_no_closer_than_a_second_of_append_time() -> None:
    task = Task(Policy(limits=Limits(snapshot_seconds=60)))
    # After the tenth outcome, 60 seconds must pass.
    assert plain(task, 139) == [2, 5, 10, 70, 130]


def test_every_fact_brings_a_snapshot_as_of_its_own_place() -> None:
    task = collapsed()
    places = {snapshot.as_of.offset for snapshot in task.stated(m.TaskSnapshot)}
    for kind in (m.RollbackEvent, m.Activation, m.DegradationAlert, m.CommandResult, m.Decision):
        assert {fact.position.offset for fact in task.stated(kind)} <= places


def test_a_duplicate_publishes_nothing() -> None:
    task = Task()
    outcome = an_invocation()
    task.take(outcome)
    assert task.take(outcome) == []


@settings(deadline=None, max_examples=40)
@given(histories)
def test_the_figures_of_a_snapshot_are_those_of_its_window(history: list[Any]) -> None:
    task = Task()
    for message in history:
        for fact in task.take(message):
            if not isinstance(fact, m.TaskSnapshot):
                continue
            assert [v.variant_id for v in fact.variants] == sorted(task.row.variants)
            assert sum(v.active for v in fact.variants) == (fact.active_variant is not None)
            assert fact.n_outcomes == task.row.n
            for found in fact.variants:
                window = found.window
                size = window.size
                assert size == len(window.outcomes) == len(window.rewards) == len(window.offsets) <= 20
                assert window.judged <= size <= found.n_visits
                assert window.offsets == sorted(window.offsets)
                if size:
                    assert window.success_rate == pytest.approx(window.outcomes.count("S") / size)
                    assert window.avg_reward == pytest.approx(sum(window.rewards) / size, abs=1e-9)
                if found.n_visits == size and size:
                    assert found.success_rate == pytest.approx(window.success_rate)
                    assert found.avg_reward == pytest.approx(window.avg_reward, abs=1e-9)
                    mean = window.avg_reward
                    variance = sum((reward - mean) ** 2 for reward in window.rewards) / size
                    assert found.reward_variance == pytest.approx(variance, abs=1e-5)


def test_a_variant_that_only_ran_in_the_shadow_is_not_offered_to_live_runtimes() -> None:
    task = Task()
    task.run("default", "SSS")
    task.run("dark", "SSS", role="shadow")
    assert [v.variant_id for v in task.stated(m.VariantCatalogue)[-1].variants] == ["default"]
    task.run("dark", "S", variant_source="explore")
    assert [v.variant_id for v in task.stated(m.VariantCatalogue)[-1].variants] == ["dark", "default"]


def test_a_registered_variant_is_offered_before_its_first_outcome() -> None:
    task = Task()
    task.run("default", "S")
    task.run("dark", "S", role="shadow")
    task.order(m.RegisterVariant, variant_id="dark")
    assert [v.variant_id for v in task.stated(m.VariantCatalogue)[-1].variants] == ["dark", "default"]


def test_a_snapshot_tells_letters_kinds_of_failure_and_shadow_results_apart() -> None:
    task = Task()
    task.take(
        an_invocation(status="success", quality=0.2),
        an_invocation(status="failure", duration_seconds=500.0),
        an_invocation(status="error"),
        an_invocation(status="success", error_count=1),
        an_invocation(status="failure", role="shadow"),
        an_invocation(status="success"),
    )
    found = task.snapshot("default")
    assert found.window.outcomes == "SFESS"
    assert found.success_rate == 3 / 5
    assert found.error_rate == 2 / 5
    kinds = found.failure_kinds
    assert (kinds.errors, kinds.failures, kinds.slow, kinds.low_quality) == (2, 2, 1, 1)
    assert (found.shadow_n, found.shadow_success_rate, found.shadow_avg_reward) == (1, 0.0, -1.0)


def test_a_hold_and_a_pin_are_shown_with_who_and_until_when() -> None:
    task = proven()
    task.order(m.HoldTask, hours=1.0)
    task.order(m.PinVariant, hours=2.0)
    shown = task.stated(m.TaskSnapshot)[-1]
    assert (shown.held.actor, shown.held.until) == ("ada", "2025-11-19T15:30:31.000Z")
    assert (shown.pinned.variant_id, shown.pinned.until) == ("default", "2025-11-19T16:30:32.000Z")


def test_runtimes_that_have_not_adopted_the_epoch_are_visible() -> None:
    task = proven(v2="S" * 12)
    task.take(*[an_invocation(active_epoch=1, runtime_id=name) for name in ("r1", "r2")])
    task.order(m.ActivateVariant, variant_id="v2")
    task.take(an_invocation("v2", active_epoch=2, runtime_id="r1"))
    shown = task.stated(m.TaskSnapshot)[-1]
    assert (shown.runtimes, shown.runtimes_current) == (2, 1)


def test_a_new_mode_or_exploration_rate_reaches_the_runtimes_with_the_next_message() -> None:
    task = proven()
    task.policy = Policy(operations=Operations(mode="shadow", exploration=0.25))
    [shown] = [fact for fact in task.run("default", "S") if isinstance(fact, m.ActiveVariant)]
    assert (shown.mode, shown.exploration, shown.epoch) == ("shadow", 0.25, 1)
    assert [fact for fact in task.run("default", "S") if isinstance(fact, m.ActiveVariant)] == []


def test_a_runtimes_wrong_clock_is_counted_and_announced_and_never_used() -> None:
    task = Task()
    task.run("default", "S" * 3, timestamp="2031-01-01T00:00:00Z")
    assert task.row.skewed == 3
    [alert] = task.alerts("clock_skew")
    assert alert.limit == 3_600
    assert alert.timestamp.startswith("2025-11-19T14:30:")
    task.run("default", "S", timestamp="2025-11-19T15:29:00Z")
    assert task.row.skewed == 3


def test_time_never_runs_backwards() -> None:
    task = proven()
    task.pass_time(-3_600_000)
    before = task.row.time
    task.order(m.HoldTask)
    assert task.row.time == before
    assert task.stated(m.CommandResult)[-1].timestamp == "2025-11-19T14:30:30.000Z"
