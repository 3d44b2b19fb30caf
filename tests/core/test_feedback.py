"""Late scores: the result is as if they had been known from the start, in whatever order they arrive."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest
from builders import AGENT, AT, TASK, a_command, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.evidence import by_metric
from crl_stream.core.monitor.row import Variant
from crl_stream.core.monitor.window import forget
from crl_stream.core.policy import Degradation, Limits, Policy

from .task import Task

_numbers = count()
STATUSES = st.sampled_from(["success", "success", "failure", "error"])
qualities = st.integers(0, 20).map(lambda n: n / 20)
rewards = st.integers(-20, 20).map(lambda n: n / 20)


def feedback(invocation_id: str, **fields: Any) -> m.Feedback:
    given = {"feedback_id": f"f-{next(_numbers)}", "invocation_id": invocation_id}
    return m.Feedback(schema_version=1, timestamp=AT, agent_name=AGENT, task_type=TASK, **(given | fields))


def figures(variant: Variant) -> Any:
    """Return the figures that must not depend on when a score became known."""
    v = variant
    return (v.life, v.q, v.q_start, v.judged, v.low_quality, [bytes(v.window)[i::30] for i in range(8, 30)])


outcome = st.tuples(STATUSES, st.none() | rewards, st.none() | qualities, st.none() | st.integers(0, 600).map(float))


def an_outcome(number: int, entry: Any, **known: Any) -> m.Invocation:
    status, reward, quality, seconds = entry
    fields = {"reward": reward, "quality": quality, "duration_seconds": seconds} | known
    return an_invocation(status=status, invocation_id=f"i{number}", **fields)


@settings(deadline=None)
@given(st.lists(outcome, min_size=1, max_size=40), st.data())
def test_a_late_score_equals_having_known_it_from_the_start(entries: list[Any], data: st.DataObject) -> None:
    n = len(entries)
    which = data.draw(st.integers(max(0, n - 20), n - 1))
    score = data.draw(
        st.fixed_dictionaries({"reward": rewards})
        | st.fixed_dictionaries({"quality": qualities})
        | st.fixed_dictionaries({"reward": rewards, "quality": qualities})
    )
    late, known = Task(), Task()
    late.take(*[an_outcome(i, entry) for i, entry in enumerate(entries)])
    late.take(feedback(f"i{which}", **score))
    known.take(*[an_outcome(i, entry, **(score if i == which else {})) for i, entry in enumerate(entries)])
    assert figures(late.variant("default")) == figures(known.variant("default"))
    assert late.row.amended == 1


@settings(deadline=None)
@given(st.lists(outcome, min_size=1, max_size=30), st.data())
def test_feedback_that_comes_first_waits_for_its_invocation(entries: list[Any], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(entries) - 1))
    when = data.draw(st.integers(0, which))
    reward = data.draw(rewards)
    early, known = Task(), Task()
    messages: list[Any] = [an_outcome(i, entry) for i, entry in enumerate(entries)]
    messages.insert(when, feedback(f"i{which}", reward=reward))
    early.take(*messages)
    known.take(*[an_outcome(i, e, **({"reward": reward} if i == which else {})) for i, e in enumerate(entries)])
    assert figures(early.variant("default")) == figures(known.variant("default"))
    assert early.row.waiting == []


def test_several_scores_may_wait_for_one_invocation_and_are_taken_in_their_order() -> None:
    task = Task()
    task.take(feedback("i1", reward=0.5), feedback("i1", quality=0.25), feedback("i1", reward=-0.5))
    task.take(an_invocation(invocation_id="i1"))
    assert task.variant("default").life.reward == -500_000
    assert task.variant("default").low_quality == 1
    assert task.row.amended == 3


def test_at_most_32_scores_wait_and_the_oldest_gives_way() -> None:
    task = Task()
    task.take(*[feedback(f"i{n}", reward=-1.0) for n in range(33)])
    assert len(task.row.waiting) == 32
    task.take(an_invocation(invocation_id="i0"), an_invocation(invocation_id="i1"))
    assert task.variant("default").life.reward == 0


def test_no_score_waits_where_none_may() -> None:
    task = Task(Policy(limits=Limits(waiting_feedback=0)))
    task.take(feedback("i1", reward=-1.0))
    assert task.row.waiting == []


def test_a_score_for_an_outcome_that_has_left_the_window_changes_nothing() -> None:
    task = Task()
    task.take(*[an_invocation(invocation_id=f"i{n}") for n in range(21)])
    before = figures(task.variant("default"))
    task.take(feedback("i0", reward=-1.0))
    assert figures(task.variant("default")) == before


def test_the_same_feedback_twice_is_a_duplicate() -> None:
    task = Task()
    task.take(an_invocation(invocation_id="i1"))
    score = feedback("i1", reward=-1.0)
    task.take(score, feedback("i1", reward=0.5))
    assert task.take(score) == []
    assert task.last is not None and task.last.disposition == "duplicate"
    assert task.variant("default").life.reward == 500_000


def test_scores_do_not_push_the_ids_of_outcomes_out_of_memory() -> None:
    task = Task()
    for number in range(64):
        task.take(an_invocation(invocation_id=f"i{number}"), feedback(f"i{number}", reward=1.0))
    task.take(an_invocation(invocation_id="i0"))
    assert (task.row.n, task.row.duplicates) == (64, 1)


def test_an_id_may_name_an_outcome_and_a_score_at_once() -> None:
    task = Task()
    task.take(an_invocation(invocation_id="same"), feedback("same", feedback_id="same", reward=-1.0))
    assert task.variant("default").life.reward == -1_000_000


def test_a_late_score_is_judged_like_an_outcome_and_may_roll_back() -> None:
    task = Task()
    task.take(*[an_invocation("v2", variant_source="explore") for _ in range(5)])
    task.take(*[an_invocation(invocation_id=f"i{n}") for n in range(40)])
    found: list[Any] = []
    for number in range(39, 19, -1):
        found += [f for f in task.take(feedback(f"i{number}", reward=-1.0)) if isinstance(f, m.RollbackEvent)]
    [event] = found
    assert event.reason.startswith("Average reward dropped from ")
    assert task.row.active == "v2"


def test_a_score_may_recompute_a_reward_that_was_computed_and_not_one_that_was_given() -> None:
    task = Task()
    task.take(an_invocation(invocation_id="computed"), an_invocation(invocation_id="given", reward=0.5))
    task.take(feedback("computed", quality=0.0), feedback("given", quality=0.0))
    # .4 for the success and -.3 for the quality, divided by the weights present.
    assert task.variant("default").life.reward == round(0.1 / 0.7 * 1e6) + 500_000
    assert task.variant("default").low_quality == 2


def _rewards_until_rollback(*, late: bool) -> int | None:
    """Return how many outcomes pass between a fall in rewards from .8 to -.5 and the rollback, or None without one."""
    task = Task(Policy(degradation=Degradation(guard="evidence")))

    def reward(variant: str, value: float, number: int) -> None:
        name = f"{variant}-{number}"
        source = "explore" if variant == "v2" else None
        if late:
            task.take(an_invocation(variant, invocation_id=name, variant_source=source), feedback(name, reward=value))
        else:
            task.take(an_invocation(variant, invocation_id=name, variant_source=source, reward=value))

    for number in range(60):
        reward("default", 0.8, number)
        reward("v2", 0.7, number)
    for number in range(400):
        reward("default", -0.5, 60 + number)
        if task.stated(m.RollbackEvent):
            return number + 1
    return None


def test_with_the_guard_a_reward_that_is_sent_late_rolls_back_with_the_same_outcome_as_one_sent_at_once() -> None:
    at_once = _rewards_until_rollback(late=False)
    assert at_once is not None and at_once <= 6
    assert _rewards_until_rollback(late=True) == at_once


@settings(deadline=None, max_examples=60)
@given(st.lists(rewards, min_size=41, max_size=98), st.integers(0, 19), st.data())
def test_the_evidence_of_a_reward_that_comes_late_equals_that_of_one_known_from_the_start(
    given_rewards: list[float], lag: int, data: st.DataObject
) -> None:
    # Equal bit for bit, while the lifetime is below five windows and one score came before any outcome left the window.
    late_ones = data.draw(st.sets(st.integers(0, len(given_rewards) - 1)))
    late, known = Task(), Task()
    late.take(an_invocation(invocation_id="first"), feedback("first", reward=0.5))
    known.take(an_invocation(invocation_id="first", reward=0.5))
    waiting: list[tuple[int, m.Feedback]] = []
    for number, reward in enumerate(given_rewards):
        name = f"i{number}"
        known.take(an_invocation(invocation_id=name, reward=reward))
        if number in late_ones:
            late.take(an_invocation(invocation_id=name))
            waiting.append((number + lag, feedback(name, reward=reward)))
        else:
            late.take(an_invocation(invocation_id=name, reward=reward))
        late.take(*[score for due, score in waiting if due == number])
    late.take(*[score for due, score in waiting if due >= len(given_rewards)])
    one, other = late.variant("default"), known.variant("default")
    if not late.stated(m.DegradationAlert) and not known.stated(m.DegradationAlert):  # a recovery resets evidence
        assert one.evidence == other.evidence


@pytest.mark.parametrize("lag", range(1, 20, 3))
def test_rewards_that_come_late_are_about_as_much_evidence_after_a_long_lifetime(lag: int) -> None:
    random = Random(lag)
    late, known = (Task(Policy(degradation=Degradation(guard="evidence"))) for _ in range(2))
    scores = []
    for number in range(300):
        reward = round(random.uniform(0.4, 1.0), 3) if number < 280 else 0.3
        name = f"i{number}"
        known.take(an_invocation(invocation_id=name, reward=reward))
        late.take(an_invocation(invocation_id=name))
        scores.append(feedback(name, reward=reward))
        if number >= lag:
            late.take(scores[number - lag])
    late.take(*scores[-lag:])
    mine, theirs = (by_metric(task.variant("default"))["avg_reward"] for task in (late, known))
    assert theirs / 4 < mine < theirs * 4, (
        "the threshold is in the thousands, so both tasks pass it at the same outcome or one apart"
    )


@pytest.mark.parametrize("over", ["activation", "recovery"])
def test_a_late_reward_of_an_outcome_from_before_a_new_start_is_no_evidence(over: str) -> None:
    task = Task(Policy(degradation=Degradation(guard="evidence")))
    task.take(*[an_invocation("v2", variant_source="explore") for _ in range(60)])
    task.take(*[an_invocation(invocation_id=f"i{n}") for n in range(60)], feedback("i59", reward=0.5))
    task.take(*[an_invocation(invocation_id=f"i{n}") for n in range(60, 75)])
    variant = task.variant("default")
    assert variant.reward_start != [0.0] * 3
    if over == "activation":
        task.take(a_command(m.ActivateVariant, variant_id="v2"), a_command(m.ActivateVariant, variant_id="default"))
    else:
        forget(variant)
    assert task.variant("default").evidence == [0.0] * 9
    task.take(*[feedback(f"i{n}", reward=-1.0) for n in range(60, 75)])
    assert variant.evidence == [0.0] * 9


def test_a_score_that_changes_no_reward_leaves_the_evidence_as_it_is_bit_for_bit() -> None:
    task = Task(Policy(degradation=Degradation(guard="evidence")))
    task.take(*[an_invocation(invocation_id=f"i{n}", reward=(n * 7 % 10) / 10) for n in range(200)])
    before = [*task.variant("default").evidence]
    task.take(feedback("i190", quality=0.9), feedback("i191", reward=(191 * 7 % 10) / 10))
    assert task.row.amended == 2
    assert task.variant("default").evidence == before
