"""The target of a rollback: one that was left before, one being rolled out, and one measured by an added metric."""

from __future__ import annotations

import pytest

from crl_stream.core import messages as m
from crl_stream.core.messages.parts import Candidate
from crl_stream.core.monitor.rules import Rules, rules_of
from crl_stream.core.monitor.targets import candidates

from .rolling import CANDIDATE, rolling
from .task import Task, proven
from .test_common_cause import in_outage

PAROLE = rules_of(Task().policy).parole


def the_candidate(task: Task, name: str) -> Candidate:
    [found] = [each for each in candidates(task.row, rules_of(task.policy)) if each.variant_id == name]
    return found


@pytest.mark.parametrize(
    ("ago", "since", "chosen"),
    [
        (None, 0, False),
        (0, 0, False),
        (PAROLE - 1, 0, False),
        (PAROLE, 0, True),
        (PAROLE, 9, True),
        (PAROLE, 10, False),
        ("at the first outcome", 0, True),
    ],
)
def test_a_failed_window_rules_a_variant_out_until_its_parole_is_over_or_it_has_another(
    ago: int | str | None, since: int, chosen: bool
) -> None:
    """``old`` was good for 200 outcomes and failed in its last 20; it was left ``ago`` outcomes of the task before."""
    task = proven(old="S" * 200 + "F" * 20)
    task.order(m.HoldTask)
    task.run("default", "F" * 19 + "S")
    old = task.variant("old")
    assert task.row.n > PAROLE
    if ago is not None:
        old.left_n, old.left_at = (0 if isinstance(ago, str) else task.row.n - ago), old.life.n - since
    found = the_candidate(task, "old")
    assert found.chosen is chosen
    if not chosen:
        assert found.why_not is not None and found.why_not.startswith("not better in its last 20 outcomes")


@pytest.mark.parametrize(("good", "chosen"), [(14, False), (140, True)])
def test_a_failed_window_is_forgiven_only_to_a_variant_that_promises_clearly_more(good: int, chosen: bool) -> None:
    task = proven(old="S" * good + "F" * 26, other="F" * PAROLE)
    task.order(m.HoldTask)
    task.run("default", "F" * 19 + "S")
    old = task.variant("old")
    old.left_n, old.left_at = task.row.n - PAROLE, old.life.n
    assert old.left_n > 0
    assert the_candidate(task, "old").chosen is chosen


@pytest.mark.parametrize(("ago", "chosen"), [(None, False), (49, False), (50, True), ("at the first outcome", True)])
def test_a_window_without_success_is_believed_when_no_target_has_been_found_for_long(
    ago: int | str | None, chosen: bool
) -> None:
    """``weak`` succeeds once in ten; that is more than nothing, but not more than what chance might have hidden."""
    task = proven(weak="SFFFFFFFFF" * 5)
    task.order(m.HoldTask)
    task.run("default", "F" * 20)
    if ago is not None:
        task.row.no_target_n = 0 if isinstance(ago, str) else task.row.n - ago
    assert task.row.n > Task().policy.rollback.renotify == 50
    assert the_candidate(task, "weak").chosen is chosen


def failing(lately: str) -> Task:
    """Build a task whose held ``default`` delivers 24 %, and whose ``old`` was good and delivered this lately."""
    task = proven(old="S" * 200 + lately)
    task.order(m.HoldTask)
    task.run("default", "F" * 19 + "S")
    return task


@pytest.mark.parametrize(("lately", "quarantined", "chosen"), [(5, False, True), (5, True, False), (12, True, True)])
def test_what_a_variant_delivered_last_need_be_only_better_but_after_a_quarantine_clearly_so(
    lately: int, quarantined: bool, chosen: bool
) -> None:
    task = failing("F" * (20 - lately) + "S" * lately)
    task.variant("old").quarantined = quarantined
    assert the_candidate(task, "old").chosen is chosen


