"""An outage of one provider over several tasks, from input bytes to output bytes."""

from __future__ import annotations

import pytest

from crl_stream.core import messages as m
from crl_stream.stages.driver import Crash, TopologyDriver
from crl_stream.wire import topics
from stages.oracle import assert_exact
from stages.outage import AGENT, APART, MIXED, SHARED, TASKS, round_of, youth


def active(driver: TopologyDriver, task: str) -> tuple[str, int]:
    found = driver.snapshot(AGENT, task)
    assert found.active_variant is not None
    return found.active_variant, found.epoch


def outage(driver: TopologyDriver, rounds: int = 60, crash: Crash | None = None) -> None:
    """Let the tasks live through an outage of some rounds; with ``crash``, the worker dies in each round."""
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
