"""The guide's proposals, through its own API: triggers, types, schema and review."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from builders import AGENT, TASK

from crl_stream.core import messages as m
from crl_stream.errors import CommandRefused, NotFound, UsageError
from crl_stream.guide.store import Store
from crl_stream.guide.variant_proposer import VariantProposer
from guide.world import WHO, active_of, lines_of, order, record

SCHEMA = [
    "proposal_id",
    "timestamp",
    "agent_name",
    "task_type",
    "proposal_type",
    "reasoning",
    "confidence",
    "supporting_data",
    "recommended_modifications",
    "status",
]
"""The fields of the guide's proposal, in the guide's order."""


def lonely(store: Store, outcomes: str = "SF" * 34, **fields: Any) -> None:
    """``default`` is the only variant and performs badly: half of its 68 invocations are failures."""
    record(store, "default", outcomes, **fields)


def promotable(store: Store) -> None:
    """``better`` has a Q-value 0.3 above the default's (0.6 - 0.3)."""
    record(store, "default", "S" * 60, reward=0.3)
    record(store, "better", "S" * 60, reward=0.6, variant_source="explore")


def failing_beside_another(store: Store) -> None:
    """The default has a Q-value of 0.5 after 60 invocations, and the other variant is no better."""
    record(store, "default", "S" * 60, reward=0.5)
    record(store, "other", "S" * 10, reward=0.5, variant_source="explore")


def retirable(store: Store) -> None:
    """``weak`` is not active and has a Q-value of 0.2 after 60 invocations."""
    record(store, "default", "S" * 60, reward=0.9)
    record(store, "weak", "S" * 60, reward=0.2, variant_source="explore")


@pytest.mark.parametrize(
    ("world", "proposal_type", "trigger"),
    [
        (lonely, "create_specialized_variant", "no_specialized_variant"),
        (promotable, "promote_variant_to_default", "performance_gap"),
        (failing_beside_another, "modify_variant_parameters", "underperformance"),
        (retirable, "retire_underperforming_variant", "low_q"),
    ],
)
def test_each_of_the_guides_types_is_proposed_where_its_trigger_holds(
    store: Store, world: Any, proposal_type: str, trigger: str
) -> None:
    world(store)
    [proposal] = VariantProposer().analyze_and_propose(min_invocations=50)
    assert (proposal["proposal_type"], proposal["trigger"]) == (proposal_type, trigger)
    assert proposal["tracker_type"] == f"crl_{proposal_type}"


def test_a_proposal_has_the_guides_schema(store: Store) -> None:
    lonely(store)
    [proposal] = VariantProposer().analyze_and_propose()
    assert list(proposal)[: len(SCHEMA)] == SCHEMA
    assert re.fullmatch(r"prop-\d{8}-[0-9a-f]{6,}", proposal["proposal_id"])
    assert (proposal["agent_name"], proposal["task_type"]) == WHO
    assert set(proposal["supporting_data"]) == {
        "n_invocations",
        "avg_q_default",
        "potential_improvement",
        "variance",
    }
    assert proposal["supporting_data"]["n_invocations"] == 68
    assert isinstance(proposal["supporting_data"]["n_invocations"], int)
    assert 0.0 <= proposal["confidence"] <= 0.75
    assert proposal["status"] == "pending"
    for modification in proposal["recommended_modifications"]:
        assert {"section", "operation", "content"} <= modification.keys() or {
            "parameter",
            "value",
            "reason",
        } <= modification.keys()


def test_below_the_minimum_nothing_is_proposed(store: Store) -> None:
    lonely(store, "SF" * 20)
    assert VariantProposer().analyze_and_propose(min_invocations=50) == []
    assert len(VariantProposer().analyze_and_propose(min_invocations=40)) == 1


def test_what_is_pending_already_is_not_generated_again(store: Store) -> None:
    lonely(store)
    proposer = VariantProposer()
    assert len(proposer.analyze_and_propose()) == 1
    assert proposer.analyze_and_propose() == []
    assert len(proposer.get_proposals(status="pending")) == 1


def test_proposals_are_listed_by_status(store: Store) -> None:
    for task in ("t1", "t2", "t3"):
        lonely(store, task_type=task)
    proposer = VariantProposer()
    first, second, third = proposer.analyze_and_propose()
    approve = proposer.approve(first["proposal_id"], reviewer="ada")
    proposer.reject(second["proposal_id"], "not now", reviewer="ada")
    assert approve.actor == "ada"
    by_status = {
        status: [fields["proposal_id"] for fields in proposer.get_proposals(status)]
        for status in ("approved", "rejected", "pending", "expired")
    }
    assert by_status == {
        "approved": [first["proposal_id"]],
        "rejected": [second["proposal_id"]],
        "pending": [third["proposal_id"]],
        "expired": [],
    }
    assert len(proposer.get_proposals()) == 3
    with pytest.raises(UsageError, match="no status"):
        proposer.get_proposals("open")


def test_an_approved_promotion_makes_the_best_variant_the_default(store: Store) -> None:
    promotable(store)
    proposer = VariantProposer()
    [proposal] = proposer.analyze_and_propose()
    proposer.approve(proposal["proposal_id"])
    assert active_of(store) == "better"


