"""A history is read as the engine reads it: each outcome once, with its late scores, and no outcomes of other tasks."""

from __future__ import annotations

from builders import AGENT, TASK, an_invocation

from calibration.worlds import KEY, history_of, invocations_of
from crl_stream.calibration.history import HistoryReader, Scale
from crl_stream.core import messages as m
from crl_stream.core.policy import Learning


def a_score(invocation_id: str, number: int = 1, **given: float) -> m.Feedback:
    return m.Feedback(
        schema_version=1,
        feedback_id=f"score-{invocation_id}-{number}",
        timestamp="2025-11-19T14:30:00Z",
        agent_name=AGENT,
        task_type=TASK,
        invocation_id=invocation_id,
        **given,
    )


def test_each_variant_has_its_outcomes_in_order_and_the_newest_live_one_is_known() -> None:
    found = history_of(
        [
            *invocations_of("v1", [True, False]),
            *invocations_of("v2", [True], variant_source="explore"),
            *invocations_of("v1", [True], first=2),
            *invocations_of("v2", [False], first=1, variant_source="explore"),
        ]
    )
    assert {name: [one.success for one in seen] for name, seen in found.variants.items()} == {
        "v1": [True, False, True],
        "v2": [True, False],
    }
    assert found.newest == "v1"


def test_repeated_shadow_and_foreign_outcomes_do_not_count() -> None:
    one = an_invocation("v1", invocation_id="same")
    found = history_of(
        [one, one, an_invocation("v1", role="shadow"), an_invocation("v1", agent_name="other"), an_invocation("v1")]
    )
    assert (found.outcomes, found.duplicates, found.shadow) == (2, 1, 1)


def test_a_late_score_is_kept_with_its_lag_and_changes_the_reward() -> None:
    messages = [*invocations_of("v1", [True] * 3), a_score("v1-0", quality=0.0), *invocations_of("v1", [True], first=3)]
    found = history_of(messages)
    first, second, *_ = found.variants["v1"]
    assert [late.lag for late in first.late] == [2]
    scale = Scale(found, Learning())
    assert scale.reward(second) == 1.0
    assert scale.reward(first) < 0.2


def test_a_score_that_came_before_its_outcome_counts_at_once() -> None:
    found = history_of([a_score("v1-0", reward=-0.5), *invocations_of("v1", [True])])
    assert [(late.lag, late.reward) for late in found.variants["v1"][0].late] == [(0, -0.5)]


def test_only_the_newest_outcomes_are_kept_and_the_rest_is_counted() -> None:
    found = history_of(invocations_of("v1", [False] * 30 + [True] * 20), most=20)
    assert (found.outcomes, found.read, found.older) == (20, 50, 30)
    assert all(one.success for one in found.variants["v1"])


def test_other_tasks_are_remembered_for_a_hint() -> None:
    reader = HistoryReader(KEY, 10)
    reader.take(an_invocation("v1", agent_name="someone"))
    assert reader.others == {f"someone/{TASK}"}


def test_where_nothing_fails_the_reward_says_how_good_an_outcome_is() -> None:
    rewarded = history_of(invocations_of("v1", [True] * 3, reward=0.5))
    assert Scale(rewarded, Learning()).value(rewarded.variants["v1"][0]) == 0.75
    failing = history_of(invocations_of("v1", [True, False], reward=0.5))
    assert [Scale(failing, Learning()).value(one) for one in failing.variants["v1"]] == [1.0, 0.0]
