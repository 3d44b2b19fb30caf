"""The state is the fold of the log, whatever is sent, however it is batched, and wherever the process dies."""

from __future__ import annotations

from typing import Any

from builders import AGENT, a_command, a_policy, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.policy import Degradation, Operations, Policy, PolicySet
from crl_stream.stages.driver import Crash, TopologyDriver
from crl_stream.stages.entries import command_positions, decode_batch
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import partition_key
from crl_stream.wire.topics import COMMANDS, INVOCATIONS
from stages.oracle import assert_exact, refold

TASKS = ["api-design", "security-audit", "review"]
VARIANTS = ["default", "v2", "v3"]
ids = st.integers(0, 60).map(lambda n: f"i{n}")

outcomes = st.builds(
    an_invocation,
    st.sampled_from(VARIANTS),
    st.sampled_from(["success", "success", "success", "failure", "error"]),
    task_type=st.sampled_from(TASKS),
    invocation_id=ids,
    reward=st.none() | st.floats(-1, 1),
    quality=st.none() | st.floats(0, 1),
    duration_seconds=st.none() | st.floats(0, 1000),
    active_epoch=st.none() | st.integers(0, 4),
    runtime_id=st.none() | st.sampled_from(["r1", "r2"]),
    variant_source=st.none() | st.just("explore"),
    role=st.none() | st.just("shadow"),
)
feedback = st.builds(
    m.Feedback,
    schema_version=st.just(1),
    feedback_id=ids,
    timestamp=st.just("2025-11-19T14:30:00Z"),
    agent_name=st.just(AGENT),
    task_type=st.sampled_from(TASKS),
    invocation_id=ids,
    reward=st.none() | st.floats(-1, 1),
    quality=st.none() | st.floats(0, 1),
)


def _commands() -> st.SearchStrategy[Any]:
    task = {"task_type": st.sampled_from(TASKS), "expected_epoch": st.none() | st.integers(0, 3)}
    variant = {"variant_id": st.sampled_from(VARIANTS)}
    with_variant = [
        m.ActivateVariant,
        m.LiftQuarantine,
        m.AcceptLevel,
        m.RetireVariant,
        m.RegisterVariant,
        m.PinVariant,
    ]
    plain = [m.HoldTask, m.ResumeTask, m.UnpinVariant, m.UndoRollback]
    return st.one_of(
        *[st.builds(a_command, st.just(kind), **task, **variant) for kind in with_variant],
        *[st.builds(a_command, st.just(kind), **task) for kind in plain],
        st.builds(a_command, st.just(m.HoldAll), hours=st.sampled_from([0.002, 24.0])),
        st.builds(a_command, st.just(m.ResumeAll)),
    )


policies = st.builds(
    lambda window, guard, mode: a_policy(
        PolicySet(
            default=Policy(
                degradation=Degradation(lookback_window=window, min_recent=2, min_baseline=4, guard=guard),
                operations=Operations(mode=mode),
            )
        )
    ),
    st.integers(2, 30),
    st.sampled_from(["none", "evidence"]),
    st.sampled_from(["enforce", "shadow", "observe"]),
)
garbage = st.tuples(st.none() | st.just(b"a/b"), st.none() | st.binary(max_size=40))
elements = st.lists(outcomes | outcomes | outcomes | feedback | _commands() | policies | garbage, max_size=80)


@settings(max_examples=60, deadline=None)
@given(elements, st.data())
def test_where_a_batch_ends_changes_neither_rows_nor_outputs(items: list[Any], data: st.DataObject) -> None:
    driver = TopologyDriver()
    for item in items:
        driver._put(item)
    whole, outputs = refold(driver)

    log = driver.topics[INVOCATIONS][0]
    changelog: dict[bytes, bytes] = {}
    piecewise, start = [], 0
    while start < len(log):
        end = data.draw(st.integers(start + 1, len(log)))
        entries = decode_batch(log[start:end])
        commands = {(p, o): driver.topics[COMMANDS][p][o].value for p, o in command_positions(entries)}
        folded = fold_batch(0, 1, changelog.get(partition_key(0)), changelog, entries, commands)
        changelog |= folded.rows | {partition_key(0): folded.partition_row}
        piecewise += folded.outputs
        start = end
    assert changelog == whole[0]
    assert piecewise == outputs


@settings(max_examples=60, deadline=None)
@given(st.lists(elements, min_size=1, max_size=4), st.lists(st.sampled_from(Crash), min_size=4, max_size=4))
def test_after_a_crash_anywhere_rows_are_the_fold_and_outputs_are_the_folds(
    batches: list[list[Any]], crashes: list[Crash]
) -> None:
    driver = TopologyDriver(partitions=3)
    for items, crash in zip(batches, crashes, strict=False):
        driver.pipe(*items, crash)
    assert_exact(driver)


@settings(max_examples=30, deadline=None)
@given(elements)
def test_records_met_again_change_nothing_and_say_nothing(items: list[Any]) -> None:
    driver = TopologyDriver()
    driver.pipe(*items)
    log, changelog = driver.topics[INVOCATIONS][0], driver.changelog[0]
    if not log:
        return
    entries = decode_batch(log)
    commands = {(p, o): driver.topics[COMMANDS][p][o].value for p, o in command_positions(entries)}
    again = fold_batch(0, 1, changelog[partition_key(0)], changelog, entries, commands)
    assert again.rows == {}
    assert again.outputs == []
    assert again.partition_row == changelog[partition_key(0)]
    assert again.counts.skipped == len(log)
