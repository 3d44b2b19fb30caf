"""A worker's totals follow its rows, take limited time, and say how many rows have not been read yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.task import Task, proven
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core.monitor.row import encode_row
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.stages.fleet_summary import Sums, mark_of, merged
from crl_stream.stages.partition import PartitionRow, encode_partition
from crl_stream.worker.stores.memory import MemoryRows
from crl_stream.worker.stores.rows import Last
from crl_stream.worker.summaries import LISTED, Summaries, of_peers

HEALTHY = encode_row(proven().row)


def failing() -> bytes:
    task = Task()
    task.run("default", "F" * 12)
    return encode_row(task.row)


FAILING = failing()
ROWS = {"healthy": HEALTHY, "failing": FAILING, "broken": b"\xc1 no row"}


class Table:
    """Only the parts of a table that the tests need."""

    def __init__(self, partitions: int = 1) -> None:
        self.store = MemoryRows()
        self.states: dict[int, PartitionRow] = {}
        for partition in range(partitions):
            self.store.open(partition)
            self.states[partition] = PartitionRow()

    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        return self.store.rows(partition)

    def partition_row(self, partition: int) -> bytes:
        return encode_partition(self.states[partition])

    def write(self, partition: int, rows: Mapping[bytes, bytes]) -> None:
        self.store.write(partition, rows, Last(0, b"", b""), frozenset())


def a_worker(rows: Mapping[bytes, bytes]) -> tuple[Any, Summaries]:
    table: Any = Table()
    table.write(0, rows)
    summaries = Summaries(table)
    summaries.begin(0, list(rows))
    return table, summaries


def expected(rows: Mapping[bytes, bytes], policies: PolicySet = PolicySet()) -> dict[str, int]:  # noqa: B008 - frozen
    sums = Sums()
    for row in rows.values():
        if row is not ROWS["broken"]:
            sums.add(mark_of(row, policies))
    return sums.as_dict()


keys = st.integers(0, 20).map(lambda number: b"a/%d" % number)
changes = st.dictionaries(keys, st.sampled_from(sorted(ROWS)), max_size=6)


@settings(max_examples=50)
@given(changes, st.lists(st.tuples(changes, st.booleans()), max_size=8))
async def test_the_numbers_are_those_of_the_rows_whatever_changes_between_two_questions(
    first: dict[bytes, str], batches: list[tuple[dict[bytes, str], bool]]
) -> None:
    rows = {key: ROWS[name] for key, name in first.items()}
    table, summaries = a_worker(rows)
    for change, asked in batches:
        written = {key: ROWS[name] for key, name in change.items()}
        rows |= written
        table.write(0, written)
        summaries.touched(0, written)
        if asked:
            await summaries.look(10.0)
    await summaries.look(10.0)
    seen = summaries.seen()
    assert (seen.unread, seen.behind) == (0, 0)
    assert seen.sums == expected(rows)
    assert seen.unreadable == sorted(key.decode() for key, row in rows.items() if row is ROWS["broken"])
    assert {key for _, _, key in seen.listed} == {key for key, row in rows.items() if row is FAILING}


async def test_a_question_reads_for_a_bounded_time_and_says_what_it_has_not_seen() -> None:
    rows = {b"a/%d" % number: HEALTHY for number in range(1_000)}
    table, summaries = a_worker(rows)
    await summaries.look(0.0)
    assert 0 < summaries.seen().unread < 1_000
    while before := summaries.seen().unread:
        summaries.read(0.0, only_new=True)
        assert summaries.seen().unread < before, "every look gets further"
    assert not summaries.read(0.0, only_new=True)
    assert summaries.seen().sums["tasks"] == 1_000
    table.write(0, dict.fromkeys(rows, FAILING))
    summaries.touched(0, rows)
    await summaries.look(0.0)
    assert 0 < summaries.seen().behind < 1_000
    await summaries.look(60.0)
    seen = summaries.seen()
    assert (seen.behind, seen.sums["trouble"], len(seen.listed)) == (0, 1_000, LISTED)


async def test_another_policy_judges_every_row_again() -> None:
    table, summaries = a_worker({b"a/1": HEALTHY})
    await summaries.look(1.0)
    policies = PolicySet(default=Policy(operations=Operations(mode="shadow")))
    table.states[0].set_policy(policies, "ada", 1)
    await summaries.look(1.0)
    assert summaries.seen().sums == expected({b"a/1": HEALTHY}, policies)


async def test_a_partition_that_went_elsewhere_is_not_counted_and_is_read_again_when_it_comes_back() -> None:
    table, summaries = a_worker({b"a/1": HEALTHY})
    await summaries.look(1.0)
    table.store.close(0)
    assert summaries.seen().sums == {}
    assert not summaries.knows(0)
    table.store.open(0)
    assert not summaries.knows(0)
    summaries.begin(0, [])
    summaries.touched(0, [b"!partition/0"])
    assert summaries.seen().sums["tasks"] == 0


def test_the_answers_of_several_workers_are_one_with_trouble_first_and_the_silent_named() -> None:
    def answer(tasks: int, rank: int, name: str, unread: int = 0) -> dict[str, Any]:
        return {
            "summary": {"tasks": tasks, "trouble": 1},
            "unread": unread,
            "behind": 0,
            "tasks": [{"agent_name": "a", "task_type": name}],
            "ranks": [rank],
            "unreadable": [f"a/{name}-broken"],
        }

    page = of_peers(answer(3, 1, "held"), [answer(4, 0, "bad", unread=7)], ["http://b:1"])
    assert page["summary"] == {"tasks": 7, "trouble": 2}
    assert [task["task_type"] for task in page["tasks"]] == ["bad", "held"]
    assert (page["partial"], page["silent"], page["unread"]) == (True, ["http://b:1"], 7)
    assert page["unreadable"] == ["a/bad-broken", "a/held-broken"]
    assert of_peers(answer(1, 0, "x"), [], [])["partial"] is False
    assert merged([]) == {}


def test_drills_are_not_counted_whether_they_were_there_before_or_came_later() -> None:
    table, summaries = a_worker({b"a/1": HEALTHY, b"crl-drill/silent-1": FAILING})
    table.write(0, {b"crl-drill/silent-2": FAILING, b"a/2": HEALTHY})
    summaries.touched(0, [b"crl-drill/silent-2", b"a/2"])
    assert not summaries.read(60.0)
    assert summaries.seen().sums == expected({b"a/1": HEALTHY, b"a/2": HEALTHY})
    assert summaries.seen().listed == []
