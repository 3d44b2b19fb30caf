"""Every example in the guide runs as written, with only its import root changed, and does what the guide says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from builders import AGENT, TASK

from crl_stream.core import messages as m
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.store import Store
from crl_stream.guide.variant_proposer import VariantProposer
from guide.blocks import block, blocks, run
from guide.test_rollback_manager import SCHEMA as ROLLBACK_SCHEMA
from guide.test_variant_proposer import SCHEMA as PROPOSAL_SCHEMA
from guide.test_variant_proposer import lonely
from guide.world import GUIDE, as_in_the_guide, collapsed, order, promising, record

EXAMPLES = [
    "1. Safety Monitor",
    "2. Rollback Manager",
    "3. Variant Proposer",
    "Example 1: Monitor and Auto-Apply",
    "Example 2: Continuous Monitoring",
    "Example 3: Weekly Proposal Review",
    "1. Conservative Thresholds",
    "3. Monitor Rollback Rate",
    "4. Review Proposals Weekly",
    "Issue: False Positive Rollbacks",
    "Issue: Variants Not Auto-Applying",
    "Issue: No Proposals Generated",
]
"""All examples; those on best practices and troubleshooting are run in test_practices.py."""


class Schedule:
    """Replaces the ``schedule`` package of the guide's examples and records the jobs and their times."""

    def __init__(self, *said: Any) -> None:
        self.said, self.jobs = said, list[tuple[Any, ...]]()

    def every(self, *count: int) -> Schedule:
        self.said = ("every", *count)
        return self

    @property
    def minutes(self) -> Schedule:
        self.said = (*self.said, "minutes")
        return self

    @property
    def monday(self) -> Schedule:
        self.said = (*self.said, "monday")
        return self

    def at(self, hour: str) -> Schedule:
        self.said = (*self.said, hour)
        return self

    def do(self, job: Any) -> None:
        self.jobs.append((*self.said, job))


def test_no_example_of_the_guide_is_left_out() -> None:
    found = [b.heading.partition(" (`")[0] for b in blocks() if b.language == "python"]
    assert found == EXAMPLES


def test_only_the_import_root_is_changed() -> None:
    imported = re.findall(r"^from core\.(\w+) import (\w+)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(imported) == {
        ("safety_monitor", "SafetyMonitor"),
        ("rollback_manager", "RollbackManager"),
        ("variant_proposer", "VariantProposer"),
        ("q_learning", "QLearningEngine"),
    }


# -- components ------------------------------------------------------------------------------------
def test_the_safety_monitor_says_auto_apply_for_the_guides_figures(store: Store) -> None:
    promising(store)
    after = run("1. Safety Monitor")
    assert after["decision"] == "auto_apply"
    assert after["reasoning"].startswith("High confidence: Q-value 0.95 >= 0.9")
    assert after["degraded"] is False


def test_the_safety_monitor_says_degraded_with_a_success_drop_of_15_percent(store: Store) -> None:
    record(store, "default", "S" * 20, reward=0.5)
    record(store, "api-optimized", "S" * 5, reward=0.5, variant_source="explore")
    order(store, m.ActivateVariant, variant_id="api-optimized")
    order(store, m.HoldTask)
    record(store, "api-optimized", "SSSSSSF" * 2 + "SSSSSF", reward=0.5, active_epoch=2)
    after = run("1. Safety Monitor")
    assert after["degraded"] is True
    assert after["metrics"]["success_drop_pct"] == pytest.approx(0.15)
    assert after["metrics"]["sample_size"] == 20


def test_the_rollback_manager_prints_what_was_left_and_why_and_the_history(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    as_in_the_guide(store)
    order(store, m.ResumeTask)
    after = run("2. Rollback Manager")
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "Rolled back: api-optimized → default",
        "Reason: Success rate dropped from 90% to 75% (16.7% drop)",
    ]
    assert printed[2] == f"{after['rollback_info']['timestamp']}: {after['rollback_info']['rollback_id']}"
    assert len(printed) == 3


