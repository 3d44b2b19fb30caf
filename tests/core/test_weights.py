"""The active record says which share of the sessions explores which variant."""

from __future__ import annotations

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.rollout import weights_of
from crl_stream.core.policy import Operations, Policy

from .task import Task, proven


def exploring(share: float, **others: str) -> Task:
    return proven(Policy(operations=Operations(exploration=share)), **others)


def active(task: Task) -> m.ActiveVariant:
    return task.stated(m.ActiveVariant)[-1]


@given(st.floats(0.0, 1.0), st.integers(0, 40))
def test_shares_add_up_and_all_explored_variants_get_about_the_same(exploration: float, count: int) -> None:
    task = proven()
    for number in range(count):
        task.order(m.RegisterVariant, variant_id=f"w{number}")
    weights = weights_of(task.row, exploration)
    explored = [name for name in task.row.variants if name != "default"]
    if weights is None:
        assert not exploration or not explored
        return
    shares = [weights[name] for name in explored]
    assert sum(weights.values()) == 1_000
    assert sum(shares) == max(round(exploration * 1_000), len(explored))
    assert max(shares) - min(shares) <= 1
    assert min(shares) >= 1


def test_without_exploration_there_are_no_weights() -> None:
    assert active(proven(v2="SSS")).weights is None


def test_a_new_variant_is_explored_as_soon_as_it_is_registered() -> None:
    task = exploring(0.1)
    assert active(task).weights is None
    task.order(m.RegisterVariant, variant_id="v2")
    assert active(task).weights == {"v2": 100, "default": 900}
    task.order(m.RegisterVariant, variant_id="v3")
    assert active(task).weights == {"v2": 50, "v3": 50, "default": 900}


@pytest.mark.parametrize("kind", [m.RetireVariant, m.ActivateVariant])
def test_a_variant_that_is_retired_or_becomes_active_is_no_longer_explored(kind: type) -> None:
    task = exploring(0.1, v2="S" * 20, v3="S" * 20)
    task.order(kind, variant_id="v2")
    weights = active(task).weights
    assert weights is not None
    assert weights == ({"v3": 100, "default": 900} if kind is m.RetireVariant else {"default": 50, "v3": 50, "v2": 900})


def test_a_quarantined_variant_is_not_explored() -> None:
    task = exploring(0.2, v2="S" * 8)
    task.run("default", "F" * 8, active_epoch=1)
    record = active(task)
    assert (record.variant_id, record.quarantined, record.weights) == ("v2", ["default"], None)


def test_a_variant_with_only_shadow_outcomes_is_not_explored() -> None:
    task = exploring(0.2)
    task.take(an_invocation("dark", "success", role="shadow"))
    assert active(task).weights is None


def test_a_session_that_keeps_an_old_variant_makes_no_variant_active_and_its_runtime_counts_as_moved() -> None:
    task = proven(v2="S" * 20)
    first = Task()
    first.take(an_invocation("v2", "success", variant_source="session"))
    assert first.row.active is None
    task.order(m.ActivateVariant, variant_id="v2")
    task.take(an_invocation("default", "success", variant_source="session", runtime_id="r1", active_epoch=2))
    [receipt] = task.stated(m.Receipt)[-1:]
    assert (receipt.runtime_id, receipt.epoch) == ("r1", 2)
