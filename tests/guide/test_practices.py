"""The examples from the guide's best practices and troubleshooting, run as written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import AGENT, TASK

from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from crl_stream.guide.variant_proposer import VariantProposer
from guide.blocks import block, run
from guide.test_variant_proposer import lonely, promotable
from guide.world import active_of, promising, record


# -- best practices --------------------------------------------------------------------------------
def test_best_practice_1_ends_at_the_defaults_and_begins_above_them(store: Store) -> None:
    moderate = run("1. Conservative Thresholds", SafetyMonitor=SafetyMonitor)["monitor"]
    assert moderate.should_auto_apply_variant("a", "t", "v", 0.9, 10)[0] == "auto_apply"
    conservative = block("1. Conservative Thresholds").text.split("\n\n")[0]
    space: dict[str, Any] = {"SafetyMonitor": SafetyMonitor}
    exec(conservative, space)  # noqa: S102 - the first half of the same example
    asked = [(0.95, 20, "auto_apply"), (0.9499, 20, "human_approval"), (0.95, 19, "human_approval")]
    for q_value, n_visits, decision in asked:
        assert space["monitor"].should_auto_apply_variant("a", "t", "v", q_value, n_visits)[0] == decision


@pytest.mark.parametrize(("count", "alerted"), [(3, False), (4, True)])
def test_best_practice_3_alerts_at_more_than_three_rollbacks_in_a_week(store: Store, count: int, alerted: bool) -> None:
    now = datetime.now(UTC)
    for number in range(count):
        at = (now - timedelta(days=3, minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        _rolled_back(store, f"task-{number}", at)
    _rolled_back(store, "long-ago", (now - timedelta(days=9)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    sent = list[str]()
    after = run(
        "3. Monitor Rollback Rate",
        # The example compares local times with UTC times, so it is run as if local time were UTC.
        datetime=_UtcClock,
        timedelta=timedelta,
        manager=RollbackManager(),
        send_alert=sent.append,
    )
    after["check_rollback_rate"]()
    assert sent == (["High rollback rate: 4 in last 7 days"] if alerted else [])


class _UtcClock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        assert tz is None
        return datetime.now(UTC).replace(tzinfo=None)


def _rolled_back(store: Store, task: str, at: str) -> None:
    fields: dict[str, Any] = {"task_type": task, "timestamp": at}
    record(store, "fallback", "S" * 10, variant_source="explore", reward=0.5, **fields)
    record(store, "current", "S" * 30 + "F" * 6, **fields)


def test_best_practice_4_reviews_the_five_most_confident_first(store: Store) -> None:
    promotable(store)
    lonely(store, task_type="security-audit")
    VariantProposer().analyze_and_propose()
    reviewed = list[list[dict[str, Any]]]()

    class Watched(VariantProposer):
        def get_proposals(self, status: str | None = None) -> list[dict[str, Any]]:
            reviewed.append(super().get_proposals(status))
            return reviewed[-1]

    run("4. Review Proposals Weekly", proposer=Watched())["weekly_review"]()
    [proposals] = reviewed
    confidences = [proposal["confidence"] for proposal in proposals]
    assert len(confidences) == 2
    assert confidences == sorted(confidences, reverse=True)


# -- troubleshooting: run here; test_troubleshooting.py tests the remedies --------------------------
def test_the_cures_of_false_positives_are_thresholds_that_there_are(store: Store) -> None:
    found = run("Issue: False Positive Rollbacks", SafetyMonitor=SafetyMonitor)["monitor"].thresholds
    assert (found["degradation_success_threshold"], found["degradation_reward_threshold"]) == (0.15, 0.20)


def test_the_figures_of_a_variant_that_is_not_applied_can_be_printed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    record(store, "api-optimized", "S" * 9, reward=0.88)
    names = {"agent": AGENT, "task": TASK, "variant": "api-optimized"}
    after = run("Issue: Variants Not Auto-Applying", q_learning=QLearningEngine(), SafetyMonitor=SafetyMonitor, **names)
    assert capsys.readouterr().out == "Q: 0.880, Visits: 9\n"
    assert after["monitor"].thresholds["auto_apply_q_threshold"] == 0.85


def test_the_size_of_the_table_can_be_printed_where_nothing_is_proposed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    promising(store)
    after = run("Issue: No Proposals Generated", proposer=VariantProposer(), q_learning=QLearningEngine())
    assert capsys.readouterr().out == "Total Q-table entries: 2\n"
    assert after["proposals"] == []
    assert active_of(store) == "default"
