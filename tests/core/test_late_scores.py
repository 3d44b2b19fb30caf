"""A score for an outcome that no window holds any more changes nothing, and is reported as too late."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from builders import AGENT, AT, TASK, an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.monitor.snapshot import task_snapshot
from crl_stream.core.monitor.step import Context
from crl_stream.core.policy import Limits, Policy

from .task import Task

_numbers = itertools.count(1)


def a_score(invocation_id: str, reward: float = -1.0) -> m.Feedback:
    return m.Feedback(
        schema_version=1,
        feedback_id=f"late-{next(_numbers)}",
        timestamp=AT,
        agent_name=AGENT,
        task_type=TASK,
        invocation_id=invocation_id,
        reward=reward,
    )


def shown(task: Task) -> m.TaskSnapshot:
    return task_snapshot(task.row, Context(0, task.row.offset, task.now, 0, "0" * 16), task.policy)


def late_of(task: Task) -> dict[str, int]:
    return {variant.variant_id: variant.feedback_too_late for variant in shown(task).variants}


def test_forty_scores_for_outcomes_21_and_more_ago_are_forty_too_late_and_change_nothing_else() -> None:
    task = Task()
    task.take(*[an_invocation("alt", invocation_id=f"a{n}", variant_source="explore") for n in range(10)])
    task.take(*[an_invocation("cur", invocation_id=f"c{n}") for n in range(60)])
    q = task.variant("cur").q
    for number in range(40):
        task.take(a_score(f"c{number}"))
        assert task.last is not None
        assert task.last.disposition == "too_late"
    found = shown(task)
    assert late_of(task) == {"alt": 0, "cur": 40}
    assert (found.n_feedback_too_late, found.n_amended, found.n_feedback_waiting) == (40, 0, 0)
    assert task.variant("cur").q == q


def test_each_variant_has_its_own_count_however_they_took_turns() -> None:
    task = Task()
    for number in range(25):
        task.take(an_invocation("a", invocation_id=f"a{number}"), an_invocation("b", invocation_id=f"b{number}"))
    task.take(*[a_score(f"a{number}") for number in range(3)], a_score("b0"), a_score("b24"))
    assert late_of(task) == {"a": 3, "b": 1}
    assert task.row.amended == 1


def test_a_score_for_an_outcome_to_come_waits_and_one_that_nothing_ever_asks_for_is_counted_when_it_goes() -> None:
    task = Task(Policy(limits=Limits(waiting_feedback=4)))
    task.take(an_invocation("v"), a_score("to-come", 0.25))
    assert (shown(task).n_feedback_waiting, shown(task).n_feedback_too_late) == (1, 0)
    task.take(an_invocation("v", invocation_id="to-come"))
    assert (shown(task).n_feedback_waiting, task.row.amended) == (0, 1)
    task.take(*[a_score(f"never-{number}") for number in range(10)])
    assert (shown(task).n_feedback_waiting, shown(task).n_feedback_unmatched) == (4, 6)


def test_what_waits_for_its_outcome_is_not_pushed_out_by_scores_that_are_too_late() -> None:
    task = Task(Policy(limits=Limits(waiting_feedback=2)))
    task.take(*[an_invocation("v", invocation_id=f"i{number}") for number in range(60)])
    task.take(a_score("to-come", 0.5), *[a_score(f"i{number}") for number in range(30)])
    task.take(an_invocation("v", invocation_id="to-come"))
    assert task.row.amended == 1


def test_with_no_room_to_wait_every_score_is_counted() -> None:
    task = Task(Policy(limits=Limits(waiting_feedback=0)))
    task.take(an_invocation("v"), a_score("x"), a_score("y"))
    assert (shown(task).n_feedback_waiting, shown(task).n_feedback_unmatched) == (0, 2)


def test_a_variant_that_takes_the_place_of_a_forgotten_one_does_not_inherit_its_late_scores() -> None:
    task = Task(Policy(limits=Limits(variants=2)))
    task.run("active", "S")
    task.take(*[an_invocation("old", invocation_id=f"o{n}", variant_source="explore") for n in range(25)])
    task.take(an_invocation("new", variant_source="explore"))
    assert set(task.row.variants) == {"active", "new"}
    task.take(a_score("o0"))
    assert task.last is not None
    assert task.last.disposition == "too_late"
    assert late_of(task) == {"active": 0, "new": 0}
    assert shown(task).n_feedback_too_late == 1


def test_rows_of_an_older_engine_know_too_late_but_not_of_which_variant_until_new_outcomes_come() -> None:
    task = Task()
    task.take(*[an_invocation("v", invocation_id=f"i{number}") for number in range(30)])
    fields: Any = msgspec.to_builtins(task.row, builtin_types=(bytes, bytearray))
    task.row = decode_row(msgspec.msgpack.encode(fields[: task.row.__struct_fields__.index("wake")]))
    for variant in task.row.variants.values():
        variant.mark = b""
    task.take(a_score("i0"), an_invocation("v", invocation_id="fresh"))
    assert (task.row.too_late, late_of(task)) == (1, {"v": 0})
    task.take(*[an_invocation("v") for _ in range(20)], a_score("fresh"))
    assert (task.row.too_late, late_of(task)) == (2, {"v": 1})


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=1, max_size=120),
    st.lists(st.integers(0, 45), max_size=30),
    st.integers(1, 50),
)
def test_a_score_is_amended_waits_or_is_too_late_as_a_list_of_all_outcomes_says(
    sent: list[tuple[str, int]], scored: list[int], ids: int
) -> None:
    task = Task(Policy(limits=Limits(duplicate_ids=ids)))
    ring: list[tuple[str, str]] = []
    windows: dict[str, list[str]] = {}
    for variant, number in sent:
        name = f"i{number}"
        task.take(an_invocation(variant, invocation_id=name))
        if name not in [known for known, _ in ring]:
            ring = [*ring, (name, variant)][-ids:]
            windows[variant] = [*windows.get(variant, []), name][-20:]
        task.row = decode_row(encode_row(task.row))
    late = dict.fromkeys(windows, 0)
    for number in scored:
        name = f"i{number}"
        task.take(a_score(name))
        owner = dict(ring).get(name)
        if not any(name in window for window in windows.values()) and owner is not None:
            late[owner] += 1
    assert late_of(task) == late


def test_with_more_variants_than_there_are_marks_late_scores_are_counted_for_the_task() -> None:
    task = Task(Policy(limits=Limits(variants=1_000)))
    task.take(*[an_invocation(f"v{number}", variant_source="explore") for number in range(300)])
    task.take(*[an_invocation("v299", invocation_id=f"i{number}") for number in range(30)], a_score("i0"))
    assert (shown(task).n_feedback_too_late, sum(late_of(task).values())) == (1, 0)
