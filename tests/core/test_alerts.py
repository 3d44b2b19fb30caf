"""Alerts about degradations: an alert is never closed before it was opened, and describes the state of its variant."""

from __future__ import annotations

from typing import Any

import pytest
from builders import AGENT, TASK, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor import protection
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.step import Context
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.policy import Operations, Policy
from crl_stream.guide.looking import look_again

from .histories import histories
from .task import Task, collapsed, proven
from .test_feedback import feedback


def test_in_shadow_mode_a_degraded_active_variant_has_an_open_alert_that_its_recovery_closes() -> None:
    task = proven(Policy(operations=Operations(mode="shadow")), api_optimized="S" * 60)
    task.run("default", "S" * 60 + "F" * 6)
    assert [alert.resolved for alert in task.alerts("rollback")] == [False]
    [alert] = task.alerts("degradation")
    assert (alert.severity, alert.resolved) == ("critical", False)
    task.run("default", "S" * 60)
    assert [alert.resolved for alert in task.alerts("degradation")] == [False, True]


def test_the_recovery_of_a_variant_that_was_rolled_back_closes_no_alert_that_was_not_opened() -> None:
    task = collapsed()
    task.run("api-optimized", "S" * 60, active_epoch=task.variant("api-optimized").epoch)
    assert [alert.state for alert in task.stated(m.DegradationAlert)] == ["degraded", "recovered"]
    assert task.alerts("degradation") == []


def open_alerts(facts: list[object]) -> dict[str, str]:
    """Return the subjects of open degradation alerts and their causes; fail if one was closed but never opened."""
    found: dict[str, str] = {}
    for fact in facts:
        if isinstance(fact, m.Alert) and fact.kind == "degradation":
            if fact.resolved:
                assert found.pop(fact.subject) == fact.cause_id
            else:
                assert fact.subject not in found
                found[fact.subject] = fact.cause_id
    return found


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(["enforce", "shadow", "observe"]),
    st.lists(
        st.tuples(st.sampled_from(["default", "v2", "v3"]), st.sampled_from([8, 30]), st.sampled_from("SSF"))
        | st.tuples(st.sampled_from(["default", "v2"]), st.just(30), st.sampled_from("SF"))
        | st.tuples(st.sampled_from([m.ActivateVariant, m.RetireVariant, m.LiftQuarantine]), st.sampled_from("23"))
        | st.sampled_from([m.UndoRollback, m.HoldTask, m.ResumeTask])
        | st.sampled_from(["enforce", "shadow", "observe"]),
        min_size=4,
        max_size=20,
    ),
)
def test_every_resolved_degradation_alert_has_an_opening_one_before_it(mode: str, acts: list[Any]) -> None:
    task = Task(Policy(operations=Operations(mode=mode)))  # type: ignore[arg-type]
    task.run("default", "S" * 30)
    for act in acts:
        if isinstance(act, str):
            task.policy = Policy(operations=Operations(mode=act))  # type: ignore[arg-type]
        elif isinstance(act, type):
            task.order(act)
        elif isinstance(act[0], str):
            task.run(act[0], act[2] * act[1])
        else:
            task.order(act[0], variant_id=f"v{act[1]}")
    still_open = open_alerts(task.facts)
    degraded = {name for name, variant in task.row.variants.items() if variant.degraded}
    assert {subject.rpartition(" ")[2] for subject in still_open} <= degraded
    if task.row.active in degraded:
        assert f"{AGENT}/{TASK} {task.row.active}" in still_open


@settings(deadline=None, max_examples=60)
@given(histories)
def test_no_history_closes_a_degradation_alert_that_is_not_open(history: list[Any]) -> None:
    task = Task()
    task.take(*history)
    open_alerts(task.facts)


def test_late_scores_of_an_outcome_are_no_further_clean_verdicts() -> None:
    task = Task(Policy(operations=Operations(mode="observe")))
    task.run("default", "S" * 60 + "F" * 3)
    while judge(task.variant("default"), rules_of(task.policy)).kind == "DEGRADED":
        task.run("default", "S")
    before = task.variant("default").clean
    for number in range(10):
        task.take(an_invocation(invocation_id=f"clean-{number}"), feedback(f"clean-{number}", reward=1.0))
    assert task.variant("default").clean == before + 10
    assert [a.state for a in task.stated(m.DegradationAlert)] == ["degraded"]
    for _ in range(30):
        look_again(task.row, Context(0, task.offset, task.now, 0, "0" * 16), task.policy)
    assert task.variant("default").clean == before + 10


def test_an_outcome_with_nothing_to_tell_costs_no_sentence_and_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task()
    task.run("default", "S" * 30)
    task.run("default", "F" * 10)
    assert task.variant("default").degraded, "there is nothing to roll back to"
    asked = []
    monkeypatch.setattr(protection, "grounds_of", lambda *about: asked.append(about))
    task.run("default", "F" * 5)
    assert asked == []