def test_the_rollback_manager_prints_nothing_while_all_is_well(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    promising(store)
    assert run("2. Rollback Manager")["rollback_info"] is None
    assert capsys.readouterr().out == ""


def test_an_event_has_the_fields_of_the_guides_json_in_their_order(store: Store) -> None:
    example = json.loads(block("2. Rollback Manager", "json").text)
    assert list(example) == ROLLBACK_SCHEMA
    as_in_the_guide(store)
    order(store, m.ResumeTask)
    event = RollbackManager().monitor_and_rollback(AGENT, TASK, "api-optimized")
    assert event is not None
    shown = {name: event[name] for name in example}
    for name in ("agent_name", "task_type", "from_variant", "to_variant", "reason"):
        assert shown[name] == example[name]
    for name, value in example["degradation_metrics"].items():
        assert shown["degradation_metrics"][name] == pytest.approx(value, abs=5e-4)
        assert type(shown["degradation_metrics"][name]) is type(value)
    assert {name: type(value) for name, value in shown.items()} == {
        name: type(value) for name, value in example.items()
    }


def test_the_variant_proposer_prints_each_proposal_and_queues_it(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely(store, task_type="security-audit")
    after = run("3. Variant Proposer")
    [proposal] = after["proposals"]
    assert capsys.readouterr().out.splitlines()[:5] == [
        f"Proposal: {proposal['proposal_id']}",
        f"  Agent: {AGENT}",
        "  Task: security-audit",
        "  Type: create_specialized_variant",
        "  Confidence: 70%",
    ]
    assert after["pending"] == [proposal]


def test_a_proposal_has_the_fields_of_the_guides_yaml_in_their_order(store: Store) -> None:
    example = yaml.safe_load(block("3. Variant Proposer", "yaml").text)
    assert list(example) == PROPOSAL_SCHEMA
    lonely(store, task_type="security-audit")
    [proposal] = VariantProposer().analyze_and_propose()
    assert list(proposal["supporting_data"]) == list(example["supporting_data"])
    for name in ("agent_name", "task_type", "proposal_type", "status"):
        assert proposal[name] == example[name]
    assert {name: type(proposal[name]) for name in example} == {name: type(value) for name, value in example.items()}
    kinds = [set(modification) for modification in example["recommended_modifications"]]
    assert all(any(kind <= set(found) for kind in kinds) for found in proposal["recommended_modifications"])


# -- usage examples --------------------------------------------------------------------------------
def test_example_1_applies_what_is_sure_and_leaves_the_default_alone(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    promising(store)
    run("Example 1")
    assert capsys.readouterr().out == "✓ Auto-applying api-optimized\n"


def test_example_1_leaves_what_is_promising_to_a_person(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    record(store, "default", "S" * 30, reward=0.92)
    record(store, "api-optimized", "S" * 7, reward=0.8, variant_source="explore")
    run("Example 1")
    assert capsys.readouterr().out == "→ api-optimized needs human approval\n"


def test_example_2_alerts_the_operator_once_of_what_happened_between_two_passes(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    sent, schedule = list[Any](), Schedule()
    run("Example 2", get_active_variants=store.get_active_variants, send_alert=sent.append, schedule=schedule)
    [(every, minutes, unit, monitor_all_variants)] = schedule.jobs
    assert (every, minutes, unit) == ("every", 5, "minutes")
    monitor_all_variants()
    collapsed(store)
    assert sent == []
    monitor_all_variants()
    [event] = sent
    assert (event["from_variant"], event["to_variant"]) == ("api-optimized", "default")
    assert capsys.readouterr().out == f"⚠️  Rollback triggered: {event['rollback_id']}\n"
    monitor_all_variants()
    assert len(sent) == 1


def test_example_3_reviews_the_proposals_of_the_week_on_monday(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, schedule = list[Any](), Schedule()
    lonely(store)
    run("Example 3", export_to_spreadsheet=exported.append, schedule=schedule)
    [(every, monday, hour, weekly_proposal_review)] = schedule.jobs
    assert (every, monday, hour) == ("every", "monday", "09:00")
    weekly_proposal_review()
    [[proposal]] = exported
    assert capsys.readouterr().out.splitlines() == [
        "Generated 1 proposals this week:",
        "",
        proposal["proposal_id"],
        f"  Agent: {AGENT}",
        f"  Task: {TASK}",
        "  Confidence: 70%",
        "  Type: create_specialized_variant",
    ]
    weekly_proposal_review()
    assert exported[1] == []
