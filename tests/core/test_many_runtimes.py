"""More runtimes than a task remembers: some are forgotten, but they do not cause a flood of receipts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from builders import an_invocation

from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.monitor.runtimes import STRANGERS
from crl_stream.core.policy import Limits, Operations, Policy

from .task import NOON, Task


def work(task: Task, names: list[str], epoch: int) -> tuple[Counter[str], int]:
    """Fold one outcome of each runtime in ``names``; return the receipts by runtime and the number of snapshots."""
    stated = task.take(*[an_invocation(runtime_id=name, active_epoch=epoch) for name in names])
    receipts = Counter(fact.runtime_id for fact in stated if isinstance(fact, m.Receipt))
    return receipts, sum(isinstance(fact, m.TaskSnapshot) for fact in stated)


def pods(count: int) -> list[str]:
    return [f"pod-{number}" for number in range(count)]


@pytest.mark.parametrize("count", [60, 65, 66, 128, 400])
def test_runtimes_in_turn_get_one_receipt_each_and_the_snapshots_of_any_task(count: int) -> None:
    task = Task()
    receipts, snapshots = work(task, pods(count) * 5, 1)
    assert set(receipts.values()) == {1}
    assert len(receipts) >= count - 1
    assert snapshots <= 5 + count * 5 // 10


def test_a_thousand_runtimes_in_any_order_get_one_receipt_each_in_every_epoch() -> None:
    task = Task()
    task.run("v2", "S" * 10, variant_source="explore")
    names, rng = pods(1_000), random.Random(7)
    for epoch in (1, 2):
        order = names * 3
        rng.shuffle(order)
        receipts, snapshots = work(task, order, epoch)
        assert max(receipts.values()) == 1
        assert len(receipts) >= 980, "a Bloom filter has a few false positives"
        assert snapshots <= 10 + len(order) // 10
        if epoch == 1:
            task.order(m.ActivateVariant, variant_id="v2")
    assert task.row.epoch == 2


def test_made_up_ids_get_a_bounded_number_of_receipts_and_take_a_bounded_room() -> None:
    task = Task()
    rng = random.Random(11)
    receipts, snapshots = work(task, [f"made-up-{rng.getrandbits(64):x}" for _ in range(10_000)], 1)
    assert sum(receipts.values()) <= (STRANGERS + 1) * 64
    assert snapshots <= 10 + 1_000
    assert len(task.row.runtimes) == 64
    assert len(encode_row(task.row)) < 10_000
    assert task.stated(m.TaskSnapshot)[-1].runtimes_forgotten > 9_000


def test_the_runtimes_that_are_remembered_are_those_that_were_seen_last() -> None:
    task = Task()
    work(task, [*pods(64), "pod-0", "one-more"], 1)
    assert "pod-0" in task.row.runtimes
    assert "pod-1" not in task.row.runtimes


def test_a_forgotten_runtime_that_had_not_moved_gets_its_receipt_when_it_does() -> None:
    task = Task()
    task.run("v2", "S" * 10, variant_source="explore")
    work(task, pods(70), 1)
    task.order(m.ActivateVariant, variant_id="v2")
    late, _ = work(task, pods(70), 1)
    assert not late
    moved, _ = work(task, pods(70), 2)
    assert set(moved.values()) == {1}
    assert len(moved) >= 69


def test_a_task_with_few_runtimes_pays_for_none_of_this() -> None:
    task = Task()
    work(task, pods(64) * 3, 1)
    row = decode_row(encode_row(task.row))
    assert (len(row.receipted), row.forgotten, row.strangers) == (0, 0, 0)


def test_a_forgotten_runtime_has_the_same_places_in_the_filter_in_every_release_because_rows_keep_it() -> None:
    task = Task(Policy(limits=Limits(runtimes=1)))
    work(task, ["pod-1", "pod-2"], 1)
    found = task.row.receipted
    places = [8 * at + bit for at, byte in enumerate(found) for bit in range(8) if byte >> bit & 1]
    assert (len(found), places) == (2_048, [2_958, 3_518, 6_111, 7_896])
    work(task, ["pod-1"], 1)
    assert len(task.stated(m.Receipt)) == 2


@pytest.mark.parametrize(
    ("limit", "ahead", "count"), [(30, 30, 0), (30, 31, 1), (30, -31, 1), (120, 120, 0), (120, 121, 1)]
)
def test_a_clock_is_wrong_if_it_differs_by_more_than_the_limit_even_within_a_minute(
    limit: int, ahead: int, count: int
) -> None:
    task = Task(Policy(operations=Operations(max_skew_seconds=limit)))
    task.now = NOON + 27_000 if ahead < 31 else NOON
    task.take(an_invocation(timestamp=to_text(task.now + 1_000 + ahead * 1_000)))
    assert (task.row.skewed, len(task.alerts("clock_skew"))) == (count, count)
    for _ in range(999):
        task.take(an_invocation(timestamp=to_text(task.now + 1_000 + ahead * 1_000)))
    assert (task.row.skewed, len(task.alerts("clock_skew"))) == (1_000 * count, count), "it is told once"
    task.take(*[an_invocation(timestamp=to_text(task.now + 1_000 + ahead * 1_000))])
    assert len(task.alerts("clock_skew")) == 2 * count, "and again after a thousand outcomes"
