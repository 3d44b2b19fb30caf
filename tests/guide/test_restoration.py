"""A row restored from its public snapshot gives the same judgements as the original row, whatever the limits."""

from __future__ import annotations

from typing import Any

import pytest
from core.histories import histories
from core.task import Task, collapsed
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.decision_matrix import decide, no_rollback, reasoning
from crl_stream.core.monitor.detectors import figures_of
from crl_stream.core.monitor.grounds import sentence
from crl_stream.core.monitor.row import TaskRow
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.snapshot import task_snapshot
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.turn import Context
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.policy import AutoApply, Degradation, Policy
from crl_stream.guide.looking import looking_back
from crl_stream.guide.restoration import restored_row

policies = st.builds(
    lambda drop, window, least, baseline, q: Policy(
        degradation=Degradation(
            success_drop=drop, reward_drop=drop, lookback_window=window, min_recent=least, baseline=baseline
        ),
        auto_apply=AutoApply(q_threshold=q),
    ),
    st.sampled_from([0.0, 0.05, 0.10, 0.5]),
    st.sampled_from([2, 5, 20]),
    st.integers(1, 10),
    st.sampled_from(["lifetime", "before_window"]),
    st.sampled_from([0.5, 0.9]),
)


def judgements(row: TaskRow, policy: Policy) -> dict[str, Any]:
    rules = rules_of(policy)
    found: dict[str, Any] = {"candidates": candidates(row, rules)}
    for name in sorted(row.variants):
        variant = looking_back(row.variants[name], policy.degradation.lookback_window)
        verdict = judge(variant, rules)
        found[name] = (
            verdict.kind,
            sentence(variant, verdict, rules),
            figures_of(verdict.baseline, variant.judged, verdict.worst),
            decide(variant, active=name == row.active, policy=policy),
            reasoning(variant, active=name == row.active, policy=policy),
        )
    return found


def shown(task: Task, policy: Policy) -> m.TaskSnapshot:
    return task_snapshot(task.row, Context(0, task.offset, task.now, 0, "0" * 16), policy)


@given(histories, policies, policies)
def test_a_restored_row_judges_as_the_row_itself(history: list[Any], in_force: Policy, other: Policy) -> None:
    task = Task(in_force)
    task.take(*history)
    restored = restored_row(shown(task, in_force))
    for policy in (in_force, other):
        assert judgements(restored, policy) == judgements(task.row, policy)


def newcomer() -> Task:
    """``new`` succeeded 17 of 20 times; its baseline is the replaced variant, which succeeded 20 of 20 times."""
    task = Task()
    task.run("default", "S" * 20, reward=0.5)
    task.run("new", "S" * 5, reward=0.5, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="new")
    task.order(m.HoldTask)
    task.run("new", "SSSSSSF" * 2 + "SSSSSF", reward=0.5, active_epoch=2)
    return task


def recently_degraded() -> Task:
    """The variant is out of quarantine, and its Q-value is high enough for the matrix to apply it automatically."""
    task = collapsed()
    task.order(m.LiftQuarantine, variant_id="api-optimized")
    task.run("api-optimized", "S" * 8, reward=1.0, variant_source="explore")
    return task


def with_late_outcomes() -> Task:
    """Outcomes from before the activation are mixed with outcomes from after it."""
    task = newcomer()
    for _ in range(6):
        task.run("new", "F", reward=0.5, active_epoch=1)
        task.run("new", "E", reward=0.5, active_epoch=2)
    return task


@pytest.mark.parametrize("story", [collapsed, newcomer, recently_degraded, with_late_outcomes])
def test_what_only_some_rows_have_is_restored_too(story: Any) -> None:
    task = story()
    restored = restored_row(shown(task, task.policy))
    eager = Policy(
        degradation=Degradation(success_drop=0.14, error_increase=0.0, min_recent=2),
        auto_apply=AutoApply(q_threshold=0.0),
    )
    for policy in (task.policy, eager):
        assert judgements(restored, policy) == judgements(task.row, policy)


def test_the_snapshot_of_an_older_engine_still_says_what_its_letters_say() -> None:
    task = collapsed()
    snapshot = shown(task, task.policy)
    [variant] = [v for v in snapshot.variants if v.variant_id == "api-optimized"]
    fields = {name: getattr(variant.window, name) for name in variant.window.__struct_fields__}
    older = m.WindowSnapshot(**(fields | {"judged_outcomes": None, "error_outcomes": None}))
    fields = {name: getattr(variant, name) for name in variant.__struct_fields__}
    fields = {name: getattr(snapshot, name) for name in snapshot.__struct_fields__} | {
        "variants": [m.VariantSnapshot(**(fields | {"window": older}))]
    }
    restored = restored_row(m.TaskSnapshot(**fields)).variants["api-optimized"]
    assert restored.judged == task.variant("api-optimized").judged


@pytest.mark.parametrize(("last", "letters"), [(5, "FFFFF"), (20, "S" * 8 + "F" * 12), (22, "S" * 10 + "F" * 12)])
def test_a_look_back_holds_so_many_outcomes_as_it_is_long(last: int, letters: str) -> None:
    task = Task()
    task.run("default", "S" * 10)
    earlier = bytes(task.variant("default").window)
    task.run("default", "F" * 12)
    kept = task.variant("default")
    earlier = earlier[: (22 - len(kept.window) // 30) * 30]
    seen = looking_back(kept, last, earlier)
    assert (seen.judged.n, seen.judged.successes) == (len(letters), letters.count("S"))
    assert seen.life is kept.life


def test_a_restored_row_says_as_well_that_one_runtime_alone_speaks_for_a_rollback() -> None:
    task = Task()
    for number in range(60):
        task.run("default", "S", runtime_id=f"h{number % 3}")
    task.run("default", "F" * 12, runtime_id="h2")
    policy = Policy()
    restored = restored_row(shown(task, policy))
    assert task.row.one_runtime is not None
    assert no_rollback(restored, policy, None) == no_rollback(task.row, policy, None)
    again = task_snapshot(restored, Context(0, task.offset, task.now, 0, "0" * 16), policy)
    assert again.one_runtime == shown(task, policy).one_runtime
