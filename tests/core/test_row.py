"""A row is read back exactly as it was written, bit for bit, and stays small."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from builders import a_command, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import SIZE, decode_row, encode_row, new_row, row_position
from crl_stream.core.policy import Limits, Policy

from .histories import histories
from .task import KEY, Task, proven
from .test_feedback import feedback


@settings(deadline=None, max_examples=60)
@given(histories)
def test_a_row_reads_back_bit_for_bit_after_any_history(history: list[Any]) -> None:
    task = Task()
    task.take(*history)
    data = encode_row(task.row)
    assert decode_row(data) == task.row
    assert encode_row(decode_row(data)) == data
    assert row_position(data) == (task.row.incarnation, task.row.offset)


def test_a_table_of_rows_takes_the_memory_that_their_bytes_have() -> None:
    task = Task()
    busy(task, ["default", "api-optimized", "v3"], 25)
    encode_row(task.row)
    tracemalloc.start()
    rows = [encode_row(task.row) for _ in range(200)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1.05 * sum(map(len, rows)), "the encoder's own buffers would be 50 % larger"


def test_a_new_row_is_empty_and_reads_back() -> None:
    row = new_row(KEY)
    assert decode_row(encode_row(row)) == row
    assert row.key == KEY


@given(st.binary(max_size=60))
def test_bytes_that_are_no_row_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_row(data)


def test_rows_share_nothing() -> None:
    one, other = Task(), Task()
    one.run("default", "S", runtime_id="r1")
    assert other.row == new_row(KEY)


def busy(task: Task, variants: list[str], outcomes: int) -> None:
    """Fill the windows and rings of the row."""
    for number in range(outcomes):
        for name in variants:
            task.take(an_invocation(name, quality=0.5, duration_seconds=float(number), runtime_id=f"r{number % 3}"))
    task.take(*[a_command(m.HoldTask) for _ in range(40)])


def test_a_row_of_three_busy_variants_is_about_4_kilobytes() -> None:
    task = Task()
    busy(task, ["default", "api-optimized", "v3"], 100)
    assert len(task.variant("default").window) == 20 * SIZE
    assert len(encode_row(task.row)) < 4_352


def test_a_row_does_not_grow_with_the_number_of_outcomes() -> None:
    task = Task()
    busy(task, ["default", "v2", "v3"], 100)
    before = len(encode_row(task.row))
    busy(task, ["default", "v2", "v3"], 300)
    # Each counter may need another byte.
    assert len(encode_row(task.row)) < before + 300


def test_the_rings_of_a_row_are_bounded() -> None:
    task = Task()
    for number in range(200):
        task.take(an_invocation(), feedback(f"unknown-{number}", reward=0.0), a_command(m.ResumeTask))
    row = task.row
    assert len(row.ids) == len(row.feedback_ids) == 64 * 8
    assert len(row.command_ids) == 32 * 8
    assert len(row.waiting) == 32


def test_a_task_has_at_most_32_variants_and_the_longest_idle_one_gives_way() -> None:
    task = Task()
    task.run("default", "S")
    for number in range(40):
        task.run(f"v{number:02}", "S", variant_source="explore")
    assert len(task.row.variants) == 32
    # The active variant is never dropped, however long it is idle.
    assert sorted(task.row.variants) == ["default", *[f"v{number:02}" for number in range(9, 40)]]


def test_registered_quarantined_active_and_previous_variants_never_give_way() -> None:
    task = Task(Policy(limits=Limits(variants=4)))
    task.run("default", "SSSSSS")
    task.run("fallen", "S", variant_source="explore")
    task.variant("fallen").quarantined = True
    task.run("next", "S", variant_source="explore")
    task.order(m.ActivateVariant, variant_id="next")
    task.order(m.RegisterVariant, variant_id="ours")
    facts = task.run("stranger", "S", variant_source="explore")
    assert sorted(task.row.variants) == ["default", "fallen", "next", "ours"]
    assert task.last is not None and (task.last.disposition, task.last.reason) == ("rejected", "variant_limit")
    [alert] = [fact for fact in facts if isinstance(fact, m.Alert)]
    assert (alert.kind, alert.number, alert.limit) == ("variant_limit", 4, 4)


def test_an_outcome_that_was_refused_for_want_of_room_counts_when_it_is_sent_again() -> None:
    task = Task(Policy(limits=Limits(variants=2)))
    for name in ("a", "b"):
        task.order(m.RegisterVariant, variant_id=name)
    outcome = an_invocation("c")
    task.take(outcome)
    assert task.last is not None and task.last.disposition == "rejected"
    task.order(m.RetireVariant, variant_id="b")
    task.take(outcome)
    assert task.last.disposition == "applied"
    assert task.variant("c").life.n == 1
    task.take(outcome)
    assert task.last.disposition == "duplicate"


def test_a_task_knows_at_most_64_runtimes_and_forgets_the_one_it_has_not_heard_from() -> None:
    task = Task()
    for number in range(70):
        task.take(an_invocation(runtime_id=f"r{number:02}"), an_invocation(runtime_id="r00"))
    assert len(task.row.runtimes) == 64
    assert "r00" in task.row.runtimes
    assert "r01" not in task.row.runtimes


def test_a_runtime_gives_one_receipt_per_epoch_and_says_how_often_it_was_late() -> None:
    task = proven(v2="S" * 12)
    task.take(an_invocation(active_epoch=1, runtime_id="r1"))
    task.order(m.ActivateVariant, variant_id="v2")
    late = [an_invocation(active_epoch=1, runtime_id="r1") for _ in range(2)]
    current = [an_invocation("v2", active_epoch=2, runtime_id="r1") for _ in range(2)]
    task.take(*late, *current)
    receipts = [(r.runtime_id, r.epoch, r.late_invocations, r.milliseconds) for r in task.stated(m.Receipt)]
    assert receipts[1:] == [("r1", 2, 2, 3_000)]
