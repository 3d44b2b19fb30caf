"""The Q-table through the guide's API: values, visit counts and entries."""

from __future__ import annotations

import pytest
from builders import AGENT, TASK
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.errors import UsageError
from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.store import Store
from guide.world import WHO, record


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60))
def test_q_is_the_mean_of_the_first_ten_rewards_and_then_follows_slowly(rewards: list[float]) -> None:
    store = Store(None)
    for reward in rewards:
        record(store, "v", "S", reward=reward)
    learning = QLearningEngine(store=store)
    first, rest = rewards[:10], rewards[10:]
    expected = sum(first) / len(first)
    for reward in rest:
        expected = 0.9 * expected + 0.1 * reward
    # Rewards are kept in millionths.
    assert learning.get_q_value(*WHO, "v") == pytest.approx(expected, abs=2e-6)
    assert learning.get_visit_count(*WHO, "v") == len(rewards)


def test_a_variant_that_nobody_has_heard_of_has_no_value_and_no_visits(store: Store) -> None:
    learning = QLearningEngine()
    assert (learning.get_q_value(*WHO, "v"), learning.get_visit_count(*WHO, "v")) == (0.0, 0)
    record(store, "other", "S")
    assert (learning.get_q_value(*WHO, "v"), learning.get_visit_count(*WHO, "v")) == (0.0, 0)
    assert list(learning.get_all_q_values()) == [(AGENT, TASK, "other")]


def test_the_table_has_an_entry_for_each_variant_of_each_task(store: Store) -> None:
    for task in ("t1", "t2"):
        for variant in ("v1", "v2", "v3"):
            record(store, variant, "S", task_type=task)
    table = QLearningEngine().get_all_q_values()
    assert len(table) == 2 * 3
    assert table[AGENT, "t1", "v1"] == 1.0


def test_a_name_that_can_be_none_is_refused(store: Store) -> None:
    with pytest.raises(UsageError):
        QLearningEngine().get_q_value("a b", "t", "v")
