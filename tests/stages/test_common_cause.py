"""An outage of one provider over several tasks, from input bytes to output bytes."""

from __future__ import annotations

import pytest
from builders import a_command, a_policy, invocations

from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.core.policy import CommonCause, Policy, PolicySet
from crl_stream.stages.driver import Crash, TopologyDriver
from crl_stream.stages.partition import MOST_TAGS, decode_partition, partition_key
from crl_stream.wire import topics
from stages.oracle import assert_exact
from stages.outage import AGENT, APART, MIXED, SHARED, TASKS, round_of, youth


def active(driver: TopologyDriver, task: str) -> tuple[str, int]:
    found = driver.snapshot(AGENT, task)
    assert found.active_variant is not None
    return found.active_variant, found.epoch


def outage(driver: TopologyDriver, rounds: int = 60, crash: Crash | None = None) -> None:
    """Fold an outage of some rounds; with ``crash``, the worker dies in each round."""
    driver.pipe(*youth())
    for number in range(rounds):
        outcomes = list(round_of(number, lambda task: active(driver, task), outage=True))
        driver.pipe(*outcomes, *([] if crash is None else [crash]))
        if crash is not None:
            driver.pipe()


def recover(driver: TopologyDriver, first: int = 60, rounds: int = 30) -> None:
    for number in range(first, first + rounds):
        driver.pipe(*round_of(number, lambda task: active(driver, task), outage=False))


def test_in_an_outage_every_task_of_the_provider_is_held_and_nothing_stays_in_quarantine() -> None:
    driver = TopologyDriver(partitions=3)
    outage(driver)
    for task in SHARED:
        shown = driver.snapshot(AGENT, task)
        assert shown.active_variant == "best"
        assert shown.common_cause is not None
        assert (shown.common_cause.tag, shown.common_cause.variants) == ("provider:one", ["best", "good"])
        assert [v.variant_id for v in shown.variants if v.quarantined] == []
    opened = [a for a in driver.read(topics.ALERTS) if a.kind == "common_cause" and not a.resolved]
    assert sorted(a.task_type for a in opened) == sorted((*SHARED, MIXED))


def test_a_variant_of_another_provider_takes_over_and_one_that_collapses_alone_is_rolled_back() -> None:
    driver = TopologyDriver(partitions=3)
    outage(driver)
    assert active(driver, MIXED)[0] == "elsewhere"
    assert [v.variant_id for v in driver.snapshot(AGENT, MIXED).variants if v.quarantined] == []
    assert active(driver, APART)[0] == "good"
    assert [v.variant_id for v in driver.snapshot(AGENT, APART).variants if v.quarantined] == ["best"]
    assert driver.snapshot(AGENT, APART).common_cause is None


def test_after_the_outage_every_task_recovers_by_itself() -> None:
    driver = TopologyDriver(partitions=3)
    outage(driver)
    changes = len(_changes(driver))
    recover(driver)
    assert len(_changes(driver)) == changes, "a recovery changes no active variant"
    for task in SHARED:
        shown = driver.snapshot(AGENT, task)
        assert (shown.active_variant, shown.common_cause, shown.no_rollback) == ("best", None, None)
        assert [v.verdict for v in shown.variants if v.active] == ["HEALTHY"]
    open_alerts: dict[tuple[str, str], bool] = {}
    for alert in driver.read(topics.ALERTS):
        if alert.kind in {"common_cause", "no_target", "degradation", "held_degradation"} and alert.task_type in SHARED:
            open_alerts[alert.kind, alert.subject] = not alert.resolved
    assert not any(open_alerts.values())


@pytest.mark.parametrize("crash", [None, *Crash])
def test_the_state_is_the_fold_of_the_log_whenever_the_worker_dies(crash: Crash | None) -> None:
    driver = TopologyDriver(partitions=2)
    outage(driver, crash=crash)
    recover(driver, rounds=15)
    assert_exact(driver)
    assert [active(driver, task)[0] for task in TASKS] == ["best", "best", "best", "good", "elsewhere"]


def test_silence_ends_an_incident_when_its_time_is_over() -> None:
    driver = TopologyDriver()
    outage(driver, rounds=40)
    driver.clock += 25 * 3_600_000
    driver.pipe(m.Tick(schema_version=1))
    assert [driver.snapshot(AGENT, task).common_cause for task in SHARED] == [None] * 3
    ends = [a.action for a in driver.read(topics.ALERTS) if a.kind == "common_cause" and a.resolved]
    assert set(ends) == {"resolved: no recovery within 24 hours; protection acts again"}
    assert_exact(driver)


