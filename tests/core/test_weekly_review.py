"""The weekly review: once a week, the best five of the pending proposals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.overview import weekly_review

MONDAY = int(datetime(2025, 11, 17, tzinfo=UTC).timestamp() * 1_000)
DAY = 86_400_000
FAR = "2026-01-01T00:00:00Z"


def a_proposal(number: int, confidence: float, **fields: Any) -> m.ProposalNote:
    given_ = {
        "proposal_id": f"prop-20251117-{number:08x}",
        "timestamp": "2025-11-17T00:00:00Z",
        "agent_name": "backend-architect",
        "task_type": f"task-{number}",
        "proposal_type": "create_specialized_variant",
        "target_variant": "default-v2",
        "status": "pending",
        "confidence": confidence,
        "revision": 1,
        "expires_at": FAR,
    }
    return m.ProposalNote(**(given_ | fields))


def a_page(*proposals: m.ProposalNote) -> m.Overview:
    """Build a page like the overview's, with the most confident proposals first."""
    listed = sorted(proposals, key=lambda p: -p.confidence)
    empty: dict[str, Any] = {
        name: 0 if kind in {"int", int} else [] for name, kind in m.Overview.__annotations__.items()
    }
    fields = {
        "timestamp": "2025-11-17T00:00:00Z",
        "as_of": m.Position(0, 1),
        "engine_version": "1",
        "schema_version": 1,
        "pending_proposals": len(listed),
        "proposals": listed,
    }
    return m.Overview(**(empty | fields))


@given(st.lists(st.floats(0.0, 1.0), max_size=12))
def test_the_five_of_the_highest_confidence_are_named_and_the_count_is_of_all(confidences: list[float]) -> None:
    proposals = [a_proposal(number, confidence) for number, confidence in enumerate(confidences)]
    alert = weekly_review(a_page(*proposals), MONDAY)
    named = [p for p in proposals if p.proposal_id in alert.text]
    best = sorted(confidences, reverse=True)[:5]
    assert sorted((p.confidence for p in named), reverse=True) == best
    assert alert.number == len(proposals)
    assert (alert.kind, alert.severity, "\n" in alert.text) == ("weekly_review", "info", False)


@given(st.integers(0, 7 * DAY - 1), st.integers(0, 7 * DAY - 1), st.integers(1, 60))
def test_whenever_it_is_asked_for_within_a_week_it_is_one_alert_and_another_one_in_another_week(
    one: int, other: int, weeks: int
) -> None:
    def alert_id(now: int) -> str:
        return weekly_review(a_page(), now).alert_id

    assert alert_id(MONDAY + one) == alert_id(MONDAY + other)
    assert alert_id(MONDAY + one) != alert_id(MONDAY + other + weeks * 7 * DAY)


def test_what_has_run_out_meanwhile_is_not_counted() -> None:
    page = a_page(a_proposal(1, 0.9, expires_at="2025-11-17T08:00:00Z"), a_proposal(2, 0.5))
    alert = weekly_review(page, MONDAY + DAY // 2)
    assert (alert.number, "prop-20251117-00000001" in alert.text) == (1.0, False)
    assert "prop-20251117-00000002 (50%" in alert.text
