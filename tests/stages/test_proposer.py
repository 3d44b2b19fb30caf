"""The proposer's stage is exact at every batch boundary, crash and gap, and no input can stop it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from builders import AGENT, AT, TASK, a_command, a_policy, invocations
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Policy, PolicySet, Proposals
from crl_stream.core.proposer.step import approval_of
from crl_stream.errors import Unsafe
from crl_stream.settings import load_remedies
from crl_stream.stages import proposer
from crl_stream.stages.driver import Crash, ProposerCrash, TopologyDriver
from crl_stream.stages.fold import Folded
from crl_stream.stages.incidents import fold_failure_alert
from crl_stream.stages.partition import PartitionRow, decode_partition, partition_key, record_hash
from crl_stream.stages.proposer import decode_snapshots, propose_batch
from crl_stream.wire import topics
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.partitioner import partition_of
from stages.oracle import assert_exact
from stages.proposal_oracle import assert_proposals_exact, refold_proposals

REMEDIES = load_remedies()
KEY = TaskKey(AGENT, TASK).encode()
TASKS = [TASK, "security-audit", "review"]
EAGER = a_policy(
    PolicySet(Policy(proposals=Proposals(min_invocations=8, create_below_q=0.8, retire_after_rollbacks=1)))
)


def a_driver(**given: Any) -> TopologyDriver:
    return TopologyDriver(remedies=REMEDIES, **given)


runs = st.builds(
    invocations,
    st.sampled_from(["default", "default-v2", "v2"]),
    st.sampled_from(["S" * 8, "F" * 8, "SE" * 6, "SSSF" * 3]),
    task_type=st.sampled_from(TASKS),
    variant_source=st.none() | st.just("explore"),
)
orders = st.builds(
    lambda kind, task, variant: [a_command(kind, task_type=task, variant_id=variant)],
    st.sampled_from([m.ActivateVariant, m.RetireVariant, m.RegisterVariant]),
    st.sampled_from(TASKS),
    st.sampled_from(["default", "v2"]),
)
reviews = st.builds(
    lambda kind, which: [(kind, which)], st.sampled_from(["approve", "reject", "defer"]), st.integers(0)
)
batches = st.lists(st.lists(runs | runs | orders | reviews, min_size=1, max_size=4), min_size=2, max_size=6)
crashes = st.none() | st.sampled_from(Crash) | st.builds(ProposerCrash, st.sampled_from(Crash))


def approval(proposal: m.Proposal, actor: str = "ada", **fields: Any) -> m.ApproveProposal:
    command_id = a_command(m.RejectProposal, proposal_id=proposal.proposal_id).command_id
    given = {"schema_version": 1, "command_id": command_id, "timestamp": AT, "actor": actor, "reason": "yes"}
    return approval_of(proposal, **(given | fields))


def review(driver: TopologyDriver, kind: str, which: int) -> list[Any]:
    waiting = [p for p in driver.proposals() if p.status in {"pending", "deferred"}]
    if not waiting:
        return []
    proposal = waiting[which % len(waiting)]
    if kind == "approve":
        return [approval(proposal)]
    order = m.RejectProposal if kind == "reject" else m.DeferProposal
    return [a_command(order, proposal_id=proposal.proposal_id, task_type=proposal.task_type)]


def play(driver: TopologyDriver, items: list[Any]) -> list[Any]:
    return [message for item in items for message in (review(driver, *item) if isinstance(item, tuple) else [item])]


# -- exactness -------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(batches, st.lists(crashes, min_size=6, max_size=6))
def test_after_a_crash_of_either_stage_rows_and_proposals_are_those_of_a_world_without_crashes(
    stories: list[list[list[Any]]], points: list[Any]
) -> None:
    driver = a_driver(partitions=3)
    driver.pipe(EAGER)
    for items, crash in zip(stories, points, strict=False):
        messages = play(driver, [item for part in items for item in part])
        driver.pipe(*messages, *([] if crash is None else [crash]))
    driver.pipe()
    assert_proposals_exact(driver)


@settings(max_examples=60, deadline=None)
@given(batches, st.data())
def test_where_a_batch_ends_changes_neither_rows_nor_proposals_and_holes_do_not_matter(
    stories: list[list[list[Any]]], data: st.DataObject
) -> None:
    driver = a_driver()
    driver.pipe(EAGER)
    for items in stories:
        driver.pipe(*play(driver, [item for part in items for item in part]))
    log = driver.topics[topics.TASKS][0]
    # Compaction may remove any record except the last.
    gone = data.draw(st.sets(st.integers(0, max(0, len(log) - 2))))
    kept = [record for record in log if record.offset not in gone or record is log[-1]]
    whole = fold({}, kept)
    changelog: dict[bytes, bytes] = {}
    outputs, start = [], 0
    while start < len(kept):
        end = data.draw(st.integers(start + 1, len(kept)))
        # Read again from an earlier position, like a worker that starts from an old committed offset.
        again = data.draw(st.integers(0, start))
        folded = fold(changelog, kept[again:end])
        changelog |= folded.rows | {partition_key(0): folded.partition_row}
        outputs += folded.outputs
        start = end
    assert changelog == whole.rows | ({partition_key(0): whole.partition_row} if kept else {})
    assert outputs == whole.outputs


def fold(changelog: dict[bytes, bytes], records: list[Any]) -> Folded:
    return propose_batch(0, 1, changelog.get(partition_key(0)), changelog, decode_snapshots(records), REMEDIES)


def lone_and_bad(driver: TopologyDriver, **fields: Any) -> m.Proposal:
    """Let the only variant fail half of 60 invocations; return the resulting proposal."""
    driver.pipe(*invocations("default", "SF" * 30, **fields))
    [proposal] = [p for p in driver.proposals() if p.status == "pending"]
    return proposal


def test_a_proposal_goes_to_the_partition_of_its_task_under_its_own_id() -> None:
    driver = a_driver(partitions=4)
    proposal = lone_and_bad(driver)
    [first, *_] = driver.topics[topics.PROPOSALS][partition_of(KEY, 4)]
    assert first.key == proposal.proposal_id.encode()
    assert_proposals_exact(driver)


def test_nothing_is_proposed_for_a_drill_and_its_snapshots_leave_no_row() -> None:
    driver = a_driver()
    driver.pipe(*invocations("default", "SF" * 30, agent_name="crl-drill"))
    assert driver.proposals() == []
    log = driver.topics[topics.TASKS][0]
    folded = fold({}, log)
    assert (folded.rows, folded.outputs) == ({}, [])
    assert folded.counts.applied == len(log)
    assert_proposals_exact(driver)


def test_snapshots_that_the_monitor_wrote_twice_are_counted_and_change_nothing() -> None:
    driver = a_driver()
    driver.pipe(*invocations("default", "SF" * 30), Crash.AFTER_OUTPUTS)
    driver.pipe()
    assert sum(counts.duplicates for counts in driver.proposer_counts) > 0
    assert len(driver.proposals()) == 1
    assert_proposals_exact(driver)


def test_the_partition_row_says_where_to_go_on() -> None:
    driver = a_driver()
    lone_and_bad(driver)
    state = decode_partition(driver.proposals_changelog[0][partition_key(0)])
    assert state.next_offset == len(driver.topics[topics.TASKS][0])
    assert state.last_hash == record_hash(driver.topics[topics.TASKS][0][-1])
    again = fold(driver.proposals_changelog[0], driver.topics[topics.TASKS][0])
    assert (again.rows, again.outputs, again.counts.skipped) == ({}, [], state.next_offset)
    assert again.partition_row == driver.proposals_changelog[0][partition_key(0)]


def test_without_its_catalogue_the_driver_runs_the_monitor_alone() -> None:
    driver = TopologyDriver()
    driver.pipe(*invocations("default", "SF" * 30))
    assert driver.proposals() == []
    assert_exact(driver)


# -- records that cannot be used -------------------------------------------------------------------
def test_a_record_that_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_folded() -> None:
    driver = a_driver(partitions=2)
    home = partition_of(KEY, 2)
    snapshot = driver_snapshot()
    bad = [
        (None, KEY, home, "null_value"),
        (b"{", KEY, home, "not_json"),
        (b"{}", KEY, home, "missing_field"),
        (snapshot, b"other/task", home, "key_mismatch"),
        (snapshot, None, home, "key_mismatch"),
        (snapshot, KEY, 1 - home, "key_mismatch"),
    ]
    for value, key, partition, _ in bad:
        driver.append(topics.TASKS, value, key, partition=partition)
    lone_and_bad(driver)
    letters = [(read_letter(r.headers), r) for r in driver.records(topics.DEAD_LETTERS)]
    assert sorted(letter.reason for letter, _ in letters) == sorted(reason for *_, reason in bad)
    assert {letter.topic for letter, _ in letters} == {topics.TASKS}
    assert {(r.value, r.key) for _, r in letters} == {(value, key) for value, key, *_ in bad}
    assert_proposals_exact(driver)


def driver_snapshot() -> bytes:
    driver = TopologyDriver()
    driver.pipe(*invocations("default", "S"))
    return encode(driver.snapshot(AGENT, TASK))


def test_a_snapshot_that_makes_the_engine_raise_is_buried_and_alerted_and_its_neighbours_are_folded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = proposer.step

    def step(row: Any, snapshot: m.TaskSnapshot, remedies: Any) -> Any:
        done = real(row, snapshot, remedies)
        if snapshot.n_outcomes == 5:
            raise ZeroDivisionError("a bug")  # the row has already been changed
        return done

    monkeypatch.setattr(proposer, "step", step)
    driver = a_driver()
    lone_and_bad(driver)
    [dead] = driver.records(topics.DEAD_LETTERS)
    letter = read_letter(dead.headers)
    assert (letter.reason, letter.topic) == ("fold_failure", topics.TASKS)
    assert msgspec.json.decode(dead.value or b"")["n_outcomes"] == 5
    [alert] = [a for a in driver.read(topics.ALERTS) if a.kind == "fold_failure"]
    assert (alert.severity, alert.position) == ("critical", None)
    assert alert.text.endswith(f"see crl dead-letters show 0:{letter.offset} --topic crl.tasks")
    assert_proposals_exact(driver)


def test_an_impossible_instant_is_a_poison_like_any_other() -> None:
    driver = a_driver()
    bad = driver_snapshot().replace(b'"timestamp":"2025-11-19', b'"timestamp":"2025-13-39', 1)
    driver.append(topics.TASKS, bad, KEY)
    lone_and_bad(driver)
    assert [read_letter(r.headers).reason for r in driver.records(topics.DEAD_LETTERS)] == ["fold_failure"]


def test_an_engine_that_always_raises_stops_the_worker_instead_of_burying_the_topic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def step(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(proposer, "step", step)
    with pytest.raises(Unsafe, match="make the engine raise"):
        a_driver().pipe(*[a_command(m.RegisterVariant, variant_id=f"v{number}") for number in range(30)])


def test_the_alerts_of_both_stages_have_ids_of_their_own() -> None:
    record = a_driver().append(topics.TASKS, b"{}", KEY)
    own = [
        fold_failure_alert(KEY, 0, record, ValueError(), PartitionRow(), topic=topic).alert_id
        for topic in (topics.INVOCATIONS, topics.TASKS)
    ]
    assert len(set(own)) == 2


def test_the_oracle_sees_proposals() -> None:
    driver = a_driver()
    lone_and_bad(driver)
    assert any(output.topic == topics.PROPOSALS for output in refold_proposals(driver)[1])
