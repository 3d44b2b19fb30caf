"""When no records arrive, a tick in the log triggers what has become due; the result is still the fold of the log."""

from __future__ import annotations

from typing import Any

import pytest
from builders import AGENT, TASK, a_command, a_policy, an_invocation, invocations
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import decode_row
from crl_stream.core.policy import Limits, Operations, Policy, PolicySet
from crl_stream.settings import load_remedies
from crl_stream.stages.driver import Crash, TopologyDriver
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import partition_key
from crl_stream.stages.waiting import Waiting
from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS, TASKS, TICK_KEY
from stages.oracle import assert_exact
from stages.test_exactness import elements, policies

KEY = TaskKey(AGENT, TASK).encode()
TICK = m.Tick(schema_version=1)
HOUR = 3_600_000


def newest(driver: TopologyDriver) -> dict[str, m.TaskSnapshot]:
    """Return the last snapshot of each task on ``crl.tasks``."""
    return {f"{s.agent_name}/{s.task_type}": s for s in driver.read(TASKS)}


def assert_nothing_is_unpublished(driver: TopologyDriver) -> None:
    """Check that ``crl.tasks`` agrees with every row; a new policy appears only with a task's next record."""
    shown = newest(driver)
    assert shown.keys() == {key.decode() for key in driver.rows()}
    for name, found in shown.items():
        row = driver.snapshot(*name.split("/"))
        assert found.as_of == row.as_of, name
        if found.policy_hash == row.policy_hash:
            assert found == row, name


def ticks(driver: TopologyDriver) -> int:
    return sum(record.key == TICK_KEY for record in driver.records(INVOCATIONS))


# -- figures ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("outcomes", [1, 3, 9, 11, 63, 199])
def test_two_seconds_after_a_burst_the_topic_says_what_the_row_says(outcomes: int) -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe(*invocations("default", "S" * outcomes))
    driver.fall_silent(2_000)
    assert newest(driver)[KEY.decode()].n_outcomes == outcomes
    assert_nothing_is_unpublished(driver)
    assert_exact(driver)


def test_scores_duplicates_and_shadow_outcomes_are_published_after_a_silence_too() -> None:
    driver = TopologyDriver(tick=1)
    [last] = invocations("default", "S")
    driver.pipe(*invocations("default", "S" * 10), last, last, an_invocation("v2", role="shadow"))
    score = m.Feedback(
        schema_version=1,
        feedback_id="f1",
        timestamp=last.timestamp,
        agent_name=AGENT,
        task_type=TASK,
        invocation_id=last.invocation_id,
        reward=-1.0,
    )
    driver.pipe(score)
    driver.fall_silent()
    found = newest(driver)[KEY.decode()]
    assert (found.n_duplicates, found.n_amended) == (1, 1)
    assert [v.shadow_n for v in found.variants] == [0, 1]


def test_a_proposal_that_a_burst_gives_ground_for_is_made_without_another_outcome() -> None:
    driver = TopologyDriver(tick=1, remedies=load_remedies())
    driver.pipe(*invocations("default", "S" * 63, reward=0.5))
    assert driver.proposals() == []
    driver.fall_silent()
    assert [proposal.status for proposal in driver.proposals()] == ["pending"]


def test_while_outcomes_come_in_quick_order_ticks_publish_nothing() -> None:
    driver = TopologyDriver(tick=100)
    driver.pipe_each(element for _ in range(50) for element in (*invocations("default", "S"), TICK))
    without = TopologyDriver(tick=100)
    without.pipe_each(element for _ in range(50) for element in (*invocations("default", "S"), b"{"))
    assert len(driver.read(TASKS)) == len(without.read(TASKS))


def test_a_policy_with_rarer_snapshots_is_obeyed_by_ticks() -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe(a_policy(PolicySet(default=Policy(limits=Limits(snapshot_seconds=60.0)))))
    driver.pipe(*invocations("default", "S" * 13))
    driver.fall_silent(50_000)
    assert (newest(driver)[KEY.decode()].n_outcomes, ticks(driver)) == (10, 0)
    driver.fall_silent(11_000)
    assert (newest(driver)[KEY.decode()].n_outcomes, ticks(driver)) == (13, 1)


