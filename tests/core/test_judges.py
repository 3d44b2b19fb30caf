"""A new version of a judge changes no decision, and later scores of that judge count again."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.judges import ENOUGH, MEMORY, MOST, as_known, on_scale
from crl_stream.core.monitor.row import MICRO, decode_row, encode_row
from crl_stream.core.policy import Degradation, Policy

from .task import Task

POLICIES = [Policy(), Policy(degradation=Degradation(guard="evidence"))]


class Judged:
    """Outcomes whose quality or reward varies by .05 around a level."""

    def __init__(self, policy: Policy, field: str = "reward") -> None:
        self.task, self._field, self._luck, self._ids = Task(policy), field, Random(1), count()

    def __call__(self, variant: str, outcomes: int, level: float, evaluator: str | None, **fields: Any) -> Judged:
        for _ in range(outcomes):
            score = {self._field: level + self._luck.uniform(-0.05, 0.05), "evaluator": evaluator}
            self.task.take(
                an_invocation(variant, "success", invocation_id=f"i{next(self._ids)}", **(score | fields)),
            )
        return self

    @property
    def changes(self) -> list[Any]:
        return [*self.task.stated(m.DegradationAlert), *self.task.stated(m.RollbackEvent)]


@pytest.mark.parametrize("policy", POLICIES, ids=["rule", "evidence"])
@pytest.mark.parametrize("field", ["quality", "reward"])
@pytest.mark.parametrize("level", [0.5, 0.1, 0.9])
def test_a_new_version_of_the_judge_alone_changes_nothing(policy: Policy, field: str, level: float) -> None:
    work = Judged(policy, field)("a", 100, 0.8, "judge@1")("b", 40, 0.75, "judge@1", variant_source="explore")
    for _ in range(30):
        work("a", 9, level, "judge@2")("b", 1, level, "judge@2", variant_source="explore")
    assert work.task.row.active == "a"
    assert work.changes == []


@pytest.mark.parametrize("policy", POLICIES, ids=["rule", "evidence"])
def test_without_names_the_same_scores_are_a_degradation(policy: Policy) -> None:
    work = Judged(policy)("a", 100, 0.8, None)("b", 40, 0.75, None, variant_source="explore")
    assert work("a", 60, 0.4, None).changes


@pytest.mark.parametrize("policy", POLICIES, ids=["rule", "evidence"])
def test_a_collapse_under_the_new_judge_is_found(policy: Policy) -> None:
    work = Judged(policy)("a", 100, 0.8, "judge@1")("b", 60, 0.75, "judge@1", variant_source="explore")
    work("a", 60, 0.4, "judge@2")
    assert work.changes == []
    work("a", 60, 0.0, "judge@2")
    [event] = work.task.stated(m.RollbackEvent)
    assert (event.from_variant, event.to_variant) == ("a", "b")


def test_the_first_name_sets_the_scale_and_changes_nothing_itself() -> None:
    work = Judged(Policy())("a", 100, 0.8, None)
    before = work.task.variant("a").q
    work("a", 100, 0.8, "judge@1")
    assert work.task.variant("a").q == pytest.approx(before, abs=0.05)
    [scale] = work.task.stated(m.TaskSnapshot)[-1].judges or []
    assert (scale.evaluator, scale.quality_shift, scale.reward_shift) == ("judge@1", None, 0.0)


@pytest.mark.parametrize("field", ["quality", "reward"])
def test_the_judge_with_the_first_score_of_a_kind_sets_its_scale_from_that_score_on(field: str) -> None:
    row, other = Task().row, "reward" if field == "quality" else "quality"
    on_scale(row, "judge@1", **{other: 500_000, field: None})
    assert on_scale(row, "judge@2", **{field: 800_000, other: None}) == _one(field, 800_000)
    assert on_scale(row, "judge@3", **{field: 100_000, other: None}) == _one(field, 800_000)
    shifts = {name: getattr(judge, field).shift for name, judge in row.judges.items()}
    assert shifts == {"judge@1": None, "judge@2": 0, "judge@3": None}
    assert on_scale(row, "judge@1", **{field: 300_000, other: None}) == _one(field, 800_000), "it is not its scale"


def _one(field: str, score: int) -> tuple[int | None, int | None]:
    return (score, None) if field == "quality" else (None, score)


def test_the_snapshot_says_by_how_much_scores_are_shifted() -> None:
    work = Judged(Policy())("a", 100, 0.8, "judge@1")("a", 40, 0.5, "judge@2")
    *_, scale = work.task.stated(m.TaskSnapshot)[-1].judges or []
    assert scale.evaluator == "judge@2"
    assert scale.reward_shift == pytest.approx(0.3, abs=0.03)
    assert scale.quality_shift is None


def test_shadow_outcomes_neither_set_a_scale_nor_shift_one() -> None:
    live = Judged(Policy())("a", 100, 0.8, "judge@1")("b", 40, 0.1, "judge@2", role="shadow")
    live("c", 1, 0.1, "judge@3", role="shadow")
    assert list(live.task.row.judges) == ["judge@1"]
    live("a", 40, 0.5, "judge@2")
    assert live.task.row.judges["judge@2"].reward.shift == pytest.approx(300_000, abs=30_000)
    first = Judged(Policy())("a", 1, 0.1, "judge@1", role="shadow")
    assert not first.task.row.judges
    known = Judged(Policy())("a", 100, 0.8, "judge@1")("a", 40, 0.5, "judge@2")
    level, shadow = encode_row(known.task.row), known("b", 30, 0.5, "judge@2", role="shadow").task.variant("b").shadow
    assert shadow.reward / shadow.n == pytest.approx(800_000, abs=30_000)
    assert known.task.row.level == decode_row(level).level


def a_late_score(invocation_id: str, reward: float, evaluator: str) -> m.Feedback:
    return m.Feedback(
        schema_version=1,
        feedback_id=f"score-{invocation_id}",
        timestamp="2025-11-19T14:30:00Z",
        agent_name="backend-architect",
        task_type="api-design",
        invocation_id=invocation_id,
        reward=reward,
        evaluator=evaluator,
    )


def test_late_scores_are_brought_to_the_scale_too() -> None:
    work = Judged(Policy())("a", 100, 0.8, "judge@1")
    for number in range(60):
        work.task.take(an_invocation("a", "success", invocation_id=f"late{number}"))
        work.task.take(a_late_score(f"late{number}", 0.3, "judge@2"))
    assert work.changes == []
    assert work.task.variant("a").q == pytest.approx(0.8, abs=0.05)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.0, 1.0), st.floats(-1.0, 1.0)), max_size=300))
def test_scores_stay_in_range_and_few_judges_are_remembered(drawn: list[tuple[int, float, float]]) -> None:
    row = Task().row
    for judge, quality, reward in drawn:
        found = on_scale(row, f"judge@{judge}", round(quality * 1e6), round(reward * 1e6))
        assert found[0] is not None
        assert found[1] is not None
        assert 0 <= found[0] <= 1_000_000
        assert -1_000_000 <= found[1] <= 1_000_000
        assert len(row.judges) <= MOST
        row = decode_row(encode_row(row))


class Recount:
    """What ``judges`` says in its text, with a list for each judge."""

    def __init__(self) -> None:
        self.first: dict[str, tuple[list[int], list[int]]] = {}
        """The first scores of each judge, qualities and rewards, in the order of their last use."""
        self.shifts: dict[tuple[str, int], int] = {}
        self.level = [[0, 0], [0, 0]]
        """Number and sum of the task's usual scores."""

    def take(self, name: str | None, *scores: int | None) -> tuple[int | None, ...]:
        if name is None or scores == (None, None):
            return scores
        known = self.first.pop(name, None)
        if known is None:
            self.shifts = {key: shift for key, shift in self.shifts.items() if key[0] != name}
            if len(self.first) >= MOST:
                del self.first[next(iter(self.first))]
        self.first[name] = known = known or ([], [])
        return tuple(self._shifted(name, at, score, known[at]) for at, score in enumerate(scores))

    def _shifted(self, name: str, at: int, score: int | None, first: list[int]) -> int | None:
        if score is None:
            return None
        level = self.level[at]
        if not level[0]:  # the first judge of a kind of score sets its scale
            self.shifts.setdefault((name, at), 0)
        if (name, at) in self.shifts:
            score += self.shifts[name, at]
            level[:] = [level[0] + 1, level[1] + score]
            if level[0] == MEMORY:
                level[:] = [MEMORY // 2, level[1] // 2]
            return clamped(at, score)
        first.append(score)
        usual = level[1] // level[0]
        if len(first) == ENOUGH:
            self.shifts[name, at] = usual - sum(first) // len(first)
        return clamped(at, usual)

    def known(self, name: str, *scores: int | None) -> tuple[int | None, ...]:
        shifts = [self.shifts.get((name, at), 0) if name in self.first else 0 for at in range(2)]
        return tuple(None if one is None else clamped(at, one + shifts[at]) for at, one in enumerate(scores))


def clamped(at: int, score: int) -> int:
    return min(max(score, -MICRO if at else 0), MICRO)


shares = st.none() | st.integers(0, MICRO)
blocks = st.tuples(st.integers(0, 11), shares, shares | st.integers(-MICRO, 0), st.integers(1, 3), st.booleans())


@given(st.lists(blocks, max_size=25))
def test_scores_agree_with_a_recount_of_all_scores_of_the_task(drawn: list[tuple[Any, ...]]) -> None:
    row, recount = Task().row, Recount()
    for number, quality, reward, times, alternates in drawn:
        judge = f"judge@{number}" if number else None
        for at in range(times * 12):
            scored = MICRO - quality if quality is not None and alternates and at % 2 else quality
            assert on_scale(row, judge, scored, reward) == recount.take(judge, scored, reward)
        for known in range(12):
            found = as_known(row, f"judge@{known}", quality, reward)
            assert found == recount.known(f"judge@{known}", quality, reward)
        assert list(row.judges) == list(recount.first), "the one used longest ago comes first"


def test_old_scores_of_the_task_fade() -> None:
    row = Task().row
    for reward in (*[MICRO // 2] * 1_000, *[0] * 400):
        on_scale(row, "judge@1", None, reward)
    found = [on_scale(row, "judge@2", None, MICRO)[1] for _ in range(30)]
    assert all(0 <= reward <= MICRO // 8 for reward in found if reward is not None), "the level of the latest scores"


def test_late_scores_for_outcomes_that_no_window_holds_teach_the_scale_nothing() -> None:
    """Shadow outcomes are in no window: the scores of a bad candidate would make a new judge look strict."""
    work = Judged(Policy())("a", 100, 0.8, "judge@1")
    for number in range(60):
        work.task.take(an_invocation("c", "success", invocation_id=f"shadow{number}", role="shadow"))
        work.task.take(a_late_score(f"shadow{number}", -0.9, "judge@2"))
    assert list(work.task.row.judges) == ["judge@1"]
    assert work.task.row.too_late == 60
