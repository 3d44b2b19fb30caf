"""Builds snapshots like the monitor's, of tasks without any history."""

from __future__ import annotations

from typing import Any

from builders import AGENT

from crl_stream.core import messages as m
from crl_stream.core.proposer.draft import Draft, View, bounded, view_of
from crl_stream.core.proposer.remedies import Remedies, Remedy, TaskRemedies
from crl_stream.core.proposer.rules import RULE_OF

SECURITY = "security-audit"
GUIDES = [
    Remedy(section="Core Identity", operation="append", content="Special focus on security vulnerabilities..."),
    Remedy(parameter="temperature", value=0.2, step=-0.05, reason="Lower temperature for precise security analysis"),
]
"""The recommended modifications of the guide's schema."""
REMEDIES = Remedies(
    errors=[Remedy(section="Error Handling", operation="append", content="Check first.")],
    failures=[Remedy(parameter="model_tier", step=1), Remedy(parameter="temperature", value=0.3, step=-0.1)],
    slow=[Remedy(parameter="model_tier", step=-1)],
    low_quality=[Remedy(section="Quality", operation="append", content="Read it again.")],
    tiers=["haiku", "sonnet", "opus"],
    tasks={SECURITY: TaskRemedies(focus="security", any=GUIDES)},
)


def a_variant(variant_id: str = "default", q: float = 0.5, n: int = 60, **fields: Any) -> m.VariantSnapshot:
    """Build a variant with ``n`` outcomes and the Q-value ``q``; by default, it is healthy and fails occasionally."""
    given: dict[str, Any] = {
        "variant_id": variant_id,
        "active": False,
        "quarantined": False,
        "retired": False,
        "q_value": q,
        "n_visits": n,
        "success_rate": 0.8,
        "avg_reward": q,
        "error_rate": 0.1,
        "reward_variance": 0.12,
        "window": m.WindowSnapshot(
            size=0, judged=0, success_rate=0.0, avg_reward=0.0, error_rate=0.0, outcomes="", rewards=[], offsets=[]
        ),
        "verdict": "HEALTHY",
        "reason": "",
        "degraded": False,
        "e_value": 0.0,
        "decision": "no_action",
        "reasoning": "",
        "rollbacks": 0,
        "failure_kinds": m.FailureKinds(errors=9, failures=12, slow=0, low_quality=1),
        "shadow_n": 0,
        "shadow_success_rate": 0.0,
        "shadow_avg_reward": 0.0,
    }
    return m.VariantSnapshot(**(given | fields))


def waiting_for_approval(variant_id: str, q: float, n: int, **fields: Any) -> m.VariantSnapshot:
    """Build a variant whose level in the decision matrix is ``human_approval``."""
    words = f"Medium confidence: Q-value {q:.2f} >= 0.7 and n_visits {n} >= 5"
    return a_variant(variant_id, q, n, decision="human_approval", reasoning=words, **fields)


def a_snapshot(*variants: m.VariantSnapshot, offset: int = 100, hours: float = 0.0, **fields: Any) -> m.TaskSnapshot:
    """Build a task whose first variant is active, ``hours`` after the guide's 14:30 on 2025-11-19."""
    minutes = round(14 * 60 + 30 + hours * 60)
    day, minute = divmod(minutes, 24 * 60)
    given: dict[str, Any] = {
        "agent_name": AGENT,
        "task_type": SECURITY,
        "timestamp": f"{_date(day)}T{minute // 60:02}:{minute % 60:02}:00Z",
        "as_of": m.Position(0, offset),
        "incarnation": 0,
        "active_variant": variants[0].variant_id if variants else None,
        "epoch": 1,
        "mode": "enforce",
        "pinned": None,
        "held": None,
        "cooldown_left": 0,
        "no_target": False,
        "n_outcomes": sum(variant.n_visits for variant in variants),
        "n_duplicates": 0,
        "n_amended": 0,
        "n_skewed": 0,
        "variants": sorted(variants, key=lambda variant: variant.variant_id),
        "reviews": [],
        "runtimes": 0,
        "runtimes_current": 0,
        "policy_hash": "0" * 16,
        "engine_version": "1",
        "proposal_limits": m.ProposalLimits(),
    }
    return m.TaskSnapshot(**(given | fields))


def _date(day: int) -> str:
    """Return the date that is ``day`` days after 2025-11-19, up to the end of the next January."""
    for month, length in (("2025-11", 30), ("2025-12", 31), ("2026-01", 31)):
        first = 19 if month == "2025-11" else 1
        if first + day <= length:
            return f"{month}-{first + day:02}"
        day -= length - first + 1
    raise ValueError("too far")


def a_review(proposal: m.Proposal, review: str, **fields: Any) -> m.ReviewResult:
    """Build the result of a review as the snapshot lists it."""
    given: dict[str, Any] = {
        "proposal_id": proposal.proposal_id,
        "review": review,
        "outcome": "applied",
        "actor": "ada",
        "reason": "too early",
        "detail": "",
        "timestamp": "2025-11-19T15:00:00Z",
        "command_id": f"cmd-{review}",
    }
    return m.ReviewResult(**(given | fields))


def viewed(*variants: m.VariantSnapshot, remedies: Remedies = REMEDIES, **fields: Any) -> View:
    """Return the task in the form in which the rules get it."""
    view = view_of(a_snapshot(*variants, **fields), remedies, frozenset())
    assert view is not None
    return view


def drafts(rule: str, *variants: m.VariantSnapshot, **fields: Any) -> list[Draft]:
    """Return what a rule drafts for the task whose first variant is active, with the confidence that it may claim.

    ``rule`` is the type.
    """
    view = viewed(*variants, **fields)
    return [bounded(draft, RULE_OF[rule].name, view.snapshot) for draft in RULE_OF[rule].propose(view)]


def limits(**changed: Any) -> m.ProposalLimits:
    return m.ProposalLimits(**changed)
