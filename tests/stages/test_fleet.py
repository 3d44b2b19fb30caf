"""One command stops everything automatic in every partition, including tasks created later, and the result is exact."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import AGENT, TASK, a_collapse, a_command, a_policy, an_invocation, invocations
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.stages import monitor
from crl_stream.stages.driver import Crash, TopologyDriver
from crl_stream.stages.inspection import summary
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.wire import topics
from crl_stream.wire.codec import decode, encode
from crl_stream.wire.topics import FLEET_KEY
from stages.oracle import assert_exact

HOUR = 3_600_000
MANY = [f"task-{number}" for number in range(12)]
"""Names of tasks, enough that each of three partitions has some."""


def a_fleet(partitions: int = 3) -> TopologyDriver:
    driver = TopologyDriver(partitions=partitions)
    driver.pipe(*[an_invocation(task_type=name) for name in MANY])
    return driver


def last_active(driver: TopologyDriver) -> dict[str, m.ActiveVariant]:
    return {active.task_type: active for active in driver.read(topics.ACTIVE_VARIANTS)}


def results(driver: TopologyDriver, command: str) -> list[m.CommandResult]:
    decisions = driver.read(topics.DECISIONS)
    return [one for one in decisions if isinstance(one, m.CommandResult) and one.command == command]


def hold_alerts(driver: TopologyDriver) -> list[m.Alert]:
    return [alert for alert in driver.read(topics.ALERTS) if alert.kind == "fleet_hold"]


def held_by(driver: TopologyDriver, name: str) -> tuple[str, str] | None:
    held = driver.snapshot(AGENT, name).held
    return None if held is None else (held.scope, held.actor)


def test_every_task_is_shown_as_held_at_once_with_actor_reason_and_end() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, actor="ada", reason="incident 42", hours=2))
    active = last_active(driver)
    assert sorted(active) == sorted(MANY)
    for record in active.values():
        assert record.held == record.fleet_held
        assert record.held is not None
        assert (record.held.scope, record.held.actor, record.held.reason) == ("fleet", "ada", "incident 42")
        assert record.held.until is not None
    newest = {snapshot.task_type: snapshot for snapshot in driver.read(topics.TASKS)}
    assert all(snapshot.held is not None and snapshot.fleet_held is not None for snapshot in newest.values())
    assert_exact(driver)


def test_every_partition_answers_with_the_number_of_its_tasks() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll))
    said = results(driver, "HoldAll")
    assert [one.position.partition for one in said] == [0, 1, 2]
    assert [one.outcome for one in said] == ["applied"] * 3
    assert sum(one.tasks or 0 for one in said) == len(MANY)


def test_a_partition_without_a_task_answers_too() -> None:
    driver = TopologyDriver(partitions=2)
    driver.pipe(a_command(m.HoldAll))
    assert [(one.outcome, one.tasks) for one in results(driver, "HoldAll")] == [("applied", 0)] * 2


def test_people_hear_of_it_once_and_of_its_end_once_whatever_the_number_of_partitions() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, actor="ada", reason="incident 42"))
    driver.pipe(a_command(m.ResumeAll, actor="bob"))
    opened, closed = hold_alerts(driver)
    assert (opened.severity, opened.resolved, opened.subject) == ("critical", False, "fleet")
    assert "held by ada" in opened.text and "incident 42" in opened.text and "crl resume --all" in opened.text
    assert (closed.severity, closed.resolved, closed.subject) == ("info", True, "fleet")
    assert "bob" in closed.text


def test_nothing_is_rolled_back_and_nothing_promoted_while_the_fleet_is_held_and_people_are_told() -> None:
    story = a_collapse()
    driver = TopologyDriver()
    driver.pipe_each(story[:-12])
    driver.pipe(a_command(m.HoldAll, actor="ada"))
    driver.pipe_each(story[-12:])
    assert driver.read(topics.ROLLBACKS) == []
    [alert] = [alert for alert in driver.read(topics.ALERTS) if alert.kind == "held_degradation"]
    assert "the fleet has been held by ada" in alert.text and "crl resume --all" in alert.text
    driver.pipe(a_command(m.ResumeAll))
    driver.pipe_each(invocations("api-optimized", "F", active_epoch=2))
    assert len(driver.read(topics.ROLLBACKS)) == 1
    assert_exact(driver)


def test_while_promotions_are_stopped_a_collapse_is_still_rolled_back_and_nobody_is_told_of_a_hold() -> None:
    story = a_collapse()
    driver = TopologyDriver()
    driver.pipe_each(story[:-12])
    driver.pipe(a_command(m.HoldAll, actor="ada", reason="release night", stops="promotions"))
    driver.pipe_each(story[-12:])
    assert len(driver.read(topics.ROLLBACKS)) == 1
    assert [alert for alert in driver.read(topics.ALERTS) if alert.kind == "held_degradation"] == []
    [opened] = hold_alerts(driver)
    assert "promotions stopped by ada" in opened.text and "is still rolled back" in opened.text
    assert "crl resume --all" in opened.text
    assert_exact(driver)


def test_a_stop_of_promotions_is_shown_with_every_task_but_not_as_what_holds_it() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, actor="ada", stops="promotions", hours=2))
    assert {one.detail.partition(" until ")[0] for one in results(driver, "HoldAll")} == {"promotions stopped"}
    for record in [*last_active(driver).values(), *(driver.snapshot(AGENT, name) for name in MANY)]:
        assert record.held is None and record.fleet_held is not None
        assert (record.fleet_held.stops, record.fleet_held.actor) == ("promotions", "ada")
    driver.pipe(a_command(m.HoldAll, actor="bob"))
    assert {held_by(driver, name) for name in MANY} == {("fleet", "bob")}, "the stronger hold replaces the weaker one"
    driver.pipe(a_command(m.HoldAll, actor="ada", stops="promotions"))
    assert {held_by(driver, name) for name in MANY} == {None}
    driver.pipe(a_command(m.ResumeAll))
    assert all(record.fleet_held is None for record in last_active(driver).values())
    assert_exact(driver)


def test_a_task_that_is_born_while_the_fleet_is_held_is_held_too() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, actor="ada"))
    driver.pipe(an_invocation(task_type="newcomer"))
    assert held_by(driver, "newcomer") == ("fleet", "ada")
    assert last_active(driver)["newcomer"].fleet_held is not None
    driver.pipe(a_command(m.ResumeAll))
    assert held_by(driver, "newcomer") is None
    assert last_active(driver)["newcomer"].held is None
    assert_exact(driver)


def test_a_task_born_in_the_very_batch_of_the_hold_is_held_whichever_comes_first() -> None:
    for batch in (
        [an_invocation(task_type="early"), a_command(m.HoldAll), an_invocation(task_type="late")],
        [a_command(m.HoldAll), an_invocation(task_type="early"), an_invocation(task_type="late")],
        [an_invocation(task_type="early"), an_invocation(task_type="late"), a_command(m.HoldAll)],
    ):
        driver = TopologyDriver()
        driver.pipe(*batch)
        assert {name: held_by(driver, name) for name in ("early", "late")} == {
            "early": ("fleet", "ada"),
            "late": ("fleet", "ada"),
        }
        assert_exact(driver)


def test_the_hold_of_a_task_and_the_fleets_are_kept_apart() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldTask, task_type=MANY[0], actor="bob"), a_command(m.HoldAll, actor="ada"))
    snapshot = driver.snapshot(AGENT, MANY[0])
    assert snapshot.held is not None and snapshot.fleet_held is not None
    assert (snapshot.held.scope, snapshot.held.actor) == ("task", "bob")
    assert (snapshot.fleet_held.scope, snapshot.fleet_held.actor) == ("fleet", "ada")
    driver.pipe(a_command(m.ResumeAll))
    assert held_by(driver, MANY[0]) == ("task", "bob")
    assert held_by(driver, MANY[1]) is None


def test_resuming_one_task_leaves_it_under_the_hold_of_the_fleet_and_says_so() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldTask, task_type=MANY[0], actor="bob"), a_command(m.HoldAll, actor="ada"))
    driver.pipe(a_command(m.ResumeTask, task_type=MANY[0]), a_command(m.ResumeTask, task_type=MANY[1]))
    first, second = results(driver, "ResumeTask")
    if first.task_type != MANY[0]:
        first, second = second, first
    assert first.outcome == "applied" and "still held: the fleet is held by ada" in first.detail
    assert second.outcome == "refused" and "crl resume --all" in second.detail
    assert held_by(driver, MANY[0]) == held_by(driver, MANY[1]) == ("fleet", "ada")


@pytest.mark.parametrize("record", ["an outcome", "a bad record", "an order", "an outcome of a new task"])
def test_it_ends_by_itself_for_every_task_with_the_first_record_after_its_end_whatever_that_is(record: str) -> None:
    driver = TopologyDriver(partitions=1)
    driver.pipe(*[an_invocation(task_type=name) for name in MANY])
    driver.pipe(a_command(m.HoldAll, hours=1))
    fleet = decode_partition(driver.changelog[0][partition_key(0)]).fleet
    assert fleet is not None and fleet.until is not None
    until = fleet.until
    driver.clock = until - 1_000
    driver.pipe(an_invocation(task_type=MANY[0]))
    assert held_by(driver, MANY[0]) is not None
    driver.clock = until + 1
    ends: dict[str, Any] = {
        "an outcome": an_invocation(task_type=MANY[0]),
        "a bad record": b"{",
        "an order": a_command(m.RegisterVariant, task_type=MANY[0], variant_id="v2"),
        "an outcome of a new task": an_invocation(task_type="newcomer"),
    }
    driver.pipe(ends[record])
    assert {held_by(driver, name) for name in MANY} == {None}
    assert {active.held for active in last_active(driver).values()} == {None}
    assert [alert.resolved for alert in hold_alerts(driver)] == [False, True]
    assert "expired" in hold_alerts(driver)[-1].text
    assert_exact(driver)


def test_the_record_that_ends_it_is_judged_without_it() -> None:
    driver = TopologyDriver()
    story = a_collapse()
    driver.pipe_each(story[:-12])
    driver.pipe(a_command(m.HoldAll, hours=1))
    driver.pipe_each(story[-12:])
    driver.clock += HOUR
    driver.pipe(*invocations("api-optimized", "F", active_epoch=2))
    assert len(driver.read(topics.ROLLBACKS)) == 1
    assert_exact(driver)


def test_a_view_shows_a_hold_that_has_expired_without_traffic_as_over() -> None:
    driver = TopologyDriver()
    driver.pipe(an_invocation(task_type="quiet"), a_command(m.HoldAll, hours=1))
    [(key, row)] = driver.rows().items()
    state = decode_partition(driver.changelog[0][partition_key(0)])
    assert state.fleet is not None and state.fleet.until is not None
    assert summary(0, row, 0, fleet=state.fleet)["held"] is True
    shown = monitor_view(driver, key, state.fleet.until)
    assert shown.held is None and shown.fleet_held is None


def monitor_view(driver: TopologyDriver, key: bytes, now: int) -> m.TaskSnapshot:
    from crl_stream.stages.inspection import snapshot

    return snapshot(0, driver.changelog[0][partition_key(0)], driver.changelog[0][key], now)


def test_a_hold_while_the_fleet_is_held_takes_its_place() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, actor="ada", hours=1))
    driver.pipe(a_command(m.HoldAll, actor="bob", hours=5))
    assert {held_by(driver, name) for name in MANY} == {("fleet", "bob")}
    driver.pipe(a_command(m.ResumeAll))
    assert {held_by(driver, name) for name in MANY} == {None}


def test_a_weaker_hold_says_that_rollbacks_happen_again_and_keeps_the_reason_that_is_known() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, actor="ada", reason="incident 42", hours=2))
    for _ in range(2):
        driver.pipe(a_command(m.HoldAll, actor="grace", reason="", hours=2, stops="promotions"))
    for partition in range(3):
        said = [one.detail for one in results(driver, "HoldAll") if one.position.partition == partition]
        assert [", rollbacks happen again: " in detail for detail in said] == [False, True, False]
    held = [driver.snapshot(AGENT, name).fleet_held for name in MANY]
    assert {(one.actor, one.reason) for one in held if one} == {("grace", "as before: incident 42")}
    assert {one.reason for one in results(driver, "HoldAll") if one.actor == "grace"} == {""}, (
        "nothing is put into a person's mouth"
    )
    driver.pipe(a_command(m.HoldAll, actor="grace", reason="a new one"))
    assert {driver.snapshot(AGENT, name).fleet_held.reason for name in MANY} == {"a new one"}  # type: ignore[union-attr]
    assert_exact(driver)


def test_a_hold_that_has_expired_lends_its_reason_to_none() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, actor="ada", reason="incident 42", hours=1))
    driver.clock += 2 * HOUR
    driver.pipe(a_command(m.HoldAll, actor="grace", reason="", stops="promotions"))
    assert {driver.snapshot(AGENT, name).fleet_held.reason for name in MANY} == {""}  # type: ignore[union-attr]
    assert not any("happen again" in one.detail for one in results(driver, "HoldAll"))


def test_resuming_a_fleet_that_is_not_held_is_refused_and_changes_nothing() -> None:
    driver = a_fleet()
    before = driver.rows()
    driver.pipe(a_command(m.ResumeAll))
    assert {one.detail for one in results(driver, "ResumeAll")} == {"the fleet is not held"}
    assert driver.rows() == before
    assert hold_alerts(driver) == []


def test_an_order_for_the_fleet_that_comes_too_late_is_refused() -> None:
    driver = a_fleet()
    driver.pipe(a_command(m.HoldAll, expires_at="2025-11-19T14:29:00Z"))
    assert {one.outcome for one in results(driver, "HoldAll")} == {"refused"}
    assert {held_by(driver, name) for name in MANY} == {None}


def test_partitions_that_have_not_heard_of_it_go_on_and_take_it_when_it_is_repeated() -> None:
    driver = a_fleet(partitions=2)
    order = a_command(m.HoldAll, actor="ada")
    driver.append(topics.COMMANDS, encode(order), topics.FLEET_KEY, partition=0)
    driver._run_inlet()
    driver.pipe()
    held = {name for name in MANY if held_by(driver, name)}
    assert 0 < len(held) < len(MANY)
    driver.pipe(order)
    assert {held_by(driver, name) for name in MANY} == {("fleet", "ada")}
    assert_exact(driver)


def test_the_hours_are_those_of_the_default_policy_in_force() -> None:
    driver = TopologyDriver()
    driver.pipe(a_policy(PolicySet(default=Policy(operations=Operations(hold_hours=3)))), a_command(m.HoldAll))
    fleet = decode_partition(driver.changelog[0][partition_key(0)]).fleet
    assert fleet is not None and fleet.until == fleet.since + 3 * HOUR


def test_a_row_that_cannot_be_read_does_not_keep_the_others_from_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = TopologyDriver()
    driver.pipe(*[an_invocation(task_type=name) for name in MANY])
    whole = monitor.follow_fleet

    def follow(row: Any, *rest: Any) -> Any:
        if row.task_type == MANY[3]:
            raise RuntimeError("damaged")
        return whole(row, *rest)

    monkeypatch.setattr(monitor, "follow_fleet", follow)
    driver.pipe(a_command(m.HoldAll, actor="ada"))
    [said] = results(driver, "HoldAll")
    assert said.outcome == "applied" and "1 could not be read and will be published with its next record" in said.detail
    driver.pipe(an_invocation(task_type=MANY[3]))
    assert last_active(driver)[MANY[3]].fleet_held is not None


fleet_orders = st.one_of(
    st.builds(
        a_command,
        st.just(m.HoldAll),
        hours=st.sampled_from([0.002, 0.01, 24.0]),
        stops=st.sampled_from(["all", "promotions"]),
    ),
    st.builds(a_command, st.just(m.ResumeAll)),
)
elements = st.lists(
    st.builds(
        an_invocation,
        st.sampled_from(["default", "v2"]),
        st.sampled_from(["success", "success", "failure"]),
        task_type=st.sampled_from(MANY[:5]),
    )
    | fleet_orders
    | st.builds(a_command, st.sampled_from([m.HoldTask, m.ResumeTask]), task_type=st.sampled_from(MANY[:5]))
    | st.just(b"{"),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(elements, min_size=1, max_size=4), st.lists(st.sampled_from(Crash), min_size=4, max_size=4))
def test_holds_of_the_fleet_are_exact_under_crashes_and_replays(batches: list[list[Any]], crashes: list[Crash]) -> None:
    driver = TopologyDriver(partitions=2)
    for items, crash in zip(batches, crashes, strict=False):
        driver.pipe(*items, crash)
    assert_exact(driver)


@settings(max_examples=80, deadline=None)
@given(elements)
def test_what_is_published_of_a_task_is_always_what_the_partition_says_of_the_fleet(items: list[Any]) -> None:
    driver = TopologyDriver(partitions=2)
    driver.pipe(*items)
    for partition, changelog in enumerate(driver.changelog):
        fleet = decode_partition(changelog.get(partition_key(partition))).fleet
        expected = None if fleet is None else fleet.actor
        for log in (topics.ACTIVE_VARIANTS, topics.TASKS):
            newest = {record.key: record for record in driver.topics[log][partition]}
            for record in newest.values():
                message = driver_message(log, record)
                assert (None if message.fleet_held is None else message.fleet_held.actor) == expected
                if fleet is not None:
                    assert message.fleet_held.stops == fleet.stops
                    held_by_fleet = message.held is not None and message.held.scope == "fleet"
                    assert not (held_by_fleet and fleet.stops == "promotions")
                    assert message.held is not None or fleet.stops == "promotions"


def driver_message(topic: str, record: Any) -> Any:
    from crl_stream.wire.codec import Decoded, decode

    decoded = decode(topic, record.value, record.key)
    assert isinstance(decoded, Decoded)
    return decoded.message


def a_hold_from_another_version(**stops: str) -> bytes:
    """Return the bytes of a command, as a producer wrote it that does not know ``stops``, or knows more values."""
    fields = json.loads(encode(a_command(m.HoldAll, actor="ada", reason="incident 42", hours=2)))
    fields.pop("stops", None)
    return json.dumps(fields | stops).encode()


def order_as_bytes(driver: TopologyDriver, value: bytes) -> None:
    """Write a command for the fleet as its producer wrote it; the monitor decodes it."""
    for partition in range(driver.partitions):
        driver.append(topics.COMMANDS, value, FLEET_KEY, partition=partition)


def test_a_hold_of_an_older_producer_without_stops_stops_everything() -> None:
    decoded = decode(topics.COMMANDS, a_hold_from_another_version(), FLEET_KEY)
    assert decoded.message.stops == "all"  # type: ignore[union-attr]
    story, driver = a_collapse(), TopologyDriver()
    driver.pipe_each(story[:-12])
    order_as_bytes(driver, a_hold_from_another_version())
    driver.pipe_each(story[-12:])
    assert driver.read(topics.ROLLBACKS) == [], "not even a rollback"
    [result] = results(driver, "HoldAll")[:1]
    assert result.outcome == "applied" and result.detail.startswith("held until ")
    assert "this version" not in result.detail
    assert_exact(driver)


@pytest.mark.parametrize("value", ["rollouts", "Promotions", "\u202e<script>"])
def test_a_hold_of_a_newer_producer_that_is_not_understood_stops_everything_and_says_so(value: str) -> None:
    decoded = decode(topics.COMMANDS, a_hold_from_another_version(stops=value), FLEET_KEY)
    assert decoded.message.stops == value  # type: ignore[union-attr]
    story, driver = a_collapse(), TopologyDriver()
    driver.pipe_each(story[:-12])
    order_as_bytes(driver, a_hold_from_another_version(stops=value))
    driver.pipe_each(story[-12:])
    assert driver.read(topics.ROLLBACKS) == [], "not even a rollback"
    said = f"this version does not know how to stop only {value!r}, so everything stops"
    assert all(one.detail.endswith(said) and one.detail.startswith("held until ") for one in results(driver, "HoldAll"))
    [opened] = hold_alerts(driver)
    assert said in opened.text
    [snapshot] = [driver.snapshot(AGENT, TASK)]
    assert snapshot.fleet_held is not None and snapshot.fleet_held.stops == "all", "readers see only known values"
    assert_exact(driver)
