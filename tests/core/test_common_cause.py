"""A common cause: a task holds through an outage that all variants of a provider share, not through a lone collapse."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from builders import a_command, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.core.monitor.row import StandingOrder, Sums, TagReport, TaskRow, Variant, decode_row, encode_row
from crl_stream.core.monitor.step import Context, pass_time
from crl_stream.core.monitor.tags import LONGEST, note_tags, tags_of
from crl_stream.core.policy import CommonCause, Degradation, Operations, Policy

from .histories import histories
from .task import HOUR, Task

ONE = {"provider": "one"}
GUARDED = Policy(degradation=Degradation(guard="evidence", baseline="recent", success_floor=2.0))


def with_siblings(policy: Policy | None = None, *, other: dict[str, str] | None = None, **fields: Any) -> Task:
    """Build a task whose ``default`` and ``spare`` name provider ``one``; a third variant has the fields ``other``."""
    task = Task(policy)
    task.run("default", "S" * 60, **(ONE | fields))
    task.run("spare", "SSSSSSSSSF" * 4, variant_source="explore", **(ONE | fields))
    if other is not None:
        task.run("elsewhere", "SSSSF" * 6, variant_source="explore", **other)
    return task


def live(task: Task, outcomes: str, **fields: Any) -> list[Any]:
    """Fold outcomes of the variant that is active at that time."""
    assert task.row.n < 1_000, "so a test that waits in vain ends"
    facts: list[Any] = []
    for letter in outcomes:
        facts += task.run(task.row.active or "", letter, **({"active_epoch": task.row.epoch} | ONE | fields))
    return facts


def in_outage(policy: Policy | None = None, **fields: Any) -> Task:
    """Build a task in the incident that an outage of provider ``one`` caused."""
    task = with_siblings(policy, **fields)
    while task.row.incident is None:
        live(task, "F", **fields)
    return task


def test_an_outage_of_all_variants_is_held_through_and_leaves_no_quarantine() -> None:
    task = in_outage()
    assert (task.row.active, task.row.cause) == ("default", "common_cause")
    assert not any(variant.quarantined for variant in task.row.variants.values())
    before = len(task.stated(m.Activation))
    live(task, "F" * 80)
    assert len(task.stated(m.Activation)) == before
    assert task.stated(m.ActiveVariant)[-1].quarantined == []


def test_it_takes_four_outcomes_of_the_target_to_see_that_a_rollback_had_no_ground() -> None:
    task = with_siblings()
    while task.row.active == "default":
        live(task, "F")
    live(task, "F" * 3)
    assert task.row.incident is None
    facts = live(task, "F")
    [activation] = [fact for fact in facts if isinstance(fact, m.Activation)]
    assert (activation.from_variant, activation.to_variant, activation.cause) == ("spare", "default", "common_cause")
    assert activation.reasoning == "spare fell together with default, so the rollback was unfounded"


def test_the_incident_is_one_alert_that_says_what_fell_and_how_to_end_it() -> None:
    task = in_outage()
    live(task, "F" * 60)
    [alert] = task.alerts("common_cause")
    assert (alert.severity, alert.resolved) == ("critical", False)
    assert alert.subject == "backend-architect/api-design provider:one"
    assert alert.text == (
        "backend-architect/api-design provider:one: variants fell together (default: reward -1.000 against 1.000, "
        "success 0.0% against 100.0%; spare: reward -1.000 against 0.800, success 0.0% against 90.0%); none of them "
        "is rolled back or promoted until one recovers, for at most 200 outcomes; to end this: "
        "crl resume backend-architect/api-design"
    )
    assert not any(found.timestamp > alert.timestamp for found in task.alerts("no_target"))
    assert not any(found.timestamp > alert.timestamp for found in task.alerts("rollback_taken_back"))
    assert not any(found.timestamp > alert.timestamp for found in task.alerts("degradation") if not found.resolved)


def test_the_alert_tells_of_those_that_fell_from_a_known_level_and_of_no_others() -> None:
    task = with_siblings()
    task.run("sleeper", "SSSSF" * 8, variant_source="explore", **ONE)
    task.run("new", "S" * 3, variant_source="explore", **ONE)
    while task.row.incident is None:
        live(task, "F")
        task.run("new", "F", variant_source="explore", **ONE)
    text = task.alerts("common_cause")[0].text
    assert "default: reward" in text and "spare: reward" in text
    assert "sleeper" not in text, "it had no outcome since the fall began"
    assert "new" not in text, "its usual level is unknown"


@pytest.mark.parametrize(("others", "more"), [(3, None), (4, "; and 1 more"), (6, "; and 3 more")])
def test_the_alert_describes_at_most_four_variants_and_counts_the_rest(others: int, more: str | None) -> None:
    task = Task()
    task.run("default", "S" * 60, **ONE)
    for number in range(others):
        task.run(f"v{number}", "SSSSSSSSSF" * 4, variant_source="explore", **ONE)
    for _ in range(2):
        live(task, "F")
        for number in range(others):
            task.run(f"v{number}", "F", variant_source="explore", **ONE)
    while task.row.incident is None:
        live(task, "F")
    text = task.alerts("common_cause")[0].text
    assert text.count(" against ") == 2 * 4
    assert (more is None or f"{more}); none of them" in text) and ("; and" in text) is (more is not None)


def test_the_verdict_stays_visible_and_the_snapshot_says_why_nothing_happens() -> None:
    task = in_outage()
    incident = task.row.incident
    assert incident is not None
    live(task, "F" * 20)
    shown = task.stated(m.TaskSnapshot)[-1]
    assert task.snapshot("default").verdict == "DEGRADED"
    assert shown.common_cause == m.CommonCause(
        incident_id=incident.incident_id,
        tag="provider:one",
        since=task.alerts("common_cause")[0].timestamp,
        until="2025-11-20T14:31:48.000Z",
        outcomes_left=200 - (shown.n_outcomes - incident.since_n),
        variants=["default", "spare"],
    )
    assert shown.no_rollback is not None
    assert shown.no_rollback.startswith(
        f"provider:one is failing ({incident.incident_id}): held until a variant that uses it"
    )


@pytest.mark.parametrize("policy", [Policy(), GUARDED], ids=["guide", "guarded"])
def test_it_ends_by_itself_when_the_active_variant_has_recovered_and_nothing_is_left_behind(policy: Policy) -> None:
    task = in_outage(policy)
    live(task, "F" * 40)
    live(task, "S" * 8)
    assert task.row.incident is not None
    live(task, "S")
    assert task.row.incident is None
    [_, ended] = task.alerts("common_cause")
    assert (ended.resolved, ended.severity) == (True, "info")
    assert ended.action == "resolved: default recovered: reward 0.800, success 90.0% in its last 10 outcomes"
    live(task, "S" * 60)
    assert (task.row.active, task.variant("default").degraded) == ("default", False)
    assert task.row.cause == "common_cause"


def test_it_ends_when_another_variant_of_the_provider_has_recovered() -> None:
    task = in_outage()
    live(task, "F" * 20)
    task.run("spare", "S" * 10, variant_source="explore", **ONE)
    assert task.row.incident is None
    # The active variant is known to be still failing, so it is not judged from scratch.
    live(task, "F")
    assert (task.row.active, task.row.cause) == ("spare", "rollback")


def test_a_variant_that_has_moved_to_another_provider_since_then_does_not_end_it() -> None:
    task = in_outage()
    task.run("spare", "S" * 20, variant_source="explore", provider="two")
    assert task.row.incident is not None


@pytest.mark.parametrize(("known", "over"), [(9, False), (10, True)])
def test_a_variant_ends_it_only_if_its_usual_level_is_known(known: int, over: bool) -> None:
    task = with_siblings()
    task.run("new", "SSSSF" * 2 if known == 10 else "SSSSSSSFF", variant_source="explore", **ONE)
    while task.row.incident is None:
        live(task, "F")
    task.run("new", "S" * 20, variant_source="explore", **ONE)
    assert (task.row.incident is None) is over


def test_variants_of_other_providers_are_not_judged_from_scratch_when_it_ends() -> None:
    task = in_outage()
    task.run("elsewhere", "F" * 8, variant_source="explore", provider="two")
    live(task, "S" * 10)
    assert task.row.incident is None
    assert (task.variant("elsewhere").judged.n, task.variant("spare").judged.n) == (8, 0)


def test_without_a_recovery_it_ends_after_so_many_outcomes_and_protection_acts_again() -> None:
    task = in_outage(Policy(common_cause=CommonCause(hold_outcomes=50)))
    live(task, "F" * 50)
    assert task.row.incident is not None
    live(task, "F")
    ended = task.alerts("common_cause")[1]
    assert ended.action == "resolved: no recovery within 50 outcomes; protection acts again"
    assert (task.row.active, task.row.cause) == ("spare", "rollback")
    live(task, "S" * 30)
    assert (task.row.active, task.row.incident) == ("spare", None)


def test_an_outage_that_outlasts_the_incident_begins_another_one_after_a_few_outcomes_of_a_target() -> None:
    task = in_outage(Policy(common_cause=CommonCause(hold_outcomes=50)))
    live(task, "F" * 100)
    assert task.row.incident is not None
    assert len([alert for alert in task.alerts("common_cause") if not alert.resolved]) == 2
    assert (task.row.active, task.row.cause) == ("default", "common_cause")
    assert not any(variant.quarantined for variant in task.row.variants.values())


def test_without_outcomes_it_ends_after_so_many_hours() -> None:
    task = in_outage()
    task.pass_time(24 * HOUR)
    task.run("spare", "S", variant_source="explore", **ONE)
    assert task.alerts("common_cause")[1].action == "resolved: no recovery within 24 hours; protection acts again"


@pytest.mark.parametrize(("milliseconds", "over"), [(-1, False), (0, True)])
def test_it_ends_when_its_last_millisecond_has_come(milliseconds: int, over: bool) -> None:
    task = in_outage()
    incident = task.row.incident
    assert incident is not None
    at = Context(0, task.offset, incident.until + milliseconds, 0, "0" * 16)
    pass_time(task.row, at, task.policy)
    assert (task.row.incident is None) is over


def test_a_variant_that_collapses_alone_is_still_rolled_back() -> None:
    task = with_siblings()
    while task.row.active == "default":
        live(task, "F")
        if task.row.n % 5 == 0:
            task.run("spare", "S", variant_source="explore", **ONE)
    live(task, "SSSSSSSSSF" * 3)
    assert (task.row.active, task.row.incident) == ("spare", None)
    assert task.variant("default").quarantined


def test_a_better_variant_of_another_provider_is_chosen_and_nothing_is_quarantined() -> None:
    task = with_siblings(other={"provider": "two"})
    fields = {"elsewhere": {"provider": "two"}}
    for _ in range(60):
        active = task.row.active or ""
        letter = "S" if active == "elsewhere" else "F"
        live(task, letter, **fields.get(active, ONE))
    assert (task.row.active, task.row.cause) == ("elsewhere", "rollback")
    assert task.row.incident is not None
    assert not any(variant.quarantined for variant in task.row.variants.values())
    rolled = task.stated(m.RollbackEvent)[-1]
    [spare] = [one for one in rolled.candidates if one.variant_id in {"spare", "default"} and one.why_not]
    assert spare.why_not == "provider:one is failing"


def test_a_variant_of_another_provider_that_collapses_meanwhile_is_rolled_back_but_not_to_the_failing_provider() -> (
    None
):
    task = with_siblings(other={"provider": "two"})
    task.run("third", "SSSFF" * 6, variant_source="explore", provider="three")
    provider = {"elsewhere": "two", "third": "three"}
    for _ in range(60):
        active = task.row.active or ""
        live(task, "S" if active in provider else "F", provider=provider.get(active, "one"))
    assert task.row.active == "elsewhere"
    while task.row.active == "elsewhere":
        live(task, "F", provider="two")
    assert (task.row.active, task.row.cause) == ("third", "rollback")
    assert [v.variant_id for v in task.row.variants.values() if v.quarantined] == ["elsewhere"]


def test_before_the_first_rollback_what_exploration_shows_is_enough_if_it_is_clear() -> None:
    task = with_siblings()
    task.run("third", "SSSSSSSSSF" * 4, variant_source="explore", **ONE)
    # The active variant fails before it has enough outcomes to be degraded, while two others are explored.
    live(task, "F" * 2)
    task.run("third", "FF", variant_source="explore", **ONE)
    task.run("spare", "FF", variant_source="explore", **ONE)
    live(task, "F" * 10)
    assert task.row.incident is not None
    assert task.stated(m.RollbackEvent) == []
    assert [fact.cause for fact in task.stated(m.Activation)] == ["first_seen"]


def test_a_variant_that_had_fallen_before_is_no_evidence() -> None:
    task = with_siblings()
    while task.row.active == "default":
        live(task, "F")
    task.order(m.LiftQuarantine, variant_id="default")
    task.run("default", "F" * 14, variant_source="explore", **ONE)
    task.run("third", "SSSSF" * 6, variant_source="explore", **ONE)
    live(task, "S" * 30)
    live(task, "F")
    task.run("default", "FFFF", variant_source="explore", **ONE)
    for _ in range(20):
        if task.row.active == "spare":
            live(task, "F")
    assert (task.row.active, task.alerts("common_cause")) == ("third", [])


def test_a_target_that_fails_half_of_its_first_outcomes_is_no_evidence_yet() -> None:
    task = with_siblings()
    while task.row.active == "default":
        live(task, "F")
    live(task, "FSFS")
    assert (task.row.active, task.row.incident) == ("spare", None)


def test_a_recovery_must_be_clearly_better_than_what_was_delivered_in_the_fall() -> None:
    task = in_outage()
    assert task.row.incident is not None
    task.row.incident.fall = Sums(20, 15, 0, 10_000_000, 20_000_000)
    live(task, "S" * 9 + "F")
    assert task.row.incident is not None


def reported(task: Task) -> None:
    task.tags = {"provider:one": TagReport("tag-1", task.now + HOUR, "3 of 4 tasks on provider:one fell")}


def test_a_report_from_other_tasks_spares_the_first_rollback_and_is_told() -> None:
    task = with_siblings()
    reported(task)
    live(task, "F" * 20)
    assert (task.row.active, task.row.epoch, task.stated(m.RollbackEvent)) == ("default", 1, [])
    [alert] = task.alerts("common_cause")
    assert "3 of 4 tasks on provider:one fell" in alert.text
    live(task, "S" * 10)
    assert task.row.incident is None


def test_a_report_does_not_reverse_a_rollback_whose_target_holds_up() -> None:
    task = with_siblings()
    while task.row.active == "default":
        live(task, "F")
    reported(task)
    live(task, "SSSSSSSSSF" * 2)
    assert (task.row.active, task.alerts("common_cause")) == ("spare", [])


def test_a_report_that_is_over_or_about_another_provider_is_no_evidence() -> None:
    for tag, hours in (("provider:one", -1), ("provider:two", 1)):
        task = with_siblings()
        task.tags = {tag: TagReport("tag-1", task.now + hours * HOUR, "")}
        while task.row.active == "default":
            live(task, "F")
        assert task.row.incident is None


@pytest.mark.parametrize(("longer", "evidence"), [(0, False), (1, True)])
def test_a_report_is_evidence_until_its_last_millisecond_has_come(longer: int, evidence: bool) -> None:
    other, task = with_siblings(), with_siblings()
    live(other, "F" * 10)
    rolled = other.stated(m.RollbackEvent)[0]
    until = from_text(rolled.timestamp) + longer
    task.tags = {"provider:one": TagReport("tag-1", until, "3 of 4 tasks on provider:one fell")}
    live(task, "F" * (rolled.position.offset - task.offset))
    assert (task.row.incident is not None) is evidence
    assert (task.row.active == "default") is evidence


def test_a_task_says_when_its_active_variant_uses_a_tag_falls_and_recovers() -> None:
    task = with_siblings(model="large")
    live(task, "F" * 3, model="large")
    said = [(found.tag, found.state) for found in task.stated(m.TagCondition)]
    both = ["provider:one", "model:large"]
    assert said == [(tag, state) for state in ("uses", "fell") for tag in both]
    task.order(m.HoldTask)
    live(task, "S" * 50, model="large")
    assert [(found.tag, found.state) for found in task.stated(m.TagCondition)][4:] == [(t, "recovered") for t in both]
    live(task, "S", model="small")
    assert [(found.tag, found.state) for found in task.stated(m.TagCondition)][6:] == [
        ("model:large", "left"),
        ("model:small", "uses"),
    ]


def test_the_model_is_blamed_if_only_variants_with_the_same_model_fell_and_the_provider_if_others_did_too() -> None:
    small, large = {"provider": "one", "model": "small"}, {"provider": "one", "model": "large"}
    task = Task()
    task.run("default", "S" * 60, **large)
    task.run("spare", "SSSSSSSSSF" * 4, variant_source="explore", **large)
    task.run("cheap", "SSSSF" * 6, variant_source="explore", **small)
    seen = []
    for _ in range(80):
        live(task, "F", **(small if task.row.active == "cheap" else large))
        if task.row.incident is not None and task.row.incident.tag not in seen:
            seen.append(task.row.incident.tag)
    assert seen == ["model:large", "provider:one"]
    # The task returns to the variant that was active when the fall began, however many have been active since.
    assert (task.row.active, task.row.cause) == ("default", "common_cause")
    opened = [alert.subject.split()[1] for alert in task.alerts("common_cause") if not alert.resolved]
    closed = [alert.subject.split()[1] for alert in task.alerts("common_cause") if alert.resolved]
    assert (opened, closed) == (["model:large", "provider:one"], ["model:large"])
    assert not any(variant.quarantined for variant in task.row.variants.values())


def test_a_model_is_blamed_where_no_provider_is_named() -> None:
    task, large = Task(), {"provider": None, "model": "large"}
    task.run("default", "S" * 60, **large)
    task.run("spare", "SSSSSSSSSF" * 4, variant_source="explore", **large)
    live(task, "F" * 20, **large)
    assert task.row.incident is not None
    assert task.row.incident.tag == "model:large"
    assert [tags_of(variant) for variant in task.row.variants.values()] == [("model:large",)] * 2


@pytest.mark.parametrize(("first_outcomes", "active"), [("FFFF", "default"), ("SFFF", "spare")])
def test_a_target_that_fell_too_but_still_delivers_more_than_what_was_left_stays(
    first_outcomes: str, active: str
) -> None:
    """The variant that was left had failed 20 times in a row under a hold, so little is known to be lost."""
    task = Task()
    task.run("default", "S" * 60, **ONE)
    task.run("spare", "S" * 200 + "F", variant_source="explore", **ONE)
    task.order(m.HoldTask)
    live(task, "F" * 20)
    task.order(m.ResumeTask)
    live(task, "F")
    assert task.row.active == "spare"
    live(task, first_outcomes)
    assert (task.row.active, task.row.left) == (active, None)
    assert task.row.incident is not None


@pytest.mark.parametrize("why", ["task", "fleet", "observe"])
def test_under_a_hold_or_in_observe_mode_no_incident_begins(why: str) -> None:
    task = with_siblings(Policy(operations=Operations(mode="observe")) if why == "observe" else None)
    if why == "task":
        task.order(m.HoldTask)
    elif why == "fleet":
        task.fleet = StandingOrder("ann", "look", task.now)
    live(task, "F" * 40)
    assert task.row.incident is None


@pytest.mark.parametrize("how", ["task", "fleet", "shadow"])
def test_a_rollback_is_not_taken_back_for_a_common_cause_while_nothing_happens_automatically(how: str) -> None:
    task = with_siblings()
    while task.row.active == "default":
        live(task, "F")
    if how == "task":
        task.order(m.HoldTask)
    elif how == "fleet":
        task.fleet = StandingOrder("ann", "look", task.now)
    else:
        task.policy = Policy(operations=Operations(mode="shadow"))
    live(task, "F" * 8)
    assert (task.row.active, task.row.incident) == ("spare", None)


def test_crl_resume_ends_it_and_says_so() -> None:
    task = in_outage()
    result = task.order(m.ResumeTask)
    assert (result.outcome, result.detail) == ("applied", "resumed")
    assert task.row.incident is None
    assert task.alerts("common_cause")[1].action == "resolved: ended by ada"


def test_nothing_is_promoted_while_it_lasts() -> None:
    task = in_outage()
    task.run("spare", "F", variant_source="explore", **ONE)
    task.run("excellent", "S" * 40, variant_source="explore", provider="two")
    live(task, "F" * 5)
    assert task.row.active == "default"
    incident = task.row.incident
    assert incident is not None
    assert task.snapshot("excellent").not_applied == f"provider:one is failing ({incident.incident_id})"


def test_the_return_can_be_undone_and_a_person_may_activate_another_variant_meanwhile() -> None:
    task = in_outage()
    assert task.order(m.UndoRollback, expected_epoch=task.row.epoch).outcome == "applied"
    assert task.row.active == "spare"
    assert task.row.incident is not None


def test_it_is_a_setting() -> None:
    task = with_siblings(Policy(common_cause=CommonCause(hold_outcomes=0)))
    live(task, "F" * 60)
    assert (task.row.incident, task.alerts("common_cause")) == (None, [])


def test_shadow_mode_reports_the_incident_instead_of_a_rollback() -> None:
    task = with_siblings(Policy(operations=Operations(mode="shadow")))
    live(task, "F" * 2)
    task.run("spare", "FFFF", variant_source="explore", **ONE)
    live(task, "F" * 12)
    assert task.stated(m.RollbackEvent) == []
    assert len(task.alerts("common_cause")) == 1


def test_registered_provider_and_model_count_until_an_outcome_names_others() -> None:
    task = Task()
    task.order(m.RegisterVariant, variant_id="default", provider="one", model="large")
    assert tags_of(task.variant("default")) == ("provider:one", "model:large")
    task.run("default", "S", provider="two")
    assert tags_of(task.variant("default")) == ("provider:two", "model:large")
    task.run("default", "S")
    task.run("default", "S", model="x" * (LONGEST + 1), provider="")
    assert tags_of(task.variant("default")) == ("provider:two", "model:large")


def test_the_model_that_an_outcome_names_counts_and_not_the_registered_one() -> None:
    task = Task()
    task.order(m.RegisterVariant, variant_id="default", provider="one", model="large")
    task.run("default", "S", model="small")
    assert tags_of(task.variant("default")) == ("provider:one", "model:small")


def test_names_of_128_characters_are_used_and_longer_ones_change_nothing() -> None:
    task, longest = Task(), "x" * LONGEST
    task.run("default", "S", provider=longest, model=longest)
    task.run("default", "S", provider=f"{longest}y", model=f"{longest}y")
    assert tags_of(task.variant("default")) == (f"provider:{longest}", f"model:{longest}")


def test_an_outcome_that_names_what_is_known_changes_nothing() -> None:
    variant = Variant("v2")
    assert note_tags(variant, "one", "large")
    for provider, model in (("one", "large"), (None, ""), ("", "large")):
        assert not note_tags(variant, provider, model)
    assert note_tags(variant, "one", "small")


def test_a_row_remembers_an_incident() -> None:
    row: TaskRow = decode_row(encode_row(in_outage().row))
    assert row.incident == in_outage().row.incident


def test_a_tick_ends_it_when_its_time_has_passed() -> None:
    task = in_outage()
    incident = task.row.incident
    assert incident is not None
    assert 0 < task.row.wake <= incident.until


@settings(max_examples=60, deadline=None)
@given(histories)
def test_without_tags_the_rule_changes_nothing(messages: list[Any]) -> None:
    """Without tags, facts and rows are the same, byte for byte, whether the rule about a common cause is on or off."""
    both = Task(), Task(Policy(common_cause=CommonCause(hold_outcomes=0)))
    facts = [[msg for message in messages for msg in task.take(message)] for task in both]
    assert facts[0] == facts[1]
    assert encode_row(both[0].row) == encode_row(both[1].row)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(30, 150), st.sampled_from([0.0, 0.1]), st.sampled_from([Policy(), GUARDED]))
def test_after_any_outage_the_task_has_recovered_by_itself(
    seed: int, length: int, exploration: float, policy: Policy
) -> None:
    """No incident outlives the outage by more than its bound, and no variant stays in quarantine because of it."""
    random, task = Random(seed), Task(policy)
    task.run("default", "S" * 60, **ONE)
    task.run("spare", "SSSSSSSSSF" * 4, variant_source="explore", **ONE)
    rates = {"default": 0.97, "spare": 0.9}
    for number in range(length + 150):
        explores = random.random() < exploration
        name = "default" if not task.row.active else task.row.active
        if explores:
            name = "spare" if name == "default" else "default"
        if explores and task.variant(name).quarantined:
            continue
        good = random.random() < (0.0 if number < length else rates[name])
        outcome = an_invocation(
            name,
            "success" if good else "failure",
            invocation_id=f"out-{number}",
            active_epoch=task.row.epoch,
            variant_source="explore" if explores else None,
            **ONE,
        )
        task.take(outcome)
        if number == length - 1:
            assert task.row.incident is not None
    assert task.row.incident is None


def test_old_rows_are_read_and_a_command_of_an_older_policy_too() -> None:
    """Rows of older engines lack the fields of an incident; policies without the section have the defaults."""
    task = with_siblings()
    data = encode_row(task.row)
    assert decode_row(data).incident is None
    command = a_command(m.HoldTask)
    assert task.take(command)


def moved_elsewhere(policy: Policy | None = None) -> Task:
    """Build a task that an outage of provider ``one`` has moved to ``elsewhere``, a worse variant of ``two``."""
    task = with_siblings(policy, other={"provider": "two"})
    while task.row.active != "elsewhere":
        live(task, "F")
    assert task.row.incident is not None
    return task


def test_the_task_returns_from_another_provider_when_the_first_variant_has_recovered() -> None:
    task = moved_elsewhere()
    live(task, "SSSSF" * 3, provider="two")
    facts = task.run("default", "S" * 10, variant_source="explore", **ONE)
    [activation] = [fact for fact in facts if isinstance(fact, m.Activation)]
    assert (activation.to_variant, activation.cause) == ("default", "common_cause")
    assert activation.reasoning == (
        "provider:one: default recovered: reward 1.000, success 100.0% in its last 10 outcomes"
    )
    live(task, "S" * 40)
    assert (task.row.active, task.row.left) == ("default", None)


def test_a_return_without_a_recovery_is_verified_and_taken_back_if_the_outage_is_not_over() -> None:
    task = moved_elsewhere(Policy(common_cause=CommonCause(hold_outcomes=60)))
    for letter in "SSSSF" * 12:
        if task.row.active == "elsewhere":
            live(task, letter, provider="two")
    assert (task.row.active, task.row.cause) == ("default", "common_cause")
    live(task, "F" * 10)
    assert (task.row.active, task.row.cause) == ("elsewhere", "rollback_verified_worse")
    assert not any(variant.quarantined for variant in task.row.variants.values())


@pytest.mark.parametrize("why", ["pinned", "held", "activated", "tick"])
def test_the_task_stays_where_people_have_decided_so_and_a_tick_changes_no_active_variant(why: str) -> None:
    task = moved_elsewhere()
    if why == "pinned":
        task.order(m.PinVariant)
    elif why == "held":
        task.order(m.HoldTask)
    elif why == "activated":
        task.run("third", "S" * 5, variant_source="explore", provider="two")
        task.order(m.ActivateVariant, variant_id="third")
    active = task.row.active
    if why == "tick":
        task.now += 25 * HOUR
        pass_time(task.row, Context(0, task.offset, task.now, 0, "0" * 16), task.policy)
    else:
        task.run("default", "S" * 10, variant_source="explore", **ONE)
    assert (task.row.incident, task.row.active) == (None, active)


def test_a_common_cause_that_shows_only_after_the_task_moved_to_another_provider_lifts_the_quarantine() -> None:
    task = Task()
    task.run("default", "S" * 60, **ONE)
    task.run("spare", "SSSSF" * 6, variant_source="explore", **ONE)
    task.run("elsewhere", "SSSSSSSSSF" * 4, variant_source="explore", provider="two")
    while task.row.active == "default":
        live(task, "F")
    assert (task.row.active, task.variant("default").quarantined) == ("elsewhere", True)
    task.run("spare", "FFFF", variant_source="explore", **ONE)
    live(task, "S", provider="two")
    assert task.row.incident is not None
    assert (task.row.active, task.variant("default").quarantined) == ("elsewhere", False)
    assert task.row.left is not None, "the rollback is still verified, because another provider is no common cause"


def test_while_another_provider_is_verified_the_same_incident_is_not_found_again() -> None:
    task = moved_elsewhere()
    task.run("default", "FFFF", variant_source="explore", **ONE)
    live(task, "SSSS", provider="two")
    assert task.row.left is not None
    assert len(task.alerts("common_cause")) == 1


def test_no_rollback_is_taken_back_to_a_variant_whose_provider_is_still_failing() -> None:
    task = moved_elsewhere()
    live(task, "F" * 30, provider="two")
    assert task.row.incident is not None
    assert (task.row.active, task.alerts("rollback_taken_back")) == ("elsewhere", [])


def test_when_an_incident_has_ended_a_verification_in_progress_goes_on() -> None:
    task = moved_elsewhere()
    task.order(m.PinVariant)
    task.run("default", "S" * 10, variant_source="explore", **ONE)
    assert task.row.incident is None
    live(task, "S" * 19, provider="two")
    assert (task.row.active, task.row.left is None) == ("elsewhere", False)
    live(task, "S", provider="two")
    assert (task.row.active, task.row.left) == ("elsewhere", None)


def test_if_the_first_variant_was_retired_meanwhile_the_task_returns_to_the_one_it_left_last() -> None:
    small, large = {"provider": "one", "model": "small"}, {"provider": "one", "model": "large"}
    task = Task()
    task.run("default", "S" * 60, **large)
    task.run("spare", "SSSSSSSSSF" * 4, variant_source="explore", **large)
    task.run("cheap", "SSSSF" * 6, variant_source="explore", **small)
    while task.row.active != "cheap":
        live(task, "F", **large)
    left = task.row.previous
    assert task.row.incident is not None and task.row.incident.first == "default" != left
    task.order(m.RetireVariant, variant_id="default")
    live(task, "F" * 4, **small)
    assert task.row.incident is not None and task.row.incident.tag == "provider:one"
    assert (task.row.active, task.row.cause) == (left, "common_cause")


def test_while_an_incident_covers_the_target_no_other_is_looked_for() -> None:
    task, large = with_siblings(), {"provider": "one", "model": "large"}
    task.run("spare", "S", variant_source="explore", **large)
    while task.row.active == "default":
        live(task, "F")
    live(task, "FFF")
    found = in_outage().row.incident
    assert found is not None
    task.row.incident = msgspec.structs.replace(found, tag="model:large")
    live(task, "F")
    assert (task.row.active, task.row.incident.tag) == ("spare", "model:large")


def test_if_the_provider_that_took_over_fails_too_the_task_does_not_return_to_the_one_that_failed_first() -> None:
    task = with_siblings(other={"provider": "two"})
    task.run("fourth", "SSFSF" * 5, variant_source="explore", provider="two")
    while task.row.active != "elsewhere":
        live(task, "F")
    live(task, "S" * 20, provider="two")
    while task.row.active == "elsewhere":
        live(task, "F", provider="two")
    assert task.row.active == "fourth"
    live(task, "F" * 8, provider="two")
    assert task.row.incident is not None
    assert (task.row.incident.tag, task.row.incident.first) == ("provider:two", "elsewhere")
    assert (task.row.active, task.row.cause) == ("elsewhere", "common_cause")