# -- orders ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [m.HoldTask, m.PinVariant])
def test_a_hold_and_a_pin_end_in_silence_and_runtimes_are_told(kind: Any) -> None:
    driver = TopologyDriver()
    driver.pipe(*invocations("default", "S" * 5), a_command(kind, hours=2.0))
    driver.fall_silent(2 * HOUR - 120_000)
    before = driver.read(ACTIVE_VARIANTS)[-1]
    assert before.held is not None or before.pinned is not None
    driver.fall_silent(240_000)
    after = driver.read(ACTIVE_VARIANTS)[-1]
    assert (after.held, after.pinned) == (None, None)
    assert_nothing_is_unpublished(driver)
    assert ticks(driver) <= 3, "no ticks are appended while no row is waiting"
    assert_exact(driver)


def test_a_hold_that_an_undo_made_waits_for_outcomes_and_not_for_time() -> None:
    driver = TopologyDriver()
    driver.pipe(
        *invocations("default", "S" * 12),
        *invocations("v2", "S" * 12, variant_source="explore"),
        a_command(m.ActivateVariant, variant_id="v2"),
        a_command(m.UndoRollback),
    )
    assert driver.snapshot(AGENT, TASK).held is not None
    driver.fall_silent(72 * HOUR)
    assert driver.snapshot(AGENT, TASK).held is not None
    assert ticks(driver) <= 1


def test_a_deferred_proposal_comes_back_at_its_hour_without_an_outcome() -> None:
    driver = TopologyDriver(tick=1, remedies=load_remedies())
    driver.pipe(*invocations("default", "S" * 63, reward=0.5))
    driver.fall_silent()
    [proposal] = driver.proposals()
    until = "2025-11-20T00:00:00Z"
    driver.pipe(a_command(m.DeferProposal, proposal_id=proposal.proposal_id, until=until))
    assert [p.status for p in driver.proposals()] == ["deferred"]
    driver.fall_silent(24 * HOUR)
    assert [p.status for p in driver.proposals()] == ["pending"]


def test_a_tick_that_ends_a_hold_judges_nothing() -> None:
    driver = TopologyDriver()
    driver.pipe(
        *invocations("v2", "S" * 10, variant_source="explore"),
        *invocations("default", "S" * 30),
        a_command(m.HoldTask, hours=1.0),
        *invocations("default", "F" * 20),
    )
    driver.fall_silent(2 * HOUR)
    held = driver.snapshot(AGENT, TASK)
    assert (held.held, held.active_variant) == (None, "default")
    driver.pipe(*invocations("default", "F"))
    assert driver.snapshot(AGENT, TASK).active_variant == "v2", "the variant is rolled back only by the next outcome"


# -- exactness -------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(elements, st.integers(0, 3), st.sampled_from(Crash)), min_size=1, max_size=4),
    st.sampled_from([1, 300, 1_000, 5_000]),
)
def test_with_ticks_between_crashes_rows_and_outputs_are_the_folds(batches: list[Any], pace: int) -> None:
    driver = TopologyDriver(partitions=3, tick=pace)
    for items, owners, crash in batches:
        driver.pipe(*items, *[TICK] * owners, *items[:3], *[TICK] * owners, crash)
        driver.fall_silent(owners * 1_000)
    driver.fall_silent(3_000)
    assert_exact(driver)
    assert_nothing_is_unpublished(driver)


@settings(max_examples=60, deadline=None)
@given(st.lists(elements | policies.map(lambda policy: [policy]) | st.just([TICK]), max_size=12), st.data())
def test_an_index_kept_from_batch_to_batch_finds_the_rows_that_a_look_at_all_finds(
    groups: list[list[Any]], data: st.DataObject
) -> None:
    driver = TopologyDriver(tick=data.draw(st.sampled_from([10, 700, 2_000])))
    for item in [item for group in groups for item in (*group, TICK)]:
        driver._put(item)
    log = driver.topics[INVOCATIONS][0]
    kept: dict[bytes, bytes] = {}
    rows: dict[bytes, bytes] = {}
    waiting, start = Waiting(), 0
    while start < len(log):
        end = data.draw(st.integers(start + 1, len(log)))
        entries = decode_batch(log[start:end])
        commands = {(e.message.partition, e.message.offset): None for e in entries if type(e.message) is m.CommandRef}
        commands = {place: driver._command(*place) for place in commands}
        looked = fold_batch(0, 1, rows.get(partition_key(0)), rows, entries, commands)
        indexed = fold_batch(0, 1, kept.get(partition_key(0)), kept, entries, commands, waiting)
        assert indexed == looked
        rows |= looked.rows | {partition_key(0): looked.partition_row}
        kept |= indexed.rows | {partition_key(0): indexed.partition_row}
        again = Waiting.of(kept)
        if waiting.fleet == again.fleet:
            waiting.settle(indexed.wakes, indexed.born)
        else:
            waiting = again
        assert (waiting.wakes, waiting.tasks) == (again.wakes, again.tasks)
        start = end


