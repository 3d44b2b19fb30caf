"""Each alert, rollback and proposal says what it touches, and what happened last time."""

from __future__ import annotations

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.monitor.pace import HOUR, an_hour, keep_pace
from crl_stream.core.monitor.row import decode_row, encode_row, new_row
from crl_stream.core.policy import Operations, Policy
from crl_stream.core.reach import last_time_words, reach_parts, touches_words, with_reach

from .task import KEY, NOON, Task, proven
from .test_verification import rolled_back


def two_rollbacks(*, between: str = "") -> Task:
    """Return a task that was rolled back twice: ``bad`` to default, and later again."""
    task = proven(bad="S" * 30)
    for _ in range(2):
        task.order(m.ActivateVariant, variant_id="bad")
        while task.row.active == "bad":
            task.run("bad", "F", runtime_id="host-1")
        if between == "confirm" and len(task.stated(m.RollbackEvent)) == 1:
            task.order(m.ConfirmRollback, rollback_id=task.stated(m.RollbackEvent)[0].rollback_id, actor="ada")
        if between == "undo" and len(task.stated(m.RollbackEvent)) == 1:
            task.order(m.UndoRollback, actor="ada")
        if len(task.stated(m.RollbackEvent)) == 1:
            task.run("default", "S" * 60, runtime_id="host-2")
            task.order(m.LiftQuarantine, variant_id="bad")
            task.run("bad", "S" * 40, variant_source="explore")
    return task


def test_a_rollback_and_its_alert_say_how_many_runtimes_and_outcomes_they_touch() -> None:
    task = proven(bad="S" * 30)
    task.order(m.ActivateVariant, variant_id="bad")
    for number in range(20):
        task.take(an_invocation("bad", "failure", runtime_id=f"host-{number % 3}"))
    [event] = task.stated(m.RollbackEvent)
    [alert] = task.alerts("rollback")
    assert event.touches is not None
    assert (event.touches.tasks, event.touches.runtimes) == (1, 3)
    assert event.touches.outcomes_an_hour == pytest.approx(3_600, rel=0.1), "one outcome a second"
    assert alert.touches == event.touches
    assert alert.undo_command == event.undo_command
    assert event.last_time is None, "it is the first one"


def test_the_second_rollback_says_what_became_of_the_first() -> None:
    first, second = two_rollbacks().stated(m.RollbackEvent)
    assert second.last_time is not None
    assert (second.last_time.id, second.last_time.timestamp) == (first.rollback_id, first.timestamp)
    assert (second.last_time.from_variant, second.last_time.to_variant) == ("bad", "default")
    assert second.last_time.finding == "helped"
    assert last_time_words(second.last_time) == (
        f"last time, {first.timestamp[:10]}: bad was rolled back to default, not reviewed, it helped"
    )


def test_a_confirmed_rollback_is_remembered_with_who_confirmed_it() -> None:
    task = two_rollbacks(between="confirm")
    last = task.stated(m.RollbackEvent)[1].last_time
    assert (last.fate, last.actor) == ("confirmed", "ada")
    assert task.alerts("rollback")[1].last_time == last


def test_an_undone_rollback_is_remembered_with_who_undid_it() -> None:
    task = proven(bad="S" * 30)
    task.order(m.ActivateVariant, variant_id="bad")
    while task.row.active == "bad":
        task.run("bad", "F")
    task.order(m.UndoRollback, actor="ada")
    [last] = [one for one in task.stated(m.TaskSnapshot)[-1].last_times if one.change == "rollback"]
    assert (last.fate, last.actor) == ("undone", "ada")


def test_an_alert_about_a_rollback_names_the_rollback_before_it_not_itself() -> None:
    task = two_rollbacks()
    first, second = task.stated(m.RollbackEvent)
    for alert in task.alerts("rollback")[1:]:
        assert alert.cause_id == second.rollback_id
        assert alert.last_time is not None
        assert alert.last_time.id == first.rollback_id


def test_an_alert_about_a_rollback_that_is_taken_back_does_not_name_that_rollback_as_the_last_time() -> None:
    task = rolled_back()
    task.run("other", "F" * 10)
    [alert] = task.alerts("rollback_taken_back")
    assert alert.cause_id == task.stated(m.RollbackEvent)[0].rollback_id
    assert alert.last_time is None, "there was no rollback before it"
    [last] = [one for one in task.stated(m.TaskSnapshot)[-1].last_times if one.change == "rollback"]
    assert last.fate == "taken_back"