def test_an_approved_creation_registers_a_variant_that_nobody_uses_yet(store: Store) -> None:
    lonely(store)
    proposer = VariantProposer()
    [proposal] = proposer.analyze_and_propose()
    proposer.approve(proposal["proposal_id"])
    [row] = store.source.rows()
    assert active_of(store) == "default"
    assert row.variants[proposal["target_variant"]].configuration is not None


def test_of_two_reviewers_the_first_one_counts_and_the_second_is_told(store: Store) -> None:
    lonely(store)
    proposer = VariantProposer()
    [proposal] = proposer.analyze_and_propose()
    proposer.reject(proposal["proposal_id"], "no", reviewer="ada")
    with pytest.raises(NotFound, match="is not waiting for a review"):
        proposer.approve(proposal["proposal_id"], reviewer="bob")


def test_a_rejected_proposal_stays_silent_until_its_evidence_has_doubled(store: Store) -> None:
    lonely(store)
    proposer = VariantProposer()
    [proposal] = proposer.analyze_and_propose()
    proposer.reject(proposal["proposal_id"], "no")
    lonely(store)
    record(store, "default", "F")
    [again] = proposer.analyze_and_propose()
    assert again["supporting_data"]["n_invocations"] == 2 * 68 + 1
    assert again["proposal_id"] != proposal["proposal_id"]


def test_a_deferred_proposal_still_waits(store: Store) -> None:
    lonely(store)
    proposer = VariantProposer()
    [proposal] = proposer.analyze_and_propose()
    proposer.defer(proposal["proposal_id"], "next week")
    [deferred] = proposer.get_proposals("deferred")
    assert deferred["proposal_id"] == proposal["proposal_id"]
    proposer.approve(proposal["proposal_id"])
    assert proposer.get_proposals("deferred") == []


def test_a_proposal_for_what_is_not_true_any_more_is_refused_by_the_engine(store: Store) -> None:
    promotable(store)
    proposer = VariantProposer()
    [proposal] = proposer.analyze_and_propose()
    order(store, m.ActivateVariant, variant_id="better")
    with pytest.raises(CommandRefused, match="epoch"):
        proposer.approve(proposal["proposal_id"])


def test_a_proposal_whose_time_has_passed_is_expired_for_whoever_looks(store: Store) -> None:
    lonely(store)
    proposer = VariantProposer()
    assert len(proposer.analyze_and_propose()) == 1
    record(store, "elsewhere", "S", task_type="other", timestamp="2026-01-01T00:00:00Z")
    assert proposer.get_proposals("pending") == []
    assert len(proposer.get_proposals("expired")) == 1


def test_every_step_of_a_proposal_is_a_line_of_the_telemetry_file(store: Store, folder: Path) -> None:
    lonely(store)
    proposer = VariantProposer()
    [proposal] = proposer.analyze_and_propose()
    proposer.reject(proposal["proposal_id"], "too expensive", reviewer="ada")
    lines = lines_of(folder, "variant_proposals.jsonl")
    assert [(line["status"], line["revision"]) for line in lines] == [("pending", 1), ("rejected", 2)]
    assert lines[0] == proposal
    assert (lines[1]["actor"], lines[1]["status_reason"]) == ("ada", "too expensive")
    assert all(list(line)[: len(SCHEMA)] == SCHEMA for line in lines)


def test_the_next_process_finds_the_queue(folder: Path) -> None:
    with Store(folder) as first:
        lonely(first, timestamp="2999-01-01T00:00:00Z")
        [proposal] = VariantProposer(store=first).analyze_and_propose()
    with Store(folder) as second:
        assert VariantProposer(store=second).get_proposals("pending") == [proposal]


def test_limits_of_ones_own_are_asked_instead_of_the_policys(store: Store) -> None:
    promotable(store)
    wider = VariantProposer(performance_gap_threshold=0.9, underperformance_q_threshold=0.2)
    assert wider.analyze_and_propose() == []
    [proposal] = VariantProposer(performance_gap_threshold=0.29).analyze_and_propose()
    assert proposal["proposal_type"] == "promote_variant_to_default"
    with pytest.raises(UsageError, match="performance_gap_threshold"):
        VariantProposer(performance_gap_threshold=math.nan)


@pytest.mark.parametrize("least", [0, -1])
def test_a_minimum_below_one_is_refused(store: Store, least: int) -> None:
    with pytest.raises(UsageError):
        VariantProposer().analyze_and_propose(min_invocations=least)


def test_the_reasoning_names_the_task_the_figure_and_what_is_suggested(store: Store) -> None:
    lonely(store, task_type="security-audit")
    [proposal] = VariantProposer().analyze_and_propose()
    assert proposal["reasoning"].startswith("Security-audit tasks show ")
    assert "lower performance with default variant" in proposal["reasoning"]
    assert "Suggest creating security-focused variant." in proposal["reasoning"]


def test_agents_and_tasks_are_analyzed_each_for_itself(store: Store) -> None:
    lonely(store)
    record(store, "default", "S" * 60, reward=0.9, task_type="fine")
    [proposal] = VariantProposer().analyze_and_propose()
    assert (proposal["agent_name"], proposal["task_type"]) == (AGENT, TASK)
