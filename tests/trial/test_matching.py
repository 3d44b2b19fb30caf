"""Decisions of two policies are paired nearest first, each at most once, and only with an equal decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crl_stream.trial.decisions import Decided
from crl_stream.trial.matching import Placed, match


def decided(number: int, to: str = "b") -> Placed:
    return number, Decided("rollback", "", "a", to, 0, number, "2025-11-19T14:30:00.000Z", "why", f"rb-{number}-{to}")


numbers = st.lists(st.integers(1, 60), unique=True, max_size=25).map(sorted)


@given(numbers, numbers)
def test_the_nearest_pair_that_is_left_is_always_the_next(one: list[int], other: list[int]) -> None:
    found = match([decided(n) for n in one], [decided(n) for n in other])
    left, right, expected = set(one), set(other), list[int]()
    while left and right:
        a, b = min(((a, b) for a in left for b in right), key=lambda ab: (abs(ab[0] - ab[1]), min(ab)))
        left.remove(a)
        right.remove(b)
        expected.append(abs(a - b))
    assert found.same == expected.count(0)
    assert sorted(one.outcomes for one in found.changes if one.outcomes) == sorted(d for d in expected if d)
    assert {c.against[0] for c in found.changes if c.change == "removed" and c.against} == left
    assert {c.policy[0] for c in found.changes if c.change == "added" and c.policy} == right


@given(numbers, numbers)
def test_every_decision_is_named_exactly_once(one: list[int], other: list[int]) -> None:
    found = match([decided(n) for n in one], [decided(n) for n in other])
    against = [change.against[0] for change in found.changes if change.against is not None]
    policy = [change.policy[0] for change in found.changes if change.policy is not None]
    assert len(against) + found.same == len(one)
    assert len(policy) + found.same == len(other)
    assert set(against) <= set(one)
    assert set(policy) <= set(other)


def test_a_rollback_to_another_variant_is_another_decision() -> None:
    found = match([decided(10, "b")], [decided(10, "c")])
    assert sorted(change.change for change in found.changes) == ["added", "removed"]
