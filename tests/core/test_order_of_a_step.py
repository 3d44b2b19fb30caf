"""The order in which a step works: removing any condition that enforces it makes one of these tests fail."""

from __future__ import annotations

from typing import Any

from builders import invocations

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import StandingOrder, encode_row
from crl_stream.core.monitor.step import Context, Step, fold, follow_fleet, pass_time, step
from crl_stream.core.policy import AutoApply, Operations, Policy, Rollback
from crl_stream.guide.looking import look_again

from .task import HOUR, KEY, NOON, Task, proven

FLEET = StandingOrder("grace", "freeze", NOON, until=NOON + 24 * HOUR)
AT_ONCE = AutoApply(cooldown=0)


def at(task: Task, fleet: StandingOrder | None = None) -> Context:
    """Return the next position in the log."""
    task.offset += 1
    task.now += 1_000
    return Context(0, task.offset, task.now, 7, "0" * 16, fleet)


def under(task: Task, fleet: StandingOrder | None, variant_id: str, outcomes: str, **fields: Any) -> list[Any]:
    """Fold outcomes while the hold on the fleet is ``fleet``; return their facts."""
    facts: list[Any] = []
    for message in invocations(variant_id, outcomes, **fields):
        facts += step(task.row, message, at(task, fleet), task.policy).facts
    return facts


# -- a promotion -------------------------------------------------------------------------------------
def about_to_roll_back(policy: Policy) -> Task:
    """Build a task whose next failure degrades ``default``; ``steady`` is a target, and ``quick`` could be promoted."""
    task = proven(policy, steady="SSSSSSSSSF" * 4)
    task.run("default", "FFF")
    task.run("quick", "S" * 20, variant_source="explore")
    assert task.row.active == "default" and not task.variant("default").degraded
    return task


def promoted(facts: list[Any]) -> list[str]:
    return [fact.to_variant for fact in facts if isinstance(fact, m.Activation) and fact.cause == "auto_apply"]


def test_an_outcome_that_rolls_back_promotes_nobody_even_without_a_cooldown() -> None:
    task = about_to_roll_back(Policy(auto_apply=AT_ONCE, rollback=Rollback(min_samples=30)))
    assert promoted(task.run("default", "F")) == []
    assert [event.to_variant for event in task.stated(m.RollbackEvent)] == ["steady"]
    assert promoted(task.run("steady", "S", active_epoch=2)) == ["quick"]


def test_in_shadow_mode_an_outcome_that_would_roll_back_promotes_nobody() -> None:
    task = about_to_roll_back(Policy(auto_apply=AT_ONCE, operations=Operations(mode="shadow")))
    assert promoted(task.run("default", "F")) == []
    assert len(task.stated(m.RollbackEvent)) == 1
    assert promoted(task.run("default", "F")) == ["quick"]


# -- expiry, and holds on the fleet ------------------------------------------------------------------
def test_a_hold_alone_ends_with_the_first_outcome_after_its_time() -> None:
    task = proven()
    task.order(m.HoldTask, hours=1.0)
    task.pass_time(2 * HOUR)
    facts = task.run("default", "S")
    assert task.row.held is None
    assert [fact.held for fact in facts if isinstance(fact, m.ActiveVariant)] == [None]


def test_a_pin_alone_ends_with_the_first_outcome_after_its_time() -> None:
    task = proven()
    task.order(m.PinVariant, hours=1.0)
    task.pass_time(2 * HOUR)
    facts = task.run("default", "S")
    assert task.row.pinned is None
    assert len([fact for fact in facts if isinstance(fact, m.ActiveVariant)]) == 1


def holders(facts: list[Any]) -> list[str | None]:
    """Return the holder of the task according to each published active-variant record."""
    return [fact.held and fact.held.actor for fact in facts if isinstance(fact, m.ActiveVariant)]


def test_a_hold_of_the_fleet_and_its_end_are_published_with_the_next_outcome_and_once() -> None:
    task = proven()
    assert holders(under(task, FLEET, "default", "SS")) == ["grace"]
    assert holders(under(task, None, "default", "SS")) == [None]


def test_a_hold_of_the_fleet_and_its_end_are_published_when_time_passes() -> None:
    task = proven()
    assert holders(list(pass_time(task.row, at(task, FLEET), task.policy))) == ["grace"]
    assert holders(list(pass_time(task.row, at(task), task.policy))) == [None]
    assert holders(list(pass_time(task.row, at(task), task.policy))) == []


def test_a_hold_of_the_fleet_that_follows_another_in_the_same_millisecond_is_published() -> None:
    task = proven()
    follow_fleet(task.row, at(task, FLEET), task.policy)
    other = StandingOrder("hedy", "freeze", FLEET.since, until=FLEET.until)
    assert holders(list(follow_fleet(task.row, at(task, other), task.policy).facts)) == ["hedy"]


def test_a_hold_of_the_fleet_keeps_a_degraded_variant_and_whoever_holds_next_is_named_at_once() -> None:
    task = proven(v2="S" * 30)
    facts = under(task, FLEET, "default", "F" * 6)
    told = [fact.text for fact in facts if isinstance(fact, m.Alert) and fact.kind == "held_degradation"]
    assert task.row.active == "default" and len(told) == 1
    assert "the fleet has been held by grace" in told[0] and "crl resume --all" in told[0]
    next_one = StandingOrder("hedy", "freeze", FLEET.since + 1, until=FLEET.until)
    facts = under(task, next_one, "default", "FF")
    told = [fact.text for fact in facts if isinstance(fact, m.Alert) and fact.kind == "held_degradation"]
    assert "resolved" in told.pop(0)
    assert ["the fleet has been held by hedy" in text for text in told] == [True]
    under(task, None, "default", "F")
    assert task.row.active == "v2"


