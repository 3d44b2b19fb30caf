"""Rollbacks: when they happen, to which target, and that each happens only once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from builders import a_command, invocations
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import MICRO, RETIRED, Sums
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.policy import Degradation, Operations, Policy, Rollback

from .task import Task, collapsed, proven

GUIDE = Policy()


def test_the_very_outcome_that_reveals_the_degradation_rolls_back() -> None:
    task = proven(api_optimized="S" * 30)
    task.order(m.ActivateVariant, variant_id="api-optimized")
    task.run("api-optimized", "S" * 10, active_epoch=2)
    # The first failure is within the limits (rewards: 9 of 11 against 39 of 41); the second is not (8 of 12, 38 of 42).
    for outcome in invocations("api-optimized", "F" * 12, active_epoch=2):
        before = judge(task.variant("api-optimized"), rules_of(GUIDE)).kind
        facts = task.take(outcome)
        events = [fact for fact in facts if isinstance(fact, m.RollbackEvent)]
        if events:
            assert before != "DEGRADED"
            [event] = events
            assert event.position.offset == task.offset
            assert (event.from_variant, event.to_variant) == ("api-optimized", "default")
            [alert] = [fact for fact in facts if isinstance(fact, m.DegradationAlert)]
            assert event.cause_id == alert.alert_id
            return
        assert judge(task.variant("api-optimized"), rules_of(GUIDE)).kind != "DEGRADED"
    pytest.fail("nothing was rolled back")


def test_a_rollback_event_has_the_guides_fields_and_the_guides_id() -> None:
    [event] = collapsed().stated(m.RollbackEvent)
    assert re.fullmatch(r"rb-20251119-[0-9a-f]{8,}", event.rollback_id)
    assert event.timestamp.startswith("2025-11-19T14:3")
    assert event.timestamp.endswith("Z")
    assert re.fullmatch(r"Success rate dropped from \d+% to \d+% \(\d+\.\d% drop\)", event.reason) or (
        re.fullmatch(r"Average reward dropped from -?\d\.\d\d to -?\d\.\d\d \(\d+\.\d% drop\)", event.reason)
    )
    assert {"baseline_success_rate", "recent_success_rate", "success_drop_pct", "sample_size"} <= set(
        event.degradation_metrics
    )
    assert len(event.judged.offsets) == len(event.judged.successes) == event.degradation_metrics["sample_size"]


def test_the_source_is_quarantined_the_target_active_and_the_operator_told_how_to_undo() -> None:
    task = collapsed()
    assert (task.row.active, task.row.epoch, task.row.cause) == ("default", 3, "rollback")
    assert task.variant("api-optimized").quarantined
    assert not task.variant("default").quarantined
    [alert] = task.alerts("rollback")
    assert alert.severity == "critical"
    assert alert.undo_command == "crl undo backend-architect/api-design --epoch 3"
    assert task.stated(m.ActiveVariant)[-1].quarantined == ["api-optimized"]


def failing(**others: str) -> Task:
    """Build a task whose active ``default`` has begun to fail every other time; ``others`` have these outcomes."""
    task = Task()
    task.run("default", "S" * 30 + "SF" * 10)
    for name, outcomes in others.items():
        task.run(name, outcomes, variant_source="explore")
    return task


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 8), st.booleans(), st.booleans()), max_size=6)
)
def test_the_target_has_the_highest_q_with_five_visits_then_more_visits_and_quarantined_ones_come_last(
    others: list[tuple[float, int, bool, bool]],
) -> None:
    task = failing()
    for number, (q, n, quarantined, retired) in enumerate(others):
        name = f"v{number}"
        task.run(name, "S", variant_source="explore")
        variant = task.variant(name)
        variant.q, variant.quarantined = q, quarantined
        variant.life = Sums(n, n, 0, n * MICRO, n * MICRO)
        variant.state = RETIRED if retired else variant.state
    found = candidates(task.row, rules_of(GUIDE))
    eligible = [
        (quarantined, -q, -n, f"v{number}")
        for number, (q, n, quarantined, retired) in enumerate(others)
        if n >= 5 and not retired
    ]
    chosen = [candidate.variant_id for candidate in found if candidate.chosen]
    assert chosen == [name for *_, name in sorted(eligible)[:1]]
    assert len(found) == len(others)
    assert all((candidate.why_not is None) == candidate.chosen for candidate in found)


def test_every_candidate_that_was_not_chosen_says_why() -> None:
    task = failing(few="SSSS", worse="S" * 30 + "SSSSF", fallen="S" * 30, gone="S" * 30, weak="FFS" * 20)
    task.run("wilted", "S" * 100 + "F" * 20, variant_source="explore")
    task.variant("fallen").quarantined = True
    task.order(m.RetireVariant, variant_id="gone")
    task.run("api-optimized", "S" * 31, variant_source="explore")
    why = {c.variant_id: c.why_not for c in candidates(task.row, rules_of(GUIDE))}
    assert why == {
        "api-optimized": None,
        "few": "n_visits 4 < 5",
        "worse": "a better variant was chosen",
        "fallen": "quarantined, while another variant qualifies",
        "gone": "retired",
        "weak": "not better by 0.5 standard errors: reward -0.333 against 0.200, success 33.3% against 60.0%",
        "wilted": "not better in its last 20 outcomes: reward -1.000 against 0.200, success 0.0% against 60.0%",
    }


@pytest.mark.parametrize("baseline", ["lifetime", "before_window", "recent"])
@given(
    kind=st.sampled_from(["F", "E", "errors", "reward"]),
    before=st.integers(10, 60),
    alternative=st.integers(5, 60),
    strictness=st.floats(0.0, 0.1),
    doubt=st.sampled_from([0, 10]),
)
def test_one_bad_outcome_rolls_nothing_back_however_strict_the_limits_are(
    baseline: str, kind: str, before: int, alternative: int, strictness: float, doubt: int
) -> None:
    limits = Degradation(
        success_drop=strictness, reward_drop=strictness, error_increase=strictness, baseline=baseline, min_baseline=10
    )
    task = Task(Policy(degradation=limits, rollback=Rollback(confidence=0.0, doubt=doubt)))
    good = {"quality": 0.9}
    task.run("default", "S" * before, **good)
    task.run("other", "S" * alternative, variant_source="explore", **good)
    bad = {"errors": {"error_count": 1}, "reward": {"reward": -1.0}}.get(kind, {})
    task.run("default", kind if kind in "FE" else "S", **{**good, **bad})
    task.run("default", "S" * 40, **good)
    assert task.stated(m.RollbackEvent) == []


def test_two_bad_outcomes_are_enough_where_the_limits_say_so() -> None:
    task = Task(Policy(degradation=Degradation(success_drop=0.02)))
    task.run("default", "S" * 50, reward=0.5)
    task.run("other", "S" * 20, variant_source="explore", reward=0.5)
    assert [fact for fact in task.run("default", "SSSFS", reward=0.5) if isinstance(fact, m.RollbackEvent)] == []
    [alert] = task.alerts("no_target")
    assert "not better if the worst outcome of the window is left out" in alert.text
    task.run("default", "FS", reward=0.5)
    assert [event.to_variant for event in task.stated(m.RollbackEvent)] == ["other"]


def test_a_minimum_of_visits_is_a_setting() -> None:
    task = failing(v2="S" * 5)
    strict = rules_of(Policy(rollback=Rollback(min_samples=6)))
    assert [c.chosen for c in candidates(task.row, rules_of(GUIDE))] == [True]
    assert [c.chosen for c in candidates(task.row, strict)] == [False]


def test_a_rollback_comes_at_most_once_per_activation() -> None:
    task = collapsed()
    task.run("api-optimized", "F" * 60, active_epoch=2)
    task.run("default", "S" * 60, active_epoch=3)
    assert len(task.stated(m.RollbackEvent)) == 1
    assert len([a for a in task.stated(m.DegradationAlert) if a.state == "degraded"]) == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["default", "v2", "v3"]), st.integers(5, 25), st.booleans()), max_size=12))
def test_every_epoch_has_at_most_one_rollback_and_it_opens_the_next(runs: list[tuple[str, int, bool]]) -> None:
    task = Task()
    for name, length, good in runs:
        task.run(name, ("S" if good else "F") * length)
    events = task.stated(m.RollbackEvent)
    assert len({event.epoch for event in events}) == len(events)
    epochs = [(a.epoch, a.to_variant) for a in task.stated(m.Activation) if a.cause == "rollback"]
    assert epochs == [(event.epoch, event.to_variant) for event in events]


def test_with_nowhere_to_go_the_operator_is_told_again_and_nothing_else_changes() -> None:
    task = Task()
    task.run("default", "S" * 30 + "F" * 5)
    [alert] = task.alerts("no_target")
    assert alert.severity == "critical"
    assert "no other variant is known" in alert.text
    assert (task.row.active, task.row.epoch) == ("default", 1)
    assert not task.variant("default").quarantined
    task.run("default", "SF" * 30)
    assert len(task.alerts("no_target")) == 2
    assert task.stated(m.RollbackEvent) == []


def test_a_missing_target_does_not_use_up_the_rollback() -> None:
    task = Task()
    task.run("default", "S" * 30 + "F" * 5)
    task.run("v2", "S" * 5, variant_source="explore")
    assert task.stated(m.RollbackEvent) == []
    task.run("default", "F")
    assert [r.to_variant for r in task.stated(m.RollbackEvent)] == ["v2"]
    assert [a.resolved for a in task.alerts("no_target")] == [False, True]


def test_a_hold_does_not_use_up_the_rollback_and_says_who_holds() -> None:
    task = proven(api_optimized="S" * 30)
    task.order(m.HoldTask)
    task.run("default", "F" * 10)
    [alert] = task.alerts("held_degradation")
    assert "held by ada since 2025-11-19T14:3" in alert.text
    assert task.stated(m.RollbackEvent) == []
    task.order(m.ResumeTask)
    task.run("default", "F")
    assert [r.to_variant for r in task.stated(m.RollbackEvent)] == ["api-optimized"]


def test_a_pin_does_not_keep_a_degraded_variant() -> None:
    task = proven(api_optimized="S" * 30)
    task.order(m.PinVariant)
    task.run("default", "F" * 10)
    assert [r.to_variant for r in task.stated(m.RollbackEvent)] == ["api-optimized"]


def test_in_shadow_mode_a_rollback_is_stated_once_and_nothing_is_changed() -> None:
    task = proven(Policy(operations=Operations(mode="shadow")), api_optimized="S" * 30)
    task.run("default", "F" * 19)
    [event] = task.stated(m.RollbackEvent)
    assert not event.enforced
    assert (task.row.active, task.row.epoch) == ("default", 1)
    assert not task.variant("default").quarantined


def test_a_rollback_stated_in_shadow_mode_does_not_use_up_the_real_one() -> None:
    task = proven(Policy(operations=Operations(mode="shadow")), api_optimized="S" * 30)
    task.run("default", "F" * 5)
    assert [event.enforced for event in task.stated(m.RollbackEvent)] == [False]
    task.policy = Policy()
    task.run("default", "F")
    assert [event.enforced for event in task.stated(m.RollbackEvent)] == [False, True]
    assert task.row.active == "api-optimized"


def test_in_observe_mode_there_are_alerts_and_nothing_else() -> None:
    task = proven(Policy(operations=Operations(mode="observe")), api_optimized="S" * 30)
    task.run("default", "F" * 10)
    assert task.stated(m.RollbackEvent) == []
    assert len(task.alerts("degradation")) == 1


def test_a_degraded_variant_that_is_not_active_is_reported_and_not_rolled_back() -> None:
    task = proven(v2="S" * 30 + "F" * 10)
    [alert] = task.stated(m.DegradationAlert)
    assert (alert.variant_id, alert.active) == ("v2", False)
    assert task.alerts("degradation")[0].severity == "warning"
    assert task.stated(m.RollbackEvent) == []


def test_late_outcomes_of_an_earlier_activation_move_lifetime_and_q_but_no_verdict() -> None:
    task = proven(api_optimized="S" * 30)
    task.order(m.ActivateVariant, variant_id="api-optimized")
    task.run("api-optimized", "F" * 40, active_epoch=1)
    variant = task.variant("api-optimized")
    assert (variant.life.n, variant.judged.n) == (70, 0)
    assert task.stated(m.RollbackEvent) == []


def test_recovery_needs_20_healthy_verdicts_and_is_announced() -> None:
    task = Task(Policy(operations=Operations(mode="observe")))
    task.run("default", "S" * 60 + "F" * 3)
    assert [a.state for a in task.stated(m.DegradationAlert)] == ["degraded"]
    while judge(task.variant("default"), rules_of(task.policy)).kind == "DEGRADED":
        task.run("default", "S")
    task.run("default", "S" * 18)
    assert [a.state for a in task.stated(m.DegradationAlert)] == ["degraded"]
    task.run("default", "S")
    assert [a.state for a in task.stated(m.DegradationAlert)] == ["degraded", "recovered"]
    assert [a.resolved for a in task.alerts("degradation")] == [False, True]


def test_ids_of_facts_are_unique_and_the_same_in_a_repetition() -> None:
    log = [
        *invocations("default", "S" * 30),
        *invocations("v2", "S" * 30, variant_source="explore"),
        a_command(m.ActivateVariant, variant_id="v2"),
        *invocations("v2", "F" * 15, active_epoch=2),
    ]
    once, again = Task(), Task()
    assert once.take(*log) == again.take(*log)
    for kind, field in [(m.Alert, "alert_id"), (m.Decision, "decision_id"), (m.DegradationAlert, "alert_id")]:
        ids = [getattr(fact, field) for fact in once.stated(kind)]
        assert ids
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_a_quarantined_target_is_free_when_it_becomes_active_and_not_when_that_is_only_reported(mode: Any) -> None:
    task = collapsed()
    task.run("default", "S" * 20, active_epoch=3)
    task.run("api-optimized", "S" * 30, variant_source="explore")
    assert (task.row.left, task.variant("api-optimized").quarantined) == (None, True)
    task.policy = Policy(operations=Operations(mode=mode))
    task.run("default", "F" * 20, active_epoch=3)
    event = task.stated(m.RollbackEvent)[1]
    assert (event.to_variant, event.enforced) == ("api-optimized", mode == "enforce")
    assert task.variant("api-optimized").quarantined is (mode == "shadow")


def test_shadow_mode_opens_one_alert_about_a_degradation_even_if_a_target_is_found_only_later() -> None:
    task = proven(Policy(operations=Operations(mode="shadow")))
    task.run("default", "F" * 10)
    assert task.stated(m.RollbackEvent) == []
    task.run("late", "S" * 40, variant_source="explore")
    task.run("default", "F")
    assert len(task.stated(m.RollbackEvent)) == 1
    assert [alert.resolved for alert in task.alerts("degradation")] == [False]