def test_two_owners_that_both_tick_say_the_same_as_one() -> None:
    one, two = TopologyDriver(tick=1), TopologyDriver(tick=1)
    for driver, owners in ((one, 1), (two, 2)):
        driver.pipe(*[an_invocation(invocation_id=f"i{n}") for n in range(7)])
        driver.clock += 1_500
        driver.pipe(*[TICK] * owners)
    assert [s.n_outcomes for s in one.read(TASKS)] == [s.n_outcomes for s in two.read(TASKS)]
    assert one.rows().keys() == two.rows().keys()


def test_a_tick_reaches_a_row_in_the_state_that_its_place_in_the_log_gives_it() -> None:
    """One batch has outcomes, a tick after a pause, and more outcomes; the tick shows only the earlier outcomes."""
    driver = TopologyDriver(tick=1)
    for message in invocations("default", "SSS"):
        driver._put(message)
    driver.clock += 2_000
    driver._put(TICK)
    for message in invocations("default", "SSSS"):
        driver._put(message)
    driver.pipe()
    assert [s.n_outcomes for s in driver.read(TASKS)] == [1, 2, 3, 5]
    assert_exact(driver)


# -- older rows ------------------------------------------------------------------------------------
def test_what_an_older_engine_left_unpublished_is_published_and_what_it_did_not_is_left_alone() -> None:
    driver = TopologyDriver(partitions=1, tick=1)
    driver.pipe(
        *invocations("default", "S" * 13),
        *[an_invocation(task_type="quiet") for _ in range(10)],
        a_command(m.HoldTask, task_type="held", hours=1.0),
        *[an_invocation(task_type="held") for _ in range(2)],
    )
    for key, data in driver.rows().items():
        row = decode_row(data)
        driver.changelog[0][key] = _as_older(row)
        assert decode_row(driver.changelog[0][key]).wake == -1
    driver.fall_silent(2 * HOUR)
    shown = newest(driver)
    assert shown[KEY.decode()].n_outcomes == 13
    assert shown[f"{AGENT}/held"].held is None
    assert [s.task_type for s in driver.read(TASKS)].count("quiet") == 4, "snapshots after outcomes 1, 2, 5 and 10"


def _as_older(row: Any) -> bytes:
    """Return the bytes of a row as an older engine wrote it, without the newer fields."""
    import msgspec

    fields = msgspec.to_builtins(row, builtin_types=(bytes, bytearray))
    return msgspec.msgpack.encode(fields[: row.__struct_fields__.index("wake")])


def test_a_policy_that_is_set_in_between_changes_no_time_that_a_row_has_named() -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe(*invocations("default", "S" * 3))
    policy = PolicySet(default=Policy(limits=Limits(snapshot_seconds=1e6), operations=Operations(exploration=0.1)))
    driver.pipe(a_policy(policy))
    driver.fall_silent()
    assert newest(driver)[KEY.decode()].n_outcomes == 3
    assert_exact(driver)


def test_what_a_hold_of_the_fleet_and_then_a_record_have_touched_is_due_as_the_record_left_it() -> None:
    """The task has more records after the tick in the same batch, so its row is still being changed at the tick."""
    driver = TopologyDriver(partitions=1, tick=1_100)
    (again,) = invocations("default", "S")
    driver.pipe(again)
    driver.fall_silent(3_000)
    driver.pipe(a_command(m.HoldAll), again, TICK, again, Crash.AFTER_FOLD)
    assert_exact(driver)