def test_runtimes_without_a_name_are_not_counted_as_none() -> None:
    task = proven()
    assert task.stated(m.TaskSnapshot)[-1].touches.runtimes is None


def test_an_alert_that_ends_touches_nothing_more() -> None:
    task = Task()
    task.run("default", "S" * 60 + "F" * 20 + "S" * 60)
    ended = [alert for alert in task.stated(m.Alert) if alert.resolved]
    assert ended
    assert all(alert.touches is None and alert.last_time is None for alert in ended)


def test_a_promotion_that_is_rolled_back_is_remembered_as_such() -> None:
    task = two_rollbacks()
    [last] = [one for one in task.stated(m.TaskSnapshot)[-1].last_times if one.change == "promotion"]
    assert (last.to_variant, last.from_variant, last.fate) == ("bad", "default", "rolled_back")


def test_a_promotion_is_rolled_back_even_if_a_rollout_was_aborted_in_between() -> None:
    task = proven(bad="S" * 30, other="S" * 30)
    task.order(m.ActivateVariant, variant_id="bad")
    task.run("bad", "S" * 30)
    task.order(m.StartRollout, variant_id="other")
    task.order(m.AbortRollout)
    while task.row.active == "bad":
        task.run("bad", "F")
    [last] = [one for one in task.stated(m.TaskSnapshot)[-1].last_times if one.change == "promotion"]
    assert (last.to_variant, last.fate) == ("bad", "rolled_back")


def test_registrations_and_retirements_are_remembered_and_the_variant_s_benefit_judges_the_registration() -> None:
    task = proven(Policy(operations=Operations(mode="shadow")))
    task.order(m.RegisterVariant, variant_id="v2")
    task.run("v2", "S" * 20, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "S" * 60)
    task.order(m.RetireVariant, variant_id="default")
    found = {one.change: one for one in task.stated(m.TaskSnapshot)[-1].last_times}
    assert found["registration"].to_variant == "v2"
    assert found["registration"].finding == found["promotion"].finding == "no_change"
    assert found["retirement"].to_variant == "default"
    assert last_time_words(found["retirement"]).endswith("default was retired")


def test_of_each_kind_the_row_keeps_two_changes_and_survives_the_changelog() -> None:
    task = proven(v2="S" * 20, v3="S" * 20)
    for variant in ("v2", "v3", "default", "v2", "default"):
        task.order(m.ActivateVariant, variant_id=variant)
    assert [(one.kind, one.to_variant) for one in task.row.past] == [("promotion", "v2"), ("promotion", "default")]
    assert decode_row(encode_row(task.row)).past == task.row.past


@given(st.lists(st.integers(1, 2 * HOUR), min_size=1, max_size=80))
def test_the_outcomes_of_an_hour_agree_with_a_recount(pauses: list[int]) -> None:
    """Each outcome has a snapshot.  The count is exact for whole hours, and within one hour's share otherwise."""
    row, times = new_row(KEY), []
    row.time = NOON
    for pause in pauses:
        row.time += pause
        row.n += 1
        times.append(row.time)
        keep_pace(row)
        row.shown_n = row.n
    found, age = an_hour(row), row.time - times[0]
    if age < 60_000:
        assert found is None
    elif age < HOUR:
        assert found == round(len(times) * HOUR / age)
    else:
        begin = row.time // HOUR * HOUR
        now = sum(time >= begin for time in times)
        before = sum(begin - HOUR <= time < begin for time in times)
        assert found == now + round(before * (HOUR - row.time % HOUR) / HOUR)


def test_a_hold_on_the_fleet_touches_every_task() -> None:
    assert touches_words(m.Touches(tasks=None)) == "every task of the fleet"


def test_without_figures_nothing_is_said() -> None:
    task = proven(bad="S" * 30)
    task.order(m.ActivateVariant, variant_id="bad")
    while task.row.active == "bad":
        task.run("bad", "F")
    old = task.alerts("rollback")[0]

    bare = replace(old, touches=None, last_time=None)
    assert reach_parts(bare) == []
    assert with_reach(bare.text, bare) == bare.text