# -- position, time and result -----------------------------------------------------------------------
def test_whatever_is_folded_the_row_knows_where_in_the_log_it_stands() -> None:
    for fold_one in (
        lambda task, where: step(task.row, invocations("default", "S")[0], where, task.policy),
        lambda task, where: pass_time(task.row, where, task.policy),
        lambda task, where: look_again(task.row, where, task.policy),
        lambda task, where: follow_fleet(task.row, where, task.policy),
    ):
        task = proven()
        where = at(task)
        fold_one(task, where)
        assert (task.row.offset, task.row.incarnation) == (where.offset, 7)


def test_the_time_of_a_row_never_goes_back() -> None:
    for fold_one in (
        lambda task, where: step(task.row, invocations("default", "S")[0], where, task.policy),
        lambda task, where: pass_time(task.row, where, task.policy),
        lambda task, where: follow_fleet(task.row, where, task.policy),
    ):
        task = proven()
        before, where = task.row.time, at(task)
        fold_one(task, Context(0, where.offset, before - 5_000, 0, "0" * 16))
        assert task.row.time == before
        fold_one(task, where)
        assert task.row.time == where.timestamp_ms


def answer(task: Task, message: Any) -> Step:
    return step(task.row, message, at(task), task.policy)


def test_an_outcome_without_consequences_is_applied_and_the_same_one_again_is_a_duplicate() -> None:
    task = proven()
    [outcome] = invocations("default", "S")
    assert answer(task, outcome).disposition == "applied"
    again = answer(task, outcome)
    assert (again.disposition, list(again.facts)) == ("duplicate", [])


def test_what_was_stated_is_handed_on_with_an_applied_outcome() -> None:
    task = Task()
    first = answer(task, invocations("default", "S")[0])
    assert first.disposition == "applied" and first.facts


def test_the_pure_face_is_the_steps_one_after_the_other_from_bytes_to_bytes() -> None:
    task, stepped = Task(), Task()
    messages = [(message, at(task)) for message in invocations("default", "S" * 30 + "F" * 10)]
    facts = [fact for message, where in messages for fact in step(stepped.row, message, where, task.policy).facts]
    begun, first = fold(None, KEY, messages[:20], task.policy)
    ended, second = fold(begun, KEY, messages[20:], task.policy)
    assert first + second == facts
    assert ended == encode_row(stepped.row)


# -- repeated alerts ---------------------------------------------------------------------------------
SELDOM = Policy(rollback=Rollback(renotify=10_000))


def test_a_held_rollback_is_told_again_after_so_many_outcomes_and_at_once_after_a_recovery() -> None:
    task = proven(SELDOM, v2="S" * 30)
    task.order(m.HoldTask)
    task.run("default", "F" * 10)
    assert len(task.alerts("held_degradation")) == 1
    task.run("default", "S" * 80)
    assert not task.variant("default").degraded
    task.run("default", "F" * 10)
    assert [alert.resolved for alert in task.alerts("held_degradation")] == [False, True, False]


def test_a_missing_target_is_told_at_once_after_a_recovery() -> None:
    task = Task(SELDOM)
    task.run("default", "S" * 30 + "F" * 10)
    assert [alert.resolved for alert in task.alerts("no_target")][:1] == [False]
    task.run("default", "S" * 80)
    assert not task.variant("default").degraded
    before = sum(not alert.resolved for alert in task.alerts("no_target"))
    task.run("default", "F" * 10)
    assert sum(not alert.resolved for alert in task.alerts("no_target")) == before + 1


def test_what_keeps_a_rollback_back_is_told_again_with_exactly_the_outcome_that_the_policy_names() -> None:
    task = Task(Policy(rollback=Rollback(renotify=7)))
    task.run("default", "S" * 30)
    while not task.alerts("no_target"):
        task.run("default", "F")
    task.run("default", "F" * 6)
    assert len(task.alerts("no_target")) == 1
    task.run("default", "F")
    assert len(task.alerts("no_target")) == 2


def test_of_eight_rollbacks_without_a_review_the_oldest_is_forgotten_for_a_ninth() -> None:
    task = proven(Policy(rollback=Rollback(undo_hold=0)))
    for number in range(1, 10):
        task.run(f"v{number}", "S" * 30, variant_source="explore")
        task.order(m.ActivateVariant, variant_id=f"v{number}")
        task.run(f"v{number}", "F" * 15, active_epoch=task.row.epoch)
    ids = [event.rollback_id for event in task.stated(m.RollbackEvent)]
    assert len(ids) == 9
    assert [one.rollback_id for one in task.row.rollbacks] == ids[1:]


def test_a_hold_whose_time_is_over_has_ended_before_a_command_is_judged() -> None:
    task = proven()
    task.order(m.HoldTask, hours=1.0)
    task.pass_time(2 * HOUR)
    result = task.order(m.ResumeTask)
    assert (result.outcome, result.detail) == ("refused", "the task is not held")