def _changes(driver: TopologyDriver) -> list[m.Activation]:
    return [fact for fact in driver.read(topics.DECISIONS) if isinstance(fact, m.Activation)]


# -- several tasks ---------------------------------------------------------------------------------
def one_after_another(driver: TopologyDriver) -> None:
    """Let the three tasks that use only provider ``one`` fall one after another, each until it is held."""
    driver.pipe(*youth())
    for task in SHARED:
        for number in range(30):
            found = driver.snapshot(AGENT, task)
            if found.common_cause is not None:
                break
            driver.pipe(*failures(task, found.active_variant or "", found.epoch, number))


def failures(task: str, name: str, epoch: int, number: int) -> list[m.Invocation]:
    return invocations(
        name,
        "F",
        agent_name=AGENT,
        task_type=task,
        provider="one",
        active_epoch=epoch,
        invocation_id=f"{task}-one-by-one-{number}",
    )


def rollbacks(driver: TopologyDriver) -> list[str]:
    return [found.task_type for found in driver.read(topics.ROLLBACKS)]


def test_when_enough_tasks_have_fallen_the_next_one_is_held_before_its_first_rollback() -> None:
    driver = TopologyDriver(partitions=3)
    driver.pipe(a_policy(PolicySet(default=Policy(common_cause=CommonCause(min_tasks=2, share=0.4)))))
    one_after_another(driver)
    assert rollbacks(driver) == [SHARED[0]], "only the first task is rolled back before it is held"
    assert [driver.snapshot(AGENT, task).epoch for task in SHARED] == [3, 1, 1]
    [alert] = [a for a in driver.read(topics.ALERTS) if a.kind == "common_cause" and a.task_type == SHARED[2]]
    assert "2 of 4 tasks on provider:one fell within 30 minutes" in alert.text
    reports = [r for r in driver.read(topics.DECISIONS) if isinstance(r, m.CommandResult) and r.command == "ReportTag"]
    assert sorted(r.position.partition for r in reports) == [0, 1, 2]
    assert_exact(driver)


def test_a_report_holds_no_task_that_does_not_fall_and_none_of_another_provider() -> None:
    driver = TopologyDriver()
    driver.pipe(a_policy(PolicySet(default=Policy(common_cause=CommonCause(min_tasks=2, share=0.4)))))
    one_after_another(driver)
    held = {task for task in TASKS if driver.snapshot(AGENT, task).common_cause is not None}
    assert held == set(SHARED)
    for number in range(30):
        found = driver.snapshot(AGENT, APART)
        if found.active_variant != "best":
            break
        driver.pipe(*failures(APART, "best", found.epoch, number))
    assert (
        APART in [found.task_type for found in driver.read(topics.ROLLBACKS)]
        or driver.snapshot(AGENT, APART).common_cause is not None
    )


def test_a_report_is_idempotent_and_ends_by_its_time_or_by_the_end_of_its_incident() -> None:
    driver = TopologyDriver()
    driver.pipe(*youth())
    report = a_report(driver, hours=1)
    driver.pipe(report, report)
    assert tags_of(driver) == {"provider:one"}
    driver.pipe(a_report(driver, failing=False, incident_id="tag-another"))
    assert tags_of(driver) == {"provider:one"}
    driver.pipe(a_report(driver, failing=False))
    assert tags_of(driver) == set()
    driver.pipe(a_report(driver, hours=-1))
    assert tags_of(driver) == set()
    driver.pipe(a_report(driver, hours=1))
    driver.clock += 2 * 3_600_000
    for number in range(12):
        found = driver.snapshot(AGENT, SHARED[0])
        driver.pipe(*failures(SHARED[0], found.active_variant or "", found.epoch, number))
    assert SHARED[0] in rollbacks(driver), "a report that has expired is not evidence"
    assert_exact(driver)


def test_a_partition_remembers_a_bounded_number_of_reports() -> None:
    driver = TopologyDriver()
    driver.pipe(*(a_report(driver, hours=1 + n, tag=f"model:m{n}") for n in range(MOST_TAGS + 3)))
    assert tags_of(driver) == {f"model:m{n}" for n in range(3, MOST_TAGS + 3)}


def a_report(driver: TopologyDriver, *, hours: float = 1.0, failing: bool = True, **fields: object) -> m.ReportTag:
    given = {"tag": "provider:one", "incident_id": "tag-1", "failing": failing}
    return a_command(m.ReportTag, valid_until=to_text(driver.clock + round(hours * 3_600_000)), **(given | fields))


def tags_of(driver: TopologyDriver) -> set[str]:
    return set(decode_partition(driver.changelog[0][partition_key(0)]).tags)
