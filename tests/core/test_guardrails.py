"""A variant that becomes dearer, slower or worse in a named metric at the same quality is noticed."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.policy import Degradation, Guardrails, Operations, Policy, PolicySet, Rollout

from .costs import ALERTING, GUARDED, Work, two


def test_a_variant_that_becomes_four_times_dearer_is_alerted_once_and_stays_active() -> None:
    work = two()("a", 60, 0.04, active_epoch=1)
    [alert] = work.alerts()
    assert (alert.severity, alert.subject, alert.limit) == ("warning", "backend-architect/api-design a cost", 0.5)
    assert alert.text.startswith("backend-architect/api-design a cost: Cost rose from 0.009")
    assert "crl accept backend-architect/api-design a" in alert.text
    assert work.task.row.active == "a"
    assert not work.task.stated(m.RollbackEvent)


def test_it_is_noticed_within_twenty_outcomes() -> None:
    for seed in range(20):
        work = Work(seed=seed)("a", 120, 0.01)
        before = work.task.row.n
        while not work.alerts():
            work("a", 1, 0.04)
        assert work.task.row.n - before <= 20


def test_if_configured_it_is_rolled_back_to_a_cheaper_variant_that_is_not_worse() -> None:
    work = two(GUARDED)("a", 60, 0.04, active_epoch=1)
    [event] = work.task.stated(m.RollbackEvent)
    assert (event.from_variant, event.to_variant, work.task.row.active) == ("a", "b", "b")
    assert event.reason.startswith("Cost rose from 0.009")
    assert set(event.degradation_metrics) == {"baseline_cost", "recent_cost", "cost_increase_pct", "sample_size"}
    assert event.evidence.e_value >= event.evidence.threshold == 6_250
    [cause] = work.task.stated(m.DegradationAlert)
    assert (cause.alert_id, cause.metric) == (event.cause_id, "cost")
    assert work.alerts() == []
    assert work.task.variant("a").quarantined


def test_a_rollback_never_goes_to_a_variant_that_is_as_dear_or_worse_or_whose_cost_is_unknown() -> None:
    dear = two(GUARDED, other=0.04)("a", 60, 0.04, active_epoch=1)
    bad = Work(GUARDED)("a", 120, 0.01)("b", 30, 0.01, variant_source="explore", status="failure")
    bad("a", 60, 0.04, active_epoch=1)
    unknown = Work(GUARDED)("a", 120, 0.01)("b", 30, 0.01, variant_source="explore", cost=None)
    unknown("a", 60, 0.04, active_epoch=1)
    for work in (dear, bad, unknown):
        assert work.task.row.active == "a"
        assert len(work.alerts()) == 1


def test_a_rollback_for_cost_is_taken_back_if_the_target_delivers_less() -> None:
    work = two(GUARDED)("a", 60, 0.04, active_epoch=1)
    assert work.task.row.active == "b"
    work("b", 20, 0.01, status="failure", active_epoch=2)
    assert work.task.row.cause == "rollback_verified_worse"
    work("a", 60, 0.04, active_epoch=3)
    assert work.task.row.active == "a", "what it costs is its baseline now"
    assert len(work.task.stated(m.RollbackEvent)) == 1


@pytest.mark.parametrize("mode", ["shadow", "observe"])
def test_in_shadow_and_observe_mode_nothing_changes(mode: str) -> None:
    policy = Policy(guardrails=GUARDED.guardrails, operations=Operations(mode=mode))  # type: ignore[arg-type]
    work = two(policy)("a", 60, 0.04, active_epoch=1)
    assert work.task.row.active == "a"
    assert [event.enforced for event in work.task.stated(m.RollbackEvent)] == [False] * (mode == "shadow")
    assert len(work.alerts()) == 1


@pytest.mark.parametrize("order", [m.HoldTask, m.PinVariant])
def test_a_hold_prevents_the_rollback_and_a_pin_does_not(order: type) -> None:
    work = two(GUARDED)
    work.task.order(order)
    work("a", 60, 0.04, active_epoch=1)
    assert (work.task.row.active == "a") is (order is m.HoldTask)


def test_a_metric_that_is_off_is_not_even_kept() -> None:
    work = two(Policy(guardrails=Guardrails(cost="off")))("a", 60, 0.4, active_epoch=1)
    assert not work.alerts()
    assert not work.task.variant("a").gauges


@pytest.mark.parametrize("cost", ["off", "alert"])
def test_the_alert_about_a_metric_that_is_switched_off_ends_with_the_next_outcome(cost: str) -> None:
    work = two()("a", 40, 0.04, active_epoch=1)
    others = ("x/alert/higher_is_worse/0.5/0",) if cost == "off" else ()
    work.task.policy = Policy(guardrails=Guardrails(cost=cost, duration="off", metrics=others))  # type: ignore[arg-type]
    work("a", 3, 0.04, active_epoch=1)
    told = [(alert.resolved, alert.action) for alert in work.alerts()[1:]]
    assert told == ([(True, "resolved: cost is no longer watched")] if cost == "off" else [])
    assert ("cost" in work.task.variant("a").gauges) is (cost == "alert")
    work.task.policy = ALERTING
    work("a", 100, 0.04, active_epoch=1)
    assert len(work.alerts()) == (2 if cost == "off" else 1), "what it costs now is the baseline if it is watched again"


def test_with_all_metrics_off_no_alert_stays_open() -> None:
    work = two()("a", 40, 0.04, active_epoch=1)
    work.task.policy = Policy(guardrails=Guardrails(cost="off", duration="off"))
    work("a", 1, 0.04, active_epoch=1)
    assert [alert.resolved for alert in work.alerts()] == [False, True]
    assert not work.task.variant("a").gauges


@pytest.mark.parametrize("first", ["lower", "higher"])
def test_values_from_before_a_metric_changed_its_direction_say_nothing(first: str) -> None:
    second = {"lower": "higher", "higher": "lower"}[first]

    def policy(direction: str) -> Policy:
        return Policy(guardrails=Guardrails(metrics=(f"x/alert/{direction}_is_worse/0.5/0",)))

    work = Work(policy(first))("a", 120, 0.01, metrics={"x": 0.9})
    work.task.policy = policy(second)
    work("a", 120, 0.01, metrics={"x": 0.9})
    assert not work.alerts()
    work("a", 40, 0.01, metrics={"x": 0.1 if second == "lower" else 3.0})
    [alert] = work.alerts()
    assert alert.action.startswith("X fell from 0.9" if second == "lower" else "X rose from 0.9")


@pytest.mark.parametrize("name", ["cost", "duration", "tokens", "x"])
def test_a_metric_never_has_the_name_of_another_one(name: str) -> None:
    metrics = ("x/alert/higher_is_worse/0.5/0", f"{name}/off/lower_is_worse/0.5/0")
    with pytest.raises(ValueError, match=f"'{name}' is already the name of a metric"):
        Guardrails(metrics=metrics)
    text = b'{"default":{"guardrails":{"metrics":["%s","%s"]}}}' % tuple(metric.encode() for metric in metrics)
    with pytest.raises(msgspec.ValidationError, match="already the name of a metric"):
        PolicySet.parse(text)


def test_after_an_alert_a_new_one_needs_new_evidence() -> None:
    again = 0
    for seed in range(20):
        work = Work(seed=seed)("a", 120, 0.01)("a", 100, 0.04)("a", 1_000, 0.013)
        again += len([alert for alert in work.alerts() if not alert.resolved]) - 1
    assert again == 0, "30 % more is accepted, and 20 skewed costs exceed any limit now and then"


def test_the_successor_of_a_variant_that_became_dearer_is_compared_with_what_that_one_was_compared_with() -> None:
    work = two(ALERTING, other=0.04)("b", 30, 0.04, variant_source="explore")
    work.task.order(m.ActivateVariant, variant_id="b")
    work("b", 30, 0.04, active_epoch=2)
    assert len(work.alerts()) == 1
    work.task.order(m.RegisterVariant, variant_id="c")
    work.task.order(m.ActivateVariant, variant_id="c", untested=True)
    frozen = work.task.variant("c").gauges["cost"].frozen
    assert frozen is not None
    assert frozen.total / frozen.n == pytest.approx(0.01, rel=0.2)


def test_a_rise_that_all_variants_share_is_not_answered_by_going_back_and_forth() -> None:
    work = two(GUARDED)
    for _ in range(10):
        work(str(work.task.row.active), 60, 0.04, active_epoch=work.task.row.epoch)
    assert len(work.task.stated(m.RollbackEvent)) == 1
    assert work.task.row.active == "b"
    assert work.alerts(), "operators hear that b is dear too"


def test_a_rollback_that_a_hold_prevented_follows_when_the_hold_ends() -> None:
    work = two(GUARDED)
    work.task.order(m.HoldTask)
    work("a", 60, 0.04, active_epoch=1)
    assert [alert.resolved for alert in work.alerts()] == [False]
    work.task.order(m.ResumeTask)
    work("a", 2, 0.04, active_epoch=1)
    [event] = work.task.stated(m.RollbackEvent)
    assert (event.from_variant, event.to_variant, work.task.row.active) == ("a", "b", "b")
    assert event.cause_id == work.task.stated(m.DegradationAlert)[-1].alert_id
    assert [alert.resolved for alert in work.alerts()] == [False, True]


def test_a_rollback_without_a_target_follows_when_there_is_one() -> None:
    work = Work(GUARDED)("a", 120, 0.01)("a", 60, 0.04)
    assert [alert.resolved for alert in work.alerts()] == [False]
    work("b", 30, 0.01, variant_source="explore")("a", 2, 0.04)
    assert work.task.row.active == "b"


def test_a_rollback_for_one_metric_leaves_no_alert_about_another_one_open() -> None:
    policy = Policy(guardrails=Guardrails(cost="alert", tokens="rollback"))
    work = Work(policy)("a", 120, 0.01, tokens_input=10)("b", 30, 0.01, variant_source="explore", tokens_input=10)
    work("a", 60, 0.04, cost=0.4, tokens_input=400, active_epoch=1)
    assert work.task.row.active == "b"
    assert sum(not alert.resolved for alert in work.alerts()) == sum(alert.resolved for alert in work.alerts())


def test_an_increase_below_the_floor_is_accepted() -> None:
    assert not two(Policy(guardrails=Guardrails(cost_floor=0.1)))("a", 100, 0.04, active_epoch=1).alerts()


@pytest.mark.parametrize("memory", [40, 60, 100])
def test_a_short_memory_is_enough_to_notice_that_a_variant_becomes_dearer(memory: int) -> None:
    work = Work(Policy(degradation=Degradation(memory=memory)))("a", 200, 0.01)
    assert not work.alerts()
    assert work("a", 40, 0.04).alerts()


def test_one_huge_outcome_is_not_enough() -> None:
    for cost in (1.0, 1e3, 1e9):
        work = two()("a", 20, 0.01, active_epoch=1)
        work("a", 1, 0.01, cost=cost, active_epoch=1)("a", 60, 0.01, active_epoch=1)
        assert not work.alerts(), cost


def test_a_variant_whose_cost_was_always_zero_and_then_is_not_is_noticed() -> None:
    work = Work()("a", 120, 0.0)("a", 1, 0.02)
    assert not work.alerts()
    assert work("a", 40, 0.02).alerts()


def test_the_alert_ends_when_the_cost_is_back() -> None:
    work = two()("a", 40, 0.04, active_epoch=1)("a", 60, 0.01, active_epoch=1)
    assert [alert.resolved for alert in work.alerts()] == [False, True]
    work("a", 40, 0.04, active_epoch=1)
    assert [alert.resolved for alert in work.alerts()] == [False, True, False]


def test_a_person_may_accept_the_level_and_then_it_is_the_baseline() -> None:
    work = two()("a", 40, 0.04, active_epoch=1)
    result = work.task.order(m.AcceptLevel)
    assert (result.outcome, result.detail) == ("applied", "the present cost of a is its new baseline")
    assert work.alerts()[-1].action == "resolved: ada accepted the level"
    work("a", 200, 0.04, active_epoch=1)
    assert len(work.alerts()) == 2
    work("a", 40, 0.16, active_epoch=1)
    assert [alert.resolved for alert in work.alerts()] == [False, True, False]
    assert work.task.order(m.AcceptLevel).outcome == "applied"
    assert work.task.order(m.AcceptLevel).detail == "a is not degraded, so its baseline stays"


def test_accepting_a_level_leaves_metrics_alone_that_are_not_broken() -> None:
    work = Work()("a", 120, 0.01, duration_seconds=20.0)("a", 40, 0.04, duration_seconds=20.0)
    assert [alert.subject for alert in work.alerts()] == ["backend-architect/api-design a cost"]
    assert work.task.order(m.AcceptLevel).detail == "the present cost of a is its new baseline"
    work("a", 40, 0.04, duration_seconds=80.0)
    assert [alert.subject[-8:] for alert in work.alerts() if not alert.resolved] == ["n a cost", "duration"]


def test_accepting_the_level_of_a_degraded_variant_leaves_its_cost_alone() -> None:
    work = Work()("a", 120, 0.01)("a", 20, 0.01, status="failure")("a", 10, 0.01)
    assert work.task.variant("a").degraded
    assert work.task.order(m.AcceptLevel).outcome == "applied"
    assert work("a", 40, 0.04).alerts(), "the cost was in order, so its baseline stays"


def test_a_newcomer_is_compared_with_the_replaced_variant_also_right_after_a_metric_changed_its_direction() -> None:
    def policy(direction: str) -> Policy:
        return Policy(guardrails=Guardrails(metrics=(f"x/alert/{direction}_is_worse/0.5/0",)))

    work = Work(policy("lower"))("a", 60, 0.01, metrics={"x": 0.9})
    work("b", 60, 0.01, metrics={"x": 0.3}, variant_source="explore")
    work.task.policy = policy("higher")
    work("a", 60, 0.01, metrics={"x": 0.1})
    work.task.order(m.ActivateVariant, variant_id="b")
    frozen = work.task.variant("b").gauges["x"].frozen
    assert frozen is not None
    assert frozen.total / frozen.n == pytest.approx(0.1)
    [alert] = work("b", 40, 0.01, metrics={"x": 0.3}, active_epoch=2).alerts()
    assert alert.action.startswith("X rose from 0.1 to 0.3")


def test_a_newcomer_is_compared_with_the_variant_it_replaced_even_if_it_was_always_that_dear() -> None:
    work = two(GUARDED, other=0.04)("b", 200, 0.04, variant_source="explore")
    assert not work.alerts()
    work.task.order(m.ActivateVariant, variant_id="b")
    work("b", 20, 0.04, active_epoch=work.task.row.epoch)
    [event] = work.task.stated(m.RollbackEvent)
    assert (event.from_variant, event.to_variant, event.judged.baseline_source) == ("b", "a", "replaced_variant")


def test_a_variant_that_returns_is_compared_with_its_own_past() -> None:
    work = two(ALERTING, other=0.04)
    work.task.order(m.ActivateVariant, variant_id="b")
    work("b", 5, 0.04, active_epoch=2)
    work.task.order(m.UndoRollback)
    work("a", 60, 0.01, active_epoch=3)
    assert not work.alerts()


def test_a_dearer_candidate_ends_its_rollout_if_configured_and_else_is_alerted() -> None:
    for action in ("alert", "rollback"):
        policy = Policy(
            guardrails=Guardrails(cost=action),  # type: ignore[arg-type]
            rollout=Rollout(stages=(0.5,), min_outcomes=100),
        )
        work = Work(policy)("a", 120, 0.01)
        work.task.order(m.RegisterVariant, variant_id="c")
        work.task.order(m.StartRollout, variant_id="c")
        for _ in range(30):
            work("a", 1, 0.01, active_epoch=1)("c", 1, 0.04, variant_source="explore", active_epoch=1)
        assert (work.task.row.rollout is None) is (action == "rollback")
        assert [alert.resolved for alert in work.alerts()] == ([False] if action == "alert" else [])
        assert work.task.variant("c").quarantined is (action == "rollback")


@pytest.mark.parametrize("other", ["b", "a"])
def test_the_alert_about_a_candidate_ends_with_its_rollout_also_if_another_variant_becomes_active(other: str) -> None:
    work = Work(Policy(rollout=Rollout(stages=(0.5,), min_outcomes=100)))("a", 120, 0.01)
    work("b", 30, 0.01, variant_source="explore")
    work.task.order(m.RegisterVariant, variant_id="c")
    work.task.order(m.StartRollout, variant_id="c")
    for _ in range(30):
        work("a", 1, 0.01, active_epoch=1)("c", 1, 0.04, variant_source="explore", active_epoch=1)
    assert [alert.resolved for alert in work.alerts()] == [False]
    if other == "b":
        work.task.order(m.ActivateVariant, variant_id="b")
    else:
        work.task.order(m.AbortRollout)
    assert [(alert.resolved, alert.subject[-6:]) for alert in work.alerts()[1:]] == [(True, "c cost")]
    assert not work.task.variant("c").gauges["cost"].open_alert


def test_duration_and_tokens_and_named_metrics_are_watched_in_their_own_direction() -> None:
    metrics = ("groundedness/alert/lower_is_worse/0.2/0.05", "tool_calls/alert/higher_is_worse/0.5/2")
    policy = Policy(guardrails=Guardrails(cost="off", tokens="alert", metrics=metrics))
    work, luck = Work(policy), Random(1)

    def draw(outcomes: int, **means: float) -> None:
        for _ in range(outcomes):
            values = {name: mean * luck.uniform(0.9, 1.1) for name, mean in means.items()}
            work(
                "a",
                1,
                0.01,
                duration_seconds=values["duration"],
                tokens_input=int(values["tokens"]),
                metrics={"groundedness": values["ground"], "tool_calls": values["calls"], "other": 1.0},
            )

    usual = {"duration": 20.0, "tokens": 1_000.0, "ground": 0.9, "calls": 3.0}
    draw(120, **usual)
    draw(60, **usual | {"calls": 4.5})
    assert not work.alerts(), "an increase by half, or by less than the floor, is accepted"
    for name, value, told in (
        ("duration", 80.0, "Duration rose from "),
        ("tokens", 4_000.0, "Tokens rose from "),
        ("ground", 0.45, "Groundedness fell from 0.9"),
        ("calls", 30.0, "Tool calls rose from "),
    ):
        draw(40, **usual | {name: value})
        assert work.alerts()[-1].action.startswith(told), name
        draw(60, **usual)
        assert work.alerts()[-1].resolved


def test_healthy_costs_raise_fewer_false_alarms_than_the_budget_allows() -> None:
    outcomes = alarms = 0
    for seed in range(12):
        work = Work(seed=seed)("a", 1_500, 0.01)
        outcomes, alarms = outcomes + 1_500, alarms + len([one for one in work.alerts() if not one.resolved])
    assert alarms <= outcomes / 5_000


def test_a_row_of_an_engine_without_guardrails_decodes() -> None:
    work = two()
    assert decode_row(encode_row(work.task.row)).variants["a"].gauges == work.task.variant("a").gauges
