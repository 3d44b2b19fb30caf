"""When a broken guardrail leads to a rollback, to which variant, and what is then reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor import gauges
from crl_stream.core.monitor.guardrail import guardrails_of
from crl_stream.core.monitor.row import Gauge, Incident, StandingOrder, Sums
from crl_stream.core.policy import Guardrails, Operations, Policy, Rollback, Rollout

from .costs import GUARDED, Work, two

BOTH = Guardrails(cost="rollback", tokens="rollback")


def steady(policy: Policy = GUARDED, other: float = 1.0) -> Work:
    """Return a task whose active variant ``a`` costs exactly 1, and which has explored ``b``."""
    return Work(policy)("a", 120, 1, cost=1.0)("b", 30, 1, cost=other, variant_source="explore")


def dear(work: Work, outcomes: int, cost: float = 4.0, **fields: Any) -> Work:
    return work("a", outcomes, 1, cost=cost, active_epoch=work.task.row.epoch, **fields)


def until_reported(work: Work, kind: type, most: int = 60, **fields: Any) -> Any:
    """Let ``a`` deliver such outcomes until something of this kind is stated; return it."""
    for _ in range(most):
        work("a", 1, 1, active_epoch=work.task.row.epoch, **fields)
        if found := work.task.stated(kind):
            return found[-1]
    raise AssertionError(f"no {kind.__name__}")


# -- what is reported --------------------------------------------------------------------------------
METRICS: list[tuple[str, str, Callable[[float], dict[str, Any]]]] = [
    ("cost", "Cost", lambda value: {"cost": value}),
    ("duration", "Duration", lambda value: {"cost": None, "duration_seconds": value}),
    ("tokens", "Tokens", lambda value: {"cost": None, "tokens_input": int(value) - 1, "tokens_output": 1}),
    ("calls_made", "Calls made", lambda value: {"cost": None, "metrics": {"calls_made": value}}),
    ("score", "Score", lambda value: {"cost": None, "metrics": {"score": value}}),
]


@pytest.mark.parametrize(("name", "label", "fields"), METRICS, ids=[name for name, *_ in METRICS])
def test_what_is_reported_agrees_with_a_recount_of_the_values(name: str, label: str, fields: Any) -> None:
    named = ("calls_made/rollback/higher_is_worse/0.5/0", "score/rollback/lower_is_worse/0.5/0")
    policy = Policy(guardrails=Guardrails("rollback", duration="rollback", tokens="rollback", metrics=named))
    usual, worse, sign = (8.0, 40.0, 1) if name != "score" else (8.0, 2.0, -1)
    work = Work(policy)("a", 120, 1, reward=0.5, **fields(usual))
    work("b", 30, 1, variant_source="explore", reward=0.5, **fields(usual))
    event = until_reported(work, m.RollbackEvent, reward=0.5, **fields(worse))
    new = work.task.variant("a").life.n - 120
    recent = ((20 - new) * usual + new * worse) / 20
    share = sign * (recent - usual) / usual
    verb, noun = ("rose", "increase") if sign > 0 else ("fell", "drop")
    assert event.reason == f"{label} {verb} from 8 to {recent:.4g} ({share:.1%} {noun}) over 20 outcomes"
    change = f"{name}_increase_pct" if sign > 0 else f"{name}_drop_pct"
    figures = {f"baseline_{name}": usual, f"recent_{name}": recent, change: pytest.approx(share), "sample_size": 20.0}
    assert event.degradation_metrics == figures
    gauge = Gauge()
    for value in [usual] * 120 + [worse] * new:
        found = gauges.measure(gauge, sign * value, 20, 200, 0.5, 1.0 if name == "duration" else 0.0)
    assert (event.evidence.e_value, event.evidence.e_values) == (pytest.approx(found), {name: event.evidence.e_value})
    assert event.evidence.sufficient
    judged = event.judged
    assert (judged.baseline_source, judged.baseline_variant, judged.baseline_n) == ("recent", "a", 100 + new)
    assert (judged.rewards, judged.successes) == ([0.5] * 20, "S" * 20)
    [alert] = work.task.stated(m.DegradationAlert)
    assert (alert.alert_id, alert.metric) == (event.cause_id, name)


def test_an_increase_from_nothing_is_reported_as_an_amount() -> None:
    work = Work()("a", 120, 1, cost=0.0)("a", 20, 1, cost=0.5)
    [alert] = work.alerts()
    assert alert.action.startswith("Cost rose from 0 to ")
    new = round(float(alert.action.split()[5]) * 20 / 0.5)
    assert f"(increase of {0.5 * new / 20:.4g}) over 20 outcomes" in alert.action
    assert 1 <= new <= 20


def test_a_newcomer_that_becomes_dear_later_is_compared_with_its_own_past() -> None:
    work = two(GUARDED)("b", 30, 0.01, variant_source="explore")
    work.task.order(m.ActivateVariant, variant_id="b")
    work("b", 200, 0.01, active_epoch=2)("b", 20, 0.04, active_epoch=2)
    [event] = work.task.stated(m.RollbackEvent)
    assert (event.to_variant, event.judged.baseline_source, event.judged.baseline_variant) == ("a", "recent", "b")
    assert work.task.variant("b").gauges["cost"].frozen is not None


def test_a_newcomer_is_compared_with_no_variant_by_name() -> None:
    work = two(GUARDED, other=0.04)("b", 200, 0.04, variant_source="explore")
    work.task.order(m.ActivateVariant, variant_id="b")
    work("b", 20, 0.04, active_epoch=2)
    [event] = work.task.stated(m.RollbackEvent)
    assert (event.judged.baseline_source, event.judged.baseline_variant) == ("replaced_variant", None)


def test_an_alert_stays_open_for_a_whole_window_and_its_end_says_what_the_level_is_now() -> None:
    work = Work()("a", 120, 1, cost=2.0)
    until_reported(work, m.Alert, cost=9.0)
    dear(work, 19, 2.0)
    assert [alert.resolved for alert in work.alerts()] == [False]
    dear(work, 1, 2.0)
    assert [alert.resolved for alert in work.alerts()] == [False, True]
    assert work.alerts()[-1].action == "cost is 2 over the last 20 outcomes, baseline 2"


def test_each_metric_has_its_alert_whatever_another_one_does() -> None:
    work = Work(Policy(guardrails=Guardrails(tokens="alert")))("a", 120, 1, cost=1.0, tokens_input=10)
    dear(work, 20, tokens_input=10)
    assert [alert.subject[-6:] for alert in work.alerts()] == ["a cost"]
    dear(work, 10, tokens_input=40)
    assert [alert.subject[-8:] for alert in work.alerts()[1:]] == ["a tokens"]


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_two_metrics_that_break_with_the_same_outcome_have_their_alerts_at_once(mode: Any) -> None:
    tokens: Any = "rollback" if mode == "shadow" else "alert"
    work = Work(Policy(guardrails=Guardrails(tokens=tokens), operations=Operations(mode=mode)))
    work("a", 120, 1, cost=1.0, tokens_input=10)("b", 30, 1, cost=1.0, tokens_input=10, variant_source="explore")
    while not work.alerts():
        dear(work, 1, tokens_input=40)
    assert [alert.subject[-8:] for alert in work.alerts()] == ["n a cost", "a tokens"]
    assert len(work.task.stated(m.RollbackEvent)) == (mode == "shadow")


def test_a_metric_whose_mean_is_fine_delays_no_other_one() -> None:
    """The first has evidence enough that it rose, but by less than the limit; the second breaks meanwhile."""
    work = Work(Policy(guardrails=Guardrails(tokens="alert")))("a", 120, 1, cost=1.0, tokens_input=10)
    dear(work, 20, 1.45, tokens_input=10)
    assert sum(work.task.variant("a").gauges["cost"].evidence) / 3 > 6_250
    assert not work.alerts()
    dear(work, 10, 1.45, tokens_input=40)
    assert [alert.subject[-8:] for alert in work.alerts()] == ["a tokens"]


def test_a_metric_whose_rollback_is_held_back_delays_no_other_one() -> None:
    work = Work(Policy(guardrails=BOTH))("a", 120, 1, cost=1.0, tokens_input=10)
    work.task.order(m.HoldTask)
    dear(work, 60, tokens_input=10)
    dear(work, 10, tokens_input=40)
    assert [alert.subject[-8:] for alert in work.alerts()] == ["n a cost", "a tokens"]


@given(st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**9))
def test_tokens_are_those_read_and_written_and_unknown_only_if_both_are(read: int | None, written: int | None) -> None:
    [tokens] = guardrails_of(Guardrails(cost="off", duration="off", tokens="alert"))
    found = tokens.value_of(an_invocation(tokens_input=read, tokens_output=written))
    known = [number for number in (read, written) if number is not None]
    assert found == (sum(known) if known else None)


# -- whether a rollback follows ----------------------------------------------------------------------
def held(work: Work) -> None:
    work.task.order(m.HoldTask)


def held_everywhere(work: Work) -> None:
    work.task.fleet = StandingOrder("ann", "look", work.task.now)


def in_an_incident(work: Work) -> None:
    row = work.task.row
    until, until_n = row.time + 10**9, row.n + 10_000
    row.incident = Incident("i", "provider:x", row.time, row.n, 0, row.offset, until, until_n, 9_999, "a", Sums(), {})


@pytest.mark.parametrize("prevent", [held, held_everywhere, in_an_incident])
def test_while_holds_or_incidents_last_there_is_one_alert_and_no_rollback(prevent: Any) -> None:
    work = steady()
    prevent(work)
    dear(work, 60)
    assert work.task.row.active == "a"
    assert [alert.resolved for alert in work.alerts()] == [False]
    assert not work.task.stated(m.RollbackEvent)


def test_a_rollback_after_a_hold_needs_new_evidence() -> None:
    work = steady()
    work.task.order(m.HoldTask)
    until_reported(work, m.Alert, cost=4.0)
    work.task.order(m.ResumeTask)
    dear(work, 1)
    assert work.task.row.active == "a"
    dear(work, 30)
    assert work.task.row.active == "b"


def test_a_metric_that_only_alerts_never_rolls_back_however_long_it_lasts() -> None:
    work = dear(steady(Policy()), 300)
    assert work.task.row.active == "a"
    assert len(work.alerts()) == 1


def test_in_shadow_mode_a_broken_guardrail_is_reported_once_even_after_a_hold_or_with_two_metrics() -> None:
    shadow = Policy(guardrails=BOTH, operations=Operations(mode="shadow"))
    work = steady(shadow)
    work.task.order(m.HoldTask)
    dear(work, 30)
    work.task.order(m.ResumeTask)
    dear(work, 60)
    assert len(work.alerts()) == 1
    for pause in (0, 30):
        again = Work(shadow)("a", 120, 1, cost=1.0, tokens_input=10)
        again("b", 30, 1, cost=1.0, tokens_input=10, variant_source="explore")
        dear(again, pause, tokens_input=10)
        dear(again, 60, tokens_input=40)
        assert [event.enforced for event in again.task.stated(m.RollbackEvent)] == [False]
        assert [alert.resolved for alert in again.alerts()] == [False, False]


def test_a_rollback_reported_in_shadow_mode_does_not_prevent_one_after_the_mode_changed() -> None:
    work = steady(Policy(guardrails=BOTH, operations=Operations(mode="shadow")))
    dear(work, 30)
    assert work.task.row.latch
    work.task.policy = Policy(guardrails=BOTH)
    dear(work, 30)
    assert work.task.row.active == "b"


def test_a_dear_candidate_stays_in_its_rollout_if_the_mode_became_shadow() -> None:
    rollout = Rollout(stages=(0.5,), min_outcomes=100)
    work = Work(Policy(guardrails=BOTH, rollout=rollout))("a", 120, 1, cost=1.0)
    work.task.order(m.RegisterVariant, variant_id="c")
    work.task.order(m.StartRollout, variant_id="c")
    work.task.policy = Policy(guardrails=BOTH, operations=Operations(mode="shadow"), rollout=rollout)
    for _ in range(40):
        dear(work, 1, 1.0)("c", 1, 1, cost=4.0, variant_source="explore", active_epoch=1)
    assert work.task.row.rollout is not None
    assert len(work.alerts()) == 1


def test_a_variant_that_is_explored_is_not_watched() -> None:
    work = steady()("b", 60, 1, cost=40.0, variant_source="explore")
    assert not work.alerts()
    assert not work.task.stated(m.DegradationAlert)


# -- to which variant --------------------------------------------------------------------------------
@pytest.mark.parametrize(("known", "other", "target"), [(4, 1.0, "a"), (5, 1.0, "b"), (30, 2.0, "a"), (30, 1.9, "b")])
def test_the_target_has_enough_costs_and_is_cheaper_by_more_than_the_limit(
    known: int, other: float, target: str
) -> None:
    work = Work(Policy(guardrails=Guardrails(cost="rollback")))("a", 120, 1, cost=1.0)
    work("b", 30 - known, 1, cost=None, variant_source="explore")
    work("b", known, 1, cost=other, variant_source="explore")
    dear(work, 200, 3.0)
    assert work.task.row.active == target


@pytest.mark.parametrize(("since_then", "target"), [(0, "b"), (9, "b"), (10, "a")])
def test_the_latest_costs_of_a_target_count_as_soon_as_there_are_enough(since_then: int, target: str) -> None:
    work = steady()("b", 90, 1, cost=1.0, variant_source="explore")
    work.task.order(m.ActivateVariant, variant_id="b")
    work("b", since_then, 1, cost=4.0, active_epoch=2)
    work.task.order(m.ActivateVariant, variant_id="a")
    dear(work, 60)
    assert work.task.row.active == target


def test_values_of_a_target_in_the_other_direction_say_nothing() -> None:
    def policy(direction: str) -> Policy:
        named = (f"x/rollback/{direction}_is_worse/0.5/0",)
        return Policy(guardrails=Guardrails(cost="off", duration="off", metrics=named))

    work = Work(policy("lower"))("b", 60, 1, metrics={"x": 1.0}, variant_source="explore")
    work.task.policy = policy("higher")
    work("a", 120, 1, metrics={"x": 1.0})("a", 60, 1, metrics={"x": 4.0}, active_epoch=1)
    assert work.task.row.active == "a"
    assert len(work.alerts()) == 1


def test_why_a_variant_is_no_target_is_reported() -> None:
    work = steady()("c", 30, 1, cost=3.5, variant_source="explore")("d", 30, 1, cost=None, variant_source="explore")
    event = until_reported(work, m.RollbackEvent, cost=4.0)
    why = {each.variant_id: each.why_not for each in event.candidates}
    [recent] = [value for name, value in event.degradation_metrics.items() if name == "recent_cost"]
    assert why == {"b": None, "c": f"its cost is 3.5 against {recent:.4g}", "d": "its cost is not known"}


def test_a_quarantined_variant_that_is_cheaper_again_leaves_quarantine_only_if_the_rollback_takes_place() -> None:
    for mode in ("enforce", "shadow"):
        work = dear(steady(), 30)
        assert work.task.variant("a").quarantined
        work.task.policy = Policy(guardrails=BOTH, operations=Operations(mode=mode))  # type: ignore[arg-type]
        work("b", 60, 1, cost=60.0, active_epoch=2)
        assert work.task.stated(m.RollbackEvent)[-1].to_variant == "a"
        assert work.task.row.active == ("a" if mode == "enforce" else "b")
        assert work.task.variant("a").quarantined is (mode == "shadow")


@pytest.mark.parametrize("verify", [True, False])
def test_a_rollback_for_cost_is_verified_only_if_rollbacks_are(verify: bool) -> None:
    work = dear(steady(Policy(guardrails=BOTH, rollback=Rollback(verify=verify))), 30)
    assert work.task.row.active == "b"
    work("b", 12, 1, cost=1.0, status="failure", active_epoch=2)
    assert (work.task.row.cause == "rollback_verified_worse") is verify