@pytest.mark.parametrize(("judged", "chosen"), [(9, True), (10, False)])
def test_the_last_outcomes_count_from_as_many_as_a_verdict_needs(judged: int, chosen: bool) -> None:
    task = failing("")
    task.order(m.ActivateVariant, variant_id="old")
    task.run("old", "F" * judged, active_epoch=2)
    task.order(m.ActivateVariant, variant_id="default")
    task.run("default", "F" * 19 + "S", active_epoch=3)
    assert task.variant("old").judged.n == judged
    assert the_candidate(task, "old").chosen is chosen


def test_a_rollback_does_not_choose_a_candidate_that_was_not_clearly_better_over_the_same_time() -> None:
    task = rolling(min_outcomes=20)
    task.order(m.PinVariant)
    for index in range(36):
        task.run("default", "SSSF"[index % 4] if index < 16 else "SF"[index % 2])
        if index < 24:
            task.run(CANDIDATE, "SSSF"[index % 4], variant_source="explore")
    assert (task.row.active, task.variant("default").degraded) == ("default", True)
    found = the_candidate(task, CANDIDATE)
    assert found.why_not is not None
    assert found.why_not.startswith("being rolled out, and not clearly better over the same time: reward 0.500")


# -- objections that nothing lifts -----------------------------------------------------------------------
def test_during_an_incident_a_retired_or_hardly_tried_variant_of_another_provider_is_not_chosen_either() -> None:
    task = in_outage()
    task.order(m.HoldTask)
    task.run("retired", "S" * 40, variant_source="explore", provider="two")
    task.run("new", "S" * 4, variant_source="explore", provider="two")
    task.order(m.RetireVariant, variant_id="retired")
    found = {each.variant_id: each.why_not for each in candidates(task.row, rules_of(task.policy))}
    assert found == {"retired": "retired", "new": "n_visits 4 < 5", "spare": "provider:one is failing"}


def test_a_candidate_of_a_rollout_needs_as_many_outcomes_as_any_target() -> None:
    assert the_candidate(rolling(), CANDIDATE).why_not == "n_visits 0 < 5"


def test_a_target_that_has_no_success_in_its_window_either_is_not_chosen() -> None:
    task = proven(old="S" * 200 + "F" * 20)
    task.order(m.HoldTask)
    task.run("default", "F" * 20)
    old = task.variant("old")
    old.left_n, old.left_at = 0, old.life.n
    assert the_candidate(task, "old").why_not == "no success in its last 20 outcomes either"


# -- a verdict about an added metric ---------------------------------------------------------------------
def objection(task: Task, name: str) -> str | None:
    """Return why ``name`` is not chosen when the active variant is degraded by a metric that an added detector has."""
    rules = Rules(task.policy)
    added = rules.checks[0]
    rules.further = (added,)
    [found] = [each for each in candidates(task.row, rules, added[0]) if each.variant_id == name]
    return found.why_not


def test_with_an_added_metric_a_target_must_not_be_degraded_itself() -> None:
    assert objection(proven(fallen="S" * 60 + "F" * 10), "fallen") == "also degraded"


def again_active(outcomes: str) -> Task:
    """Build a task whose ``v2`` was active once more for these outcomes, after 200 good ones, each worth the same."""
    task = Task()
    task.run("default", "S" * 60, reward=0.5)
    task.run("v2", "S" * 200, variant_source="explore", reward=0.5)
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", outcomes, active_epoch=2, reward=0.5)
    task.order(m.ActivateVariant, variant_id="default")
    task.run("default", "S" * 20, active_epoch=3, reward=0.5)
    assert (task.row.active, task.variant("v2").degraded) == ("default", False)
    assert task.variant("v2").judged.n == len(outcomes)
    return task


@pytest.mark.parametrize(("outcomes", "worse"), [("SSSSSSSSF", False), ("SSSSSSSSSF", True)])
def test_with_an_added_metric_a_target_must_not_have_been_worse_in_its_last_outcomes(
    outcomes: str, worse: bool
) -> None:
    """It is not degraded, and promises as much as the active variant; but ten outcomes are worth a comparison."""
    why = objection(again_active(outcomes), "v2")
    assert (why is not None and why.startswith("worse: reward 0.500 against 0.500, success 90.0%")) is worse
    assert worse or why is None
