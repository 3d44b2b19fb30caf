"""The guide's safety tests. Run them with the guide's commands, from the root of the repository:

    python tests/crl/test_safety.py [-v]
    python -m unittest tests.crl.test_safety.TestSafetyMonitor

They use the guide's own API and need only the package: no Kafka, no test framework.
"""

from __future__ import annotations

import json
import logging
import tempfile
import unittest
from pathlib import Path
from typing import Any

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from crl_stream.guide.variant_proposer import VariantProposer
from crl_stream.kafka.commands import task_command

AGENT, TASK = "backend-architect", "api-design"
WHO = (AGENT, TASK)
STATUS = {"S": "success", "F": "failure", "E": "error"}


def setUpModule() -> None:
    """Silence the alerts that these tests cause."""
    logging.disable(logging.ERROR)


def tearDownModule() -> None:
    """Show log lines again, because other tests may check them."""
    logging.disable(logging.NOTSET)


class SafetyTest(unittest.TestCase):
    """A test with its own store and telemetry folder."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "telemetry" / "crl"
        self.store = Store(self.folder)
        self.addCleanup(self.store.close)

    def record(self, variant_id: str, outcomes: str, **fields: Any) -> None:
        """Record one outcome per letter: S success, F failure, E error."""
        given = {"agent_name": AGENT, "task_type": TASK, "variant_id": variant_id, **fields}
        for letter in outcomes:
            self.store.record(given | {"status": STATUS[letter]})

    def activate(self, variant_id: str) -> None:
        self.store.order(task_command(m.ActivateVariant, TaskKey(*WHO), variant_id=variant_id))

    def collapse(self) -> None:
        """Make ``api-optimized`` active instead of a proven default, and let it fail after 10 successes."""
        self.record("default", "S" * 30, reward=0.5)
        self.record("api-optimized", "S" * 30, reward=0.5, variant_source="explore")
        self.activate("api-optimized")
        self.record("api-optimized", "S" * 10 + "F" * 10, reward=0.5, active_epoch=2)

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]


class TestSafetyMonitor(SafetyTest):
    """Safety monitor decision logic."""

    def test_high_confidence_is_applied_automatically(self) -> None:
        decision, reasoning = SafetyMonitor(store=self.store).should_auto_apply_variant(*WHO, "v", 0.95, 12)
        self.assertEqual(decision, "auto_apply")
        self.assertTrue(reasoning.startswith("High confidence: Q-value 0.95 >= 0.9"))

    def test_medium_confidence_needs_a_person(self) -> None:
        for q_value, n_visits in ((0.7, 5), (0.89, 100), (0.95, 9)):
            with self.subTest(q_value=q_value, n_visits=n_visits):
                decision = SafetyMonitor(store=self.store).should_auto_apply_variant(*WHO, "v", q_value, n_visits)[0]
                self.assertEqual(decision, "human_approval")

    def test_low_confidence_and_few_samples_change_nothing(self) -> None:
        for q_value, n_visits in ((0.69, 1000), (1.0, 4), (0.0, 0)):
            with self.subTest(q_value=q_value, n_visits=n_visits):
                decision = SafetyMonitor(store=self.store).should_auto_apply_variant(*WHO, "v", q_value, n_visits)[0]
                self.assertEqual(decision, "no_action")

    def test_the_q_table_answers_where_no_figures_are_given(self) -> None:
        self.record("default", "S" * 30, reward=0.92)
        self.record("api-optimized", "S" * 10, reward=0.95, variant_source="explore")
        decision, _ = SafetyMonitor(store=self.store).should_auto_apply_variant(*WHO, "api-optimized")
        self.assertEqual(decision, "auto_apply")

    def test_a_recent_degradation_asks_for_a_person(self) -> None:
        self.collapse()
        decision, _ = SafetyMonitor(store=self.store).should_auto_apply_variant(*WHO, "api-optimized", 0.95, 60)
        self.assertEqual(decision, "human_approval")


class TestDegradationDetection(SafetyTest):
    """Degradation detection thresholds: success down by more than 10 %, reward down by 15 %, or errors up by 20 %."""

    def check(self, lifetime: str, recent: str, **fields: Any) -> bool:
        """Return whether ``recent``, the last 20 outcomes, is degraded compared with all outcomes."""
        with Store(None) as store:
            for letter in lifetime + recent:
                given = {"agent_name": AGENT, "task_type": TASK, "variant_id": "v", "status": STATUS[letter]}
                store.record(given | fields)
            return SafetyMonitor(store=store).check_performance_degradation(*WHO, "v")[0]

    def test_a_success_rate_that_fell_by_more_than_ten_percent(self) -> None:
        # From 98 of 100 to 18 of 20: down 8.2 %. From 97 of 100 to 17 of 20: down 12.4 %.
        self.assertFalse(self.check("S" * 80, "S" * 18 + "F" * 2, reward=0.5))
        self.assertTrue(self.check("S" * 80, "S" * 17 + "F" * 3, reward=0.5))

    def test_a_drop_of_exactly_the_threshold_is_healthy(self) -> None:
        # The replaced variant succeeded 20 of 20 times, the new one 18 of 20: a drop of exactly 10 %.
        self.record("default", "S" * 20, reward=0.5)
        self.record("v", "S" * 5, reward=0.5, variant_source="explore")
        self.activate("v")
        self.record("v", "S" * 18 + "F" * 2, reward=0.5, active_epoch=2)
        degraded, metrics = SafetyMonitor(store=self.store).check_performance_degradation(*WHO, "v")
        self.assertFalse(degraded)
        self.assertAlmostEqual(metrics["success_drop_pct"], 0.10)

    def test_a_mean_reward_that_fell_by_more_than_fifteen_percent(self) -> None:
        # From a mean of .772 over all outcomes to .66: down 14.5 %. From .770 to .65: down 15.6 %.
        for recent, degraded in ((0.66, False), (0.65, True)):
            with self.subTest(recent=recent), Store(None) as store:
                for reward in [0.8] * 80 + [recent] * 20:
                    given = {"agent_name": AGENT, "task_type": TASK, "variant_id": "v", "status": "success"}
                    store.record(given | {"reward": reward})
                found, _ = SafetyMonitor(store=store).check_performance_degradation(*WHO, "v")
                self.assertEqual(found, degraded)

    def test_an_error_rate_that_rose_by_more_than_twenty_percent(self) -> None:
        # From 10 of 100 to 2 of 20: unchanged. From 11 of 100 to 3 of 20: up 36 %.
        steady = ("S" * 9 + "E") * 8
        self.assertFalse(self.check(steady, "SSSSSSSSSE" * 2, reward=0.5))
        self.assertTrue(self.check(steady, "SSSSSSSSSE" + "SSSSSSSSEE", reward=0.5))

    def test_the_window_is_the_last_twenty(self) -> None:
        self.record("v", "F" * 3 + "S" * 40)
        degraded, metrics = SafetyMonitor(store=self.store).check_performance_degradation(*WHO, "v", lookback_window=20)
        self.assertFalse(degraded)
        self.assertEqual((metrics["recent_success_rate"], metrics["sample_size"]), (1.0, 20))

    def test_an_unknown_variant_is_not_degraded_and_says_why(self) -> None:
        degraded, metrics = SafetyMonitor(store=self.store).check_performance_degradation(*WHO, "nobody")
        self.assertFalse(degraded)
        self.assertIn("error", metrics)


class TestRollbackManager(SafetyTest):
    """Rollback execution and logging."""

    def test_a_degraded_variant_is_replaced_by_the_previous_best(self) -> None:
        self.collapse()
        event = RollbackManager(store=self.store).monitor_and_rollback(*WHO, "api-optimized")
        assert event is not None
        self.assertEqual((event["from_variant"], event["to_variant"]), ("api-optimized", "default"))
        self.assertEqual(self.store.get_active_variants(), [(*WHO, "default")])

    def test_a_healthy_variant_is_left_alone(self) -> None:
        self.record("default", "S" * 30)
        self.assertIsNone(RollbackManager(store=self.store).monitor_and_rollback(*WHO, "default"))

    def test_a_target_needs_five_visits(self) -> None:
        self.record("default", "S" * 30)
        self.record("too-new", "S" * 4, variant_source="explore")
        self.record("default", "F" * 10)
        self.assertIsNone(RollbackManager(store=self.store).monitor_and_rollback(*WHO, "default"))
        self.record("too-new", "S", variant_source="explore")
        self.assertIsNotNone(RollbackManager(store=self.store).monitor_and_rollback(*WHO, "default"))

    def test_the_event_is_logged_with_its_metrics(self) -> None:
        self.collapse()
        event = RollbackManager(store=self.store).monitor_and_rollback(*WHO, "api-optimized")
        self.assertEqual(self.lines("rollback_events.jsonl"), [event])
        assert event is not None
        self.assertIn("dropped from", event["reason"])
        self.assertLessEqual(
            {"baseline_success_rate", "recent_success_rate", "success_drop_pct", "sample_size"},
            event["degradation_metrics"].keys(),
        )

    def test_the_history_is_newest_first(self) -> None:
        self.collapse()
        history = RollbackManager(store=self.store).get_rollback_history(limit=10)
        self.assertEqual([event["from_variant"] for event in history], ["api-optimized"])
        self.assertEqual(RollbackManager(store=self.store).get_rollback_history(agent_name="nobody"), [])


class TestVariantProposer(SafetyTest):
    """Proposal generation and filtering."""

    def test_a_lone_variant_below_0_6_asks_for_a_specialized_one(self) -> None:
        self.record("default", "S" * 60, reward=0.5)
        [proposal] = VariantProposer(store=self.store).analyze_and_propose(min_invocations=50)
        self.assertEqual(proposal["proposal_type"], "create_specialized_variant")
        self.assertEqual(proposal["status"], "pending")

    def test_a_gap_above_20_percent_asks_for_a_promotion(self) -> None:
        self.record("default", "S" * 60, reward=0.6)
        self.record("better", "S" * 60, reward=0.85, variant_source="explore")
        [proposal] = VariantProposer(store=self.store).analyze_and_propose()
        self.assertEqual(
            (proposal["proposal_type"], proposal["target_variant"]), ("promote_variant_to_default", "better")
        )

    def test_few_invocations_and_good_variants_propose_nothing(self) -> None:
        self.record("default", "S" * 49, reward=0.5)
        self.record("default", "S" * 100, reward=0.9, task_type="fine")
        self.assertEqual(VariantProposer(store=self.store).analyze_and_propose(min_invocations=50), [])

    def test_proposals_are_filtered_by_status_and_logged(self) -> None:
        self.record("default", "S" * 60, reward=0.5)
        proposer = VariantProposer(store=self.store)
        [proposal] = proposer.analyze_and_propose()
        self.assertEqual(proposer.get_proposals(status="pending"), [proposal])
        self.assertEqual(proposer.get_proposals(status="approved"), [])
        self.assertEqual(self.lines("variant_proposals.jsonl"), [proposal])


class TestEndToEnd(SafetyTest):
    """The whole safety workflow."""

    def test_from_a_bad_default_over_a_promotion_to_a_rollback(self) -> None:
        proposer, manager = VariantProposer(store=self.store), RollbackManager(store=self.store)
        monitor, learning = SafetyMonitor(store=self.store), QLearningEngine(store=self.store)
        # The only variant performs badly, so a new one is proposed and approved.
        self.record("default", "S" * 60, reward=0.5)
        [create] = proposer.analyze_and_propose()
        proposer.approve(create["proposal_id"], reviewer="ada")
        new = create["target_variant"]
        # The new variant is explored and beats the default by more than .20, so its promotion is proposed and approved.
        self.record(new, "S" * 60, reward=0.85, variant_source="explore")
        self.assertGreater(learning.get_q_value(*WHO, new) - learning.get_q_value(*WHO, "default"), 0.20)
        self.assertEqual(monitor.should_auto_apply_variant(*WHO, new)[0], "human_approval")
        [promote] = proposer.analyze_and_propose()
        proposer.approve(promote["proposal_id"], reviewer="ada")
        self.assertEqual(self.store.get_active_variants(), [(*WHO, new)])
        # The new variant does well for a while, then degrades, and is rolled back.
        self.record(new, "S" * 10, reward=0.85, active_epoch=2)
        self.assertIsNone(manager.monitor_and_rollback(*WHO, new))
        self.record(new, "F" * 10, active_epoch=2)
        event = manager.monitor_and_rollback(*WHO, new)
        assert event is not None
        self.assertEqual((event["from_variant"], event["to_variant"]), (new, "default"))
        self.assertEqual(self.store.get_active_variants(), [(*WHO, "default")])
        # Afterwards, a person confirms the rollback.
        command = task_command(m.ConfirmRollback, TaskKey(*WHO), rollback_id=event["rollback_id"], actor="ada")
        self.assertEqual(self.store.order(command).outcome, "applied")
        self.assertEqual([line["rollback_id"] for line in self.lines("rollback_events.jsonl")], [event["rollback_id"]])
        approved = [
            line["proposal_id"] for line in self.lines("variant_proposals.jsonl") if line["status"] == "approved"
        ]
        self.assertEqual(approved, [create["proposal_id"], promote["proposal_id"]])


if __name__ == "__main__":
    unittest.main()
