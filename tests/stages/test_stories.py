"""Whole stories, from input bytes to output bytes, without a broker."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from builders import AGENT, TASK, a_collapse, a_command, a_policy, an_invocation, invocations

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy, PolicySet, Rollback
from crl_stream.errors import Unsafe
from crl_stream.stages import monitor
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire import topics
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from stages.oracle import assert_exact

KEY = f"{AGENT}/{TASK}".encode()


def test_a_collapsed_variant_is_rolled_back_by_the_very_outcome_that_reveals_it() -> None:
    driver = TopologyDriver()
    driver.pipe_each(a_collapse())

    [alert] = [a for a in driver.read(topics.DEGRADATIONS) if a.variant_id == "api-optimized"]
    [rollback] = driver.read(topics.ROLLBACKS)
    active = driver.read(topics.ACTIVE_VARIANTS)[-1]
    assert rollback.position == alert.position
    assert rollback.cause_id == alert.alert_id
    assert (rollback.from_variant, rollback.to_variant) == ("api-optimized", "default")
    assert (active.variant_id, active.epoch) == ("default", rollback.epoch)
    assert "api-optimized" in active.quarantined
    assert rollback.reason in driver.records(topics.ROLLBACKS).__next__().value.decode()


def test_a_rollback_is_published_before_the_next_outcome_is_read() -> None:
    driver = TopologyDriver()
    for element in a_collapse():
        outputs = driver.pipe(element)
        if any(output.topic == topics.ROLLBACKS for output in outputs):
            last = len(driver.topics[topics.INVOCATIONS][0]) - 1
            [rollback] = driver.read(topics.ROLLBACKS)
            assert rollback.position.offset == last
            return
    pytest.fail("nothing was rolled back")


def test_late_results_of_the_old_variant_order_nothing() -> None:
    driver = TopologyDriver()
    driver.pipe_each(a_collapse())
    driver.pipe_each(invocations("api-optimized", "F" * 40, active_epoch=2))
    assert len(driver.read(topics.ROLLBACKS)) == 1
    assert driver.snapshot(AGENT, TASK).active_variant == "default"


def test_an_undo_returns_to_the_variant_that_was_rolled_back_and_holds() -> None:
    driver = TopologyDriver()
    driver.pipe_each(a_collapse())
    epoch = driver.snapshot(AGENT, TASK).epoch
    driver.pipe(a_command(m.UndoRollback, expected_epoch=epoch))
    driver.pipe_each(invocations("api-optimized", "F" * 30, active_epoch=epoch + 1))

    active = driver.read(topics.ACTIVE_VARIANTS)[-1]
    assert active.variant_id == "api-optimized"
    assert active.epoch == epoch + 1
    assert active.quarantined == []
    assert active.held is not None and active.held.actor == "ada"
    assert len(driver.read(topics.ROLLBACKS)) == 1
    assert [r.outcome for r in driver.read(topics.DECISIONS) if isinstance(r, m.CommandResult)][-1] == "applied"


def test_a_policy_is_in_force_from_its_place_in_the_log_on_and_not_before() -> None:
    shadow = PolicySet(default=Policy(operations=Operations(mode="shadow")))
    driver = TopologyDriver(partitions=3)
    driver.pipe_each(invocations("default", "S" * 3))
    driver.pipe(a_policy(shadow))
    driver.pipe_each(invocations("default", "S" * 3))
    hashes = [snapshot.policy_hash for snapshot in driver.read(topics.TASKS)]
    assert hashes[0] == PolicySet().digest()
    assert driver.snapshot(AGENT, TASK).policy_hash == shadow.digest()
    assert driver.snapshot(AGENT, TASK).mode == "shadow"
    in_force = [r for r in driver.read(topics.DECISIONS) if isinstance(r, m.CommandResult)]
    assert sorted(r.position.partition for r in in_force) == [0, 1, 2]
    assert_exact(driver)


def test_a_policy_for_a_log_that_has_none_is_refused_where_there_is_one_and_the_order_of_the_two_decides() -> None:
    shadow = PolicySet(default=Policy(operations=Operations(mode="shadow")))
    observe = PolicySet(default=Policy(operations=Operations(mode="observe")))
    for first in (shadow, PolicySet()):
        driver = TopologyDriver(partitions=3)
        driver.pipe_each(invocations("default", "S" * 3))
        driver.pipe(msgspec.structs.replace(a_policy(first), if_none=True))
        driver.pipe(msgspec.structs.replace(a_policy(observe), if_none=True))
        driver.pipe_each(invocations("default", "S" * 3))
        assert driver.snapshot(AGENT, TASK).policy_hash == first.digest()
        results = [r for r in driver.read(topics.DECISIONS) if isinstance(r, m.CommandResult)]
        assert sorted(r.outcome for r in results) == ["applied"] * 3 + ["refused"] * 3
        assert {r.policy_hash for r in results} == {first.digest()}
        assert_exact(driver)
        driver.pipe(a_policy(observe))
        driver.pipe_each(invocations("default", "S" * 3))
        assert driver.snapshot(AGENT, TASK).policy_hash == observe.digest(), "a person can always change the policy"
        assert_exact(driver)


def test_an_override_for_one_task_leaves_the_others_alone() -> None:
    policies = PolicySet(tasks={f"{AGENT}/{TASK}": Policy(operations=Operations(exploration=0.25))})
    driver = TopologyDriver()
    driver.pipe(a_policy(policies), an_invocation(), an_invocation(task_type="other"))
    rates = {a.task_type: a.exploration for a in driver.read(topics.ACTIVE_VARIANTS)}
    assert rates == {TASK: 0.25, "other": 0.0}


def test_equal_policies_have_equal_texts_and_a_text_reads_back() -> None:
    policies = PolicySet(
        default=Policy(rollback=Rollback(min_samples=7)),
        agents={"a": Policy(), "b": Policy(operations=Operations(exploration=0.5))},
    )
    again = msgspec.convert(msgspec.to_builtins(policies), PolicySet)
    assert PolicySet.parse(policies.canonical()) == policies
    assert again.canonical() == policies.canonical()
    assert PolicySet().canonical() == b"{}"


def _reference(driver: TopologyDriver, **changes: object) -> m.CommandRef:
    """Return a reference to a command that the inlet has never seen, as a forger would write it."""
    command = a_command(m.HoldTask)
    stored = driver.append(topics.COMMANDS, encode(command), KEY)
    home = partition_of(KEY, driver.partitions)
    driver._read_commands[home] += 1
    given = {
        "schema_version": 1,
        "command_id": command.command_id,
        "partition": home,
        "offset": stored.offset,
        "sha256": hashlib.sha256(stored.value or b"").hexdigest(),
        "agent_name": AGENT,
        "task_type": TASK,
    }
    return m.CommandRef(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "0" * 64}, "command_mismatch"),
        ({"command_id": "another"}, "command_mismatch"),
        ({"offset": 99}, "command_missing"),
        ({"partition": 99}, "command_missing"),
    ],
)
def test_a_reference_that_does_not_name_its_command_exactly_is_a_dead_letter(
    changes: dict[str, object], reason: str
) -> None:
    driver = TopologyDriver(partitions=2)
    driver.pipe(an_invocation())
    driver.append(topics.INVOCATIONS, encode(_reference(driver, **changes)), KEY)
    driver.pipe()
    [dead] = driver.records(topics.DEAD_LETTERS)
    assert reason.encode() in dict(dead.headers)["__streams.errors.exception"]
    assert driver.snapshot(AGENT, TASK).held is None


def test_a_reference_to_an_old_command_cannot_repeat_it() -> None:
    driver = TopologyDriver()
    driver.pipe(an_invocation(), a_command(m.HoldTask), a_command(m.ResumeTask))
    [hold, _resume] = [r for r in driver.records(topics.INVOCATIONS) if b"command_ref" in (r.value or b"")]
    for _ in range(3):
        driver.append(topics.INVOCATIONS, hold.value, hold.key)
    driver.pipe()
    assert driver.snapshot(AGENT, TASK).held is None
    assert sum(counts.duplicates for counts in driver.counts) == 3


def test_an_order_that_cannot_be_read_is_a_dead_letter_and_no_reference() -> None:
    driver = TopologyDriver()
    driver.append(topics.COMMANDS, b'{"type":"Explode"}', KEY)
    driver.pipe(an_invocation())
    [dead] = driver.records(topics.DEAD_LETTERS)
    assert dead.value == b'{"type":"Explode"}'
    assert len(list(driver.records(topics.INVOCATIONS))) == 1


def test_a_record_that_makes_the_engine_raise_is_buried_and_its_neighbours_are_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = monitor.step

    def step(row: object, message: object, *rest: object) -> object:
        done = real(row, message, *rest)  # type: ignore[arg-type]
        if getattr(message, "invocation_id", "") == "poison":
            raise ZeroDivisionError("a bug")  # the row has already been changed
        return done

    monkeypatch.setattr(monitor, "step", step)
    driver = TopologyDriver()
    driver.pipe(an_invocation(), an_invocation(invocation_id="poison"), an_invocation())
    assert driver.snapshot(AGENT, TASK).n_outcomes == 2
    [dead] = driver.records(topics.DEAD_LETTERS)
    assert b"poison" in (dead.value or b"")
    [alert] = [a for a in driver.read(topics.ALERTS) if a.kind == "fold_failure"]
    assert alert.severity == "critical"
    assert_exact(driver)


def test_an_engine_that_always_raises_stops_the_worker_instead_of_burying_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def step(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(monitor, "step", step)
    with pytest.raises(Unsafe, match="make the engine raise"):
        TopologyDriver().pipe(*invocations("default", "S" * 30))
