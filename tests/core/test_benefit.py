"""Whether a change of the active variant helped: judged after 20 and 50 outcomes, against what was promised."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.policy import Operations, Policy, Rollout

from .task import Task, collapsed, proven
from .test_feedback import feedback

SHADOW = Policy(operations=Operations(mode="shadow"))
"""Only a person changes the active variant."""


def changed(old: str = "SSSSF" * 8, new: str = "S" * 20, policy: Policy | None = None) -> Task:
    """Return a task in which a person has just replaced ``default`` by ``v2``."""
    task = Task(policy)
    task.run("default", old)
    task.run("v2", new, variant_source="explore")
    if task.row.active == "default":
        task.order(m.ActivateVariant, variant_id="v2")
    assert task.row.active == "v2"
    return task


def judged(task: Task) -> list[m.Benefit]:
    return list(task.stated(m.Benefit))


def test_a_change_is_judged_after_20_and_after_50_outcomes_and_then_no_more() -> None:
    task = changed()
    task.run("v2", "S" * 19)
    assert judged(task) == []
    task.run("v2", "S")
    [early] = judged(task)
    assert (early.outcomes, early.final, early.finding) == (20, False, "helped")
    task.run("v2", "S" * 29)
    assert judged(task) == [early]
    task.run("v2", "S")
    [_, late] = judged(task)
    assert (late.outcomes, late.final, late.finding, late.epoch) == (50, True, "helped", early.epoch)
    assert late.benefit_id != early.benefit_id
    task.run("v2", "S" * 60)
    assert len(judged(task)) == 2
    assert task.row.prediction is None


def test_the_prediction_is_what_both_had_delivered_when_the_change_was_made() -> None:
    task = changed(old="SSSSF" * 8, new="SSSF" * 5)
    task.run("v2", "S" * 20)
    [fact] = judged(task)
    assert (fact.expected.n, fact.expected.success_rate) == (20, 0.75)
    assert (fact.before.n, fact.before.success_rate) == (40, 0.8)
    assert (fact.delivered.n, fact.delivered.success_rate) == (20, 1.0)
    assert fact.success_gain is not None
    assert fact.success_gain.expected == pytest.approx(-0.05)
    assert fact.success_gain.observed == pytest.approx(0.2)
    assert fact.compared_with == "promise"


def test_the_interval_is_that_of_two_means_with_half_a_good_and_half_a_bad_outcome_added() -> None:
    task = changed()
    task.run("v2", "SSSSSSSSSF" * 2)
    [fact] = judged(task)

    def variance(good: int, n: int) -> float:
        mean = (good + 0.5) / (n + 1)
        return mean * (1 - mean) / (n + 2)

    width = 1.6448536269514722 * sqrt(variance(18, 20) + variance(32, 40))
    assert fact.success_gain is not None
    assert (fact.success_gain.low, fact.success_gain.high) == pytest.approx((0.1 - width, 0.1 + width))
    assert fact.finding == "no_change", "a tenth more in 20 outcomes may be chance"
    assert "no difference that can be told from chance" in fact.reasoning


def test_a_change_for_the_worse_has_hurt() -> None:
    task = changed(old="S" * 40, policy=SHADOW)
    task.run("v2", "SF" * 10)
    [fact] = judged(task)
    assert (fact.finding, fact.final) == ("hurt", False)
    assert fact.reasoning.startswith("v2 delivered less in 20 outcomes since it replaced default: reward")


def test_another_change_ends_the_judgement_and_too_few_outcomes_leave_it_open() -> None:
    task = changed()
    task.run("v2", "S" * 9)
    task.order(m.UndoRollback)
    [fact] = judged(task)
    assert (fact.finding, fact.final, fact.outcomes) == ("open", True, 9)
    assert "only 9 outcomes since it replaced default, and 10 are needed" in fact.reasoning
    assert task.row.prediction is not None
    assert task.row.prediction.cause == "undo"


def test_a_rollback_is_compared_with_what_the_degraded_window_promised_not_with_the_lifetime() -> None:
    task = collapsed()
    [event] = task.stated(m.RollbackEvent)
    [left] = judged(task)
    assert (left.variant_id, left.final, left.cause) == ("api-optimized", True, "command")
    task.run("default", "S" * 20)
    fact = judged(task)[-1]
    assert (fact.cause, fact.cause_id, fact.from_variant) == ("rollback", event.rollback_id, "api-optimized")
    life = task.variant("api-optimized").life
    assert fact.before.n < life.n
    assert fact.before.success_rate < life.successes / life.n


def test_outcomes_of_the_replaced_variant_over_the_same_time_are_a_fairer_comparison() -> None:
    task = changed(policy=SHADOW)
    for _ in range(10):  # an outage strikes both
        task.run("v2", "SF")
        task.run("default", "SF", variant_source="explore")
    fact = judged(task)[-1]
    assert (fact.compared_with, fact.before.n, fact.finding) == ("outcomes", 18, "no_change")


def test_the_first_variant_and_a_rollback_that_is_only_reported_promise_nothing() -> None:
    task = Task()
    task.run("default", "S" * 60)
    assert judged(task) == []
    shadow = proven(SHADOW, v2="S" * 30)
    shadow.run("default", "F" * 70)
    assert shadow.stated(m.RollbackEvent)
    assert judged(shadow) == []


def test_an_untested_variant_has_no_prediction() -> None:
    task = Task()
    task.run("default", "S" * 40)
    task.order(m.RegisterVariant, variant_id="new")
    task.order(m.ActivateVariant, variant_id="new", untested=True)
    task.run("new", "S" * 20)
    [fact] = judged(task)
    assert fact.expected.n == 0
    assert fact.success_gain is not None
    assert fact.success_gain.expected is None


def test_a_late_score_of_an_outcome_from_before_the_change_changes_nothing() -> None:
    task = Task()
    task.run("default", "S" * 40)
    for number in range(20):
        task.take(an_invocation("v2", "success", invocation_id=f"v{number}", variant_source="explore"))
    if task.row.active == "default":
        task.order(m.ActivateVariant, variant_id="v2")
    task.take(feedback("v19", reward=-1.0))
    task.run("v2", "S" * 20)
    [fact] = judged(task)
    assert fact.delivered.avg_reward == pytest.approx(task.variant("v2").judged.reward / 20 / 1e6)


def test_a_proposal_that_was_approved_is_named() -> None:
    task = Task()
    task.run("default", "SSSF" * 10)
    task.run("v2", "SSSSSSSF" * 3, variant_source="explore")
    change = m.Change(action="activate", variant_id="v2")
    task.order(m.ApproveProposal, proposal_id="prop-1", change=change)
    assert (task.row.active, task.row.cause) == ("v2", "approval")
    task.run("v2", "S" * 20)
    assert judged(task)[-1].proposal_id == "prop-1"


@given(st.text("SFE", min_size=1, max_size=40), st.text("SFE", max_size=40), st.text("SFE", max_size=120), st.data())
def test_a_finding_is_what_its_intervals_say(old: str, new: str, later: str, data: st.DataObject) -> None:
    task = Task(Policy(rollout=Rollout(stages=())))
    task.run("default", old)
    task.run("v2", new, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2", untested=True)
    for letter in later:
        task.run(data.draw(st.sampled_from(["v2", "v2", "default"])), letter)
        task.row = decode_row(encode_row(task.row))
    for fact in judged(task):
        assert (fact.outcomes >= 50) <= fact.final
        if fact.finding == "open":
            assert fact.outcomes < 10 or fact.before.n < 10
            continue
        gains = [fact.success_gain, fact.reward_gain]
        assert all(gain is not None and gain.low <= gain.observed <= gain.high for gain in gains)
        up, down = [any(f(gain) for gain in gains if gain) for f in (lambda g: g.low > 0, lambda g: g.high < 0)]
        if fact.finding == "helped":
            assert not down
        if fact.finding == "hurt":
            assert not up
    by_epoch: dict[int, list[Any]] = {}
    for fact in judged(task):
        by_epoch.setdefault(fact.epoch, []).append(fact)
    for facts in by_epoch.values():
        assert sum(fact.final for fact in facts) <= 1
        assert len(facts) <= 2


def test_the_row_keeps_the_prediction() -> None:
    task = changed()
    task.run("v2", "S" * 5)
    row = decode_row(encode_row(task.row))
    assert row.prediction == task.row.prediction


def test_the_promotions_that_kept_their_promise_are_counted_and_other_changes_are_not() -> None:
    task = Task(SHADOW)
    task.run("default", "SF" * 20)
    task.run("v2", "S" * 20, variant_source="explore")
    for number, better in enumerate(["v2", "default", "v2"]):
        if task.row.active == better:
            continue
        task.order(m.ApproveProposal, proposal_id=f"p{number}", change=m.Change(action="activate", variant_id=better))
        task.run(better, "S" * 60 if better == "v2" else "F" * 60)
    task.order(m.UndoRollback)
    task.run(task.row.active or "", "S" * 60)
    kept = task.row.promotions
    finals = [fact for fact in judged(task) if fact.final and fact.cause == "approval" and fact.finding != "open"]
    assert kept is not None
    assert (kept.helped, kept.hurt) == (
        sum(fact.finding == "helped" for fact in finals),
        sum(fact.finding == "hurt" for fact in finals),
    )
    assert kept.helped >= 1
    assert kept.hurt >= 1
    shown = task.stated(m.TaskSnapshot)[-1].promotions
    assert (shown.judged, shown.helped, shown.hurt) == (len(finals), kept.helped, kept.hurt)
