"""Two policies on one log: the differences are those of two separate fleets; swapping the policies reverses them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.settings.policy_file import profile_policy
from crl_stream.stages.topology import MONITOR
from crl_stream.trial.comparison import Comparison
from crl_stream.trial.matching import Change
from crl_stream.trial.record import Extent, compare_with_record

from .recorded_logs import POLICIES, compared, facts, outcomes, pieces, policies, record, run, segments, stories

COLLAPSE = [("t1", "a", "S" * 40, None), ("t1", "b", "SSSSSSSSSF" * 4, "explore"), ("t1", "a", "FS" * 30, None)]
"""A variant fails half the time from its 41st outcome on; another one always fails one time in ten."""
ALL = {partition: Extent(0, 1 << 40, "") for partition in range(2)}


@given(stories, policies, st.integers(0, 3))
def test_a_log_under_the_policies_that_it_sets_repeats_what_was_published(
    story: list[Any], policy: PolicySet, at: int
) -> None:
    driver = record(story, policy, at=at)
    found = compare_with_record(run(driver, None).decided, facts(driver), ALL)
    assert found.is_same, (found.missing, found.extra)


@given(stories, policies)
def test_the_policy_that_produced_a_log_makes_no_difference(story: list[Any], policy: PolicySet) -> None:
    found = compared(record(story, policy), None, policy)
    assert found.is_same
    assert found.settings == []
    assert found.estimate == (0.0, 0.0, 0.0, 0, 0)


def test_drills_are_left_out_because_they_fail_on_purpose() -> None:
    driver = record(COLLAPSE)
    before = compared(driver, GUIDE, POLICIES[-1])
    for segment in COLLAPSE:
        driver.pipe(
            *[replace(one, agent_name=DRILL_AGENT, invocation_id=f"d{one.invocation_id}") for one in outcomes(segment)]
        )
    after = compared(driver, GUIDE, POLICIES[-1])
    assert [one.task for one in after.tasks] == [one.task for one in before.tasks]
    assert after.estimate == before.estimate


@given(stories, policies, st.integers(1, 50))
def test_nothing_depends_on_where_a_piece_of_the_log_ends(story: list[Any], policy: PolicySet, size: int) -> None:
    driver = record(story)
    whole, parts = run(driver, policy), run(driver, policy, size)
    assert (parts.decided, parts.active, parts.total) == (whole.decided, whole.active, whole.total)


@given(stories, policies, policies)
def test_exchanging_the_policies_exchanges_what_is_added_and_removed_earlier_and_later(
    story: list[Any], one: PolicySet, other: PolicySet
) -> None:
    driver = record(story)
    there, back = compared(driver, one, other), compared(driver, other, one)
    assert there.same == back.same
    assert changes(there) == Counter(map(exchanged, changes(back).elements()))
    assert there.estimate.saved == pytest.approx(-back.estimate.saved)
    assert (there.estimate.low, there.estimate.high) == (
        pytest.approx(-back.estimate.high),
        pytest.approx(-back.estimate.low),
    )
    assert there.estimate[3:] == back.estimate[3:]


Plain = tuple[str, str, int, Any, int | None, int | None]


def changes(comparison: Comparison) -> Counter[Plain]:
    return Counter(plain(task.task, change) for task in comparison.tasks for change in task.changes)


def plain(task: str, change: Change) -> Plain:
    numbers = (None if placed is None else placed[0] for placed in (change.against, change.policy))
    return task, change.change, change.outcomes, change.decided.key, *numbers


def exchanged(change: Plain) -> Plain:
    task, kind, outcomes_between, key, one, other = change
    names = {"added": "removed", "removed": "added", "earlier": "later", "later": "earlier"}
    return task, names[kind], outcomes_between, key, other, one


@settings(max_examples=15)
@given(st.lists(segments, min_size=4, max_size=14))
def test_the_differences_are_those_between_two_fleets_that_lived_under_one_policy_each(story: list[Any]) -> None:
    """The expectation comes from the published facts of two fleets, and pairs decisions by trying every pair."""
    for one, other in ((POLICIES[2], POLICIES[4]), (GUIDE, POLICIES[3]), (POLICIES[5], POLICIES[2])):
        fleets = record(story, one), record(story, other)
        expected: Counter[Plain] = Counter()
        decided = [told(fleet) for fleet in fleets]
        for key in decided[0].keys() | decided[1].keys():
            expected += Counter(paired(key, list(decided[0].get(key, [])), list(decided[1].get(key, []))))
        found = compared(record(story), one, other)
        assert Counter(one for one in changes(found).elements() if one[3][0] in TOLD) == expected


TOLD = {"rollback", "promotion", "rollout", "alert"}


def told(fleet: Any) -> dict[Any, list[int]]:
    """Return the numbers of the outcomes at which rollbacks, promotions and alerts were published."""
    found: dict[Any, list[int]] = {}
    for _, fact in facts(fleet):
        key: Any = None
        if isinstance(fact, m.RollbackEvent):
            key = ("rollback", "" if fact.enforced else "shadow", fact.from_variant, fact.to_variant)
        elif isinstance(fact, m.RolloutStep) and fact.step == "started":
            key = ("rollout", "", fact.control_variant, fact.variant_id)
        elif isinstance(fact, m.Activation) and fact.cause in {"auto_apply", "rollout"}:
            key = ("promotion", "" if fact.enforced else "shadow", fact.from_variant or "", fact.to_variant)
        elif isinstance(fact, m.Alert) and fact.kind not in {"rollback", "rollout_aborted"} and not fact.resolved:
            key = ("alert", fact.kind, *(fact.subject.split(" ")[1:] or [""]), "")
        if key is not None:
            task = f"{fact.agent_name}/{fact.task_type}"
            log = fleet.topics[MONITOR.source][fact.position.partition][: fact.position.offset + 1]
            wanted = task.encode()
            number = sum(r.key == wanted and b'"type"' not in r.value for r in log)
            found.setdefault((task, key), []).append(number)
    return found


def paired(key: Any, one: list[int], other: list[int]) -> list[Plain]:
    """Pair the nearest numbers first, and the earliest of equally near ones; return the differences."""
    found: list[Plain] = []
    task, decision = key
    while one and other:
        a, b = min(((a, b) for a in one for b in other), key=lambda ab: (abs(ab[0] - ab[1]), min(ab)))
        one.remove(a)
        other.remove(b)
        if a != b:
            found.append((task, "later" if b > a else "earlier", abs(a - b), decision, a, b))
    found += [(task, "removed", 0, decision, a, None) for a in one]
    return found + [(task, "added", 0, decision, None, b) for b in other]


def test_a_rollback_that_needs_more_evidence_comes_later_and_its_price_is_stated() -> None:
    found = compared(record(COLLAPSE), GUIDE, profile_policy("production"))
    [task] = found.tasks
    [change] = [one for one in task.changes if one.decided.kind == "rollback"]
    assert change.change == "later"
    assert change.against is not None
    assert change.policy is not None
    [stretch] = task.stretches
    assert (stretch.first, stretch.last) == (change.against[0] + 1, change.policy[0])
    assert (stretch.against, stretch.policy, stretch.used) == ("b", "a", "policy")
    # The runtimes used ``a`` all the time.
    outcomes_between = stretch.last - stretch.first + 1
    bad = ("S" * 80 + "FS" * 30)[stretch.first - 1 : stretch.last].count("F")
    assert (stretch.bad, stretch.outcomes, stretch.sample, stretch.rate) == (bad, outcomes_between, 40, 0.1)
    assert found.estimate.saved == pytest.approx(0.1 * outcomes_between - bad)
    assert -bad < found.estimate.low < found.estimate.saved < found.estimate.high


@given(stories, policies, policies)
def test_the_tasks_with_the_greatest_effect_come_first(story: list[Any], one: PolicySet, other: PolicySet) -> None:
    found = compared(record(story), one, other)
    effects = [(task.moves, abs(sum(s.saved or 0.0 for s in task.stretches))) for task in found.differing()]
    assert effects == sorted(effects, reverse=True)
    assert {task.task for task in found.differing()} == {t.task for t in found.tasks if t.changes or t.stretches}


def test_a_decision_that_was_never_published_and_one_that_is_not_repeated_are_both_told() -> None:
    driver = record(COLLAPSE)
    published = facts(driver)
    [rollback] = [fact for _, fact in published if isinstance(fact, m.RollbackEvent)]
    decided = run(driver, None).decided
    without = compare_with_record(decided, [one for one in published if one[1] is not rollback], ALL)
    assert [one.words for _, one in without.extra] == ["rollback a -> b"]
    [decisions] = decided.values()
    deleted = {("crl.rollbacks", rollback.position.partition)}
    assert compare_with_record(decided, [one for one in published if one[1] is not rollback], ALL, deleted).is_same
    assert compare_with_record(decided, published, ALL, deleted).is_same
    shorter = {task: [one for one in some if one.kind != "rollback"] for task, some in decided.items()}
    lacking = compare_with_record(shorter, published, ALL)
    assert [one.words for _, one in lacking.missing] == ["rollback a -> b"]
    assert len(decisions) == lacking.compared


def test_decisions_that_the_monitor_has_not_reached_or_that_are_gone_from_the_log_are_not_compared() -> None:
    driver = record(COLLAPSE)
    decided, published = run(driver, None).decided, facts(driver)
    last = max(fact.position.offset for _, fact in published)
    before = {partition: Extent(0, last, "") for partition in range(2)}
    late = [one for one in published if one[1].position.offset < last]
    assert compare_with_record(decided, late, before).is_same
    later = {partition: Extent(last + 1, 1 << 40, "") for partition in range(2)}
    assert compare_with_record({}, published, later).is_same
    younger = {partition: Extent(0, 1 << 40, "9999-01-01T00:00:00Z") for partition in range(2)}
    assert compare_with_record({}, published, younger).compared == 0


@given(stories)
def test_every_outcome_is_counted_once_in_the_traffic_of_its_task(story: list[Any]) -> None:
    driver = record(story)
    found = compared(driver, None, None)
    expected: Counter[str] = Counter()
    for part in story:
        if isinstance(part, tuple):
            expected[f"{outcomes(part)[0].agent_name}/{part[0]}"] += len(part[2])
    assert Counter({task.task: len(task.traffic) for task in found.tasks if len(task.traffic)}) == expected
    assert sum(len(piece.entries) for piece in pieces(driver)) >= expected.total()


@given(stories, policies, policies, st.integers(0, 3))
def test_a_policy_that_is_tried_replaces_those_that_the_log_sets(
    story: list[Any], of_the_log: PolicySet, tried: PolicySet, at: int
) -> None:
    with_command, without = record(story, of_the_log, at=at), record(story)
    found = compared(with_command, tried, tried), compared(without, tried, tried)
    decided = [[(task.task, n, one.key) for task in each.tasks for n, one in task.against] for each in found]
    assert decided[0] == decided[1]
    assert list(found[0].against.judged_by) == [tried.digest()]
