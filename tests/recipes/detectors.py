"""The example detector ``reward_swing``: it can decide alone, and appears in texts, evidence, rows and settings."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import msgspec
import pytest
from core.task import Task

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.policy import Degradation, Policy, PolicySet
from crl_stream.settings.model import leaves

STEADY, SWINGING = (0.2,), (0.9, -0.5)
"""Two patterns of rewards with the same mean."""


def story(swings: int, **degradation: Any) -> Task:
    """Build a task with two steady variants, of which the active one begins to swing; every outcome is a success."""
    task = Task(Policy(degradation=Degradation(**degradation)))
    for name, source in (("default", None), ("v2", "explore")):
        work(task, name, 200, STEADY, variant_source=source)
    work(task, "default", swings, SWINGING)
    return task


def work(task: Task, variant: str, count: int, rewards: tuple[float, ...], **fields: Any) -> None:
    for reward in islice(cycle(rewards), count):
        task.run(variant, "S", reward=reward, **fields)


def test_it_decides_alone_with_the_rule_and_with_the_guard() -> None:
    for guard in ("none", "evidence"):
        task = story(100, guard=guard)
        [alert], [event] = task.stated(m.DegradationAlert), task.stated(m.RollbackEvent)
        assert (alert.metric, event.from_variant, event.to_variant) == ("reward_swing", "default", "v2")
        assert alert.reason == event.reason
        assert event.reason.startswith("Reward swing increased from 0.")
        figures = list(event.degradation_metrics)[:3]
        assert figures == ["baseline_reward_swing", "recent_reward_swing", "swing_increase_pct"]


def test_it_is_its_own_evidence_that_suffices() -> None:
    [event] = story(100, guard="evidence").stated(m.RollbackEvent)
    assert list(event.evidence.e_values) == ["success_rate", "avg_reward", "error_rate", "reward_swing"]
    *others, own = event.evidence.e_values.values()
    assert event.evidence.sufficient
    assert own / 4.0 > event.evidence.threshold > 10.0 * sum(others)


def test_a_late_reward_rewrites_its_evidence() -> None:
    def late(task: Task, reward: float) -> list[float]:
        task.run("default", "S", invocation_id="late", reward=-1.0)
        task.take(
            m.Feedback(
                schema_version=1,
                feedback_id="score",
                timestamp="2025-11-19T14:30:00Z",
                agent_name=task.row.agent_name,
                task_type=task.row.task_type,
                invocation_id="late",
                reward=reward,
            )
        )
        return task.variant("default").evidence[9:]

    assert late(story(0), 0.2)[0] < late(story(0), -0.9)[0]
    assert len(story(0).variant("default").evidence) == 12


def test_the_snapshot_says_so_while_it_lasts() -> None:
    task = Task(Policy())
    work(task, "default", 200, STEADY)
    task.order(m.HoldTask)
    work(task, "default", 20, SWINGING)
    shown = task.snapshot("default")
    assert (shown.verdict, shown.degraded) == ("DEGRADED", True)
    assert shown.reason.startswith("Reward swing increased from ")


def test_a_row_of_an_engine_that_did_not_know_it_goes_on() -> None:
    task = story(0)
    row = decode_row(encode_row(task.row))
    row.variants["default"].evidence = row.variants["default"].evidence[:9]
    task.row = decode_row(encode_row(row))
    work(task, "default", 1, STEADY)
    assert len(task.variant("default").evidence) == 12


def test_its_limit_is_a_setting_like_any_other() -> None:
    assert leaves()["degradation.swing_increase"] == 0.5
    changed: Any = {"swing_increase": 1e6}
    policies = PolicySet(default=Policy(degradation=Degradation(**changed)))
    assert PolicySet.parse(policies.canonical()) == policies
    assert story(100, **changed).stated(m.DegradationAlert) == []
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"swing_increase": -1.0}, Degradation)
