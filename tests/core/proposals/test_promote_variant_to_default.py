"""Guide: "Best variant Q-value > default Q-value by >20%", and "Medium confidence, needs review"."""

from __future__ import annotations

from typing import Any

import pytest

from core.snapshots import a_variant, drafts, limits, viewed, waiting_for_approval
from crl_stream.core import messages as m
from crl_stream.core.proposer.rules import RULE_OF

RULE = "promote_variant_to_default"
PIN = m.Order(actor="bob", reason="", since="2025-11-19T14:00:00Z", until=None)


def test_a_lead_of_exactly_twenty_points_is_not_more_than_that() -> None:
    assert not drafts(RULE, a_variant(q=0.6), a_variant("v2", q=0.8))
    assert not drafts(RULE, a_variant(q=0.1), a_variant("v2", q=0.3))
    [draft] = drafts(RULE, a_variant(q=0.6), a_variant("v2", q=0.8001))
    assert (draft.trigger, draft.target) == ("performance_gap", "v2")
    assert draft.change == m.Change(action="activate", variant_id="v2")
    assert "v2 leads default by 0.2001 > 0.2." in draft.reasoning


def test_the_reasoning_has_the_guides_form_and_the_numbers_of_both() -> None:
    [draft] = drafts(RULE, a_variant(q=0.55, n=120), a_variant("v2", q=0.85, n=64, reward_variance=0.3))
    assert draft.reasoning == (
        "Security-audit tasks show 30% lower performance with default variant than with v2: Q-value 0.85 over 64 "
        "invocations against 0.55 over 120. v2 leads default by 0.30 > 0.2.\n"
        "Suggest making v2 the default variant."
    )
    assert (draft.n, draft.q_default, round(draft.improvement, 6), draft.variance) == (64, 0.55, 0.3, 0.3)


@pytest.mark.parametrize(
    ("q", "n", "confidence"),
    [(0.8, 40, 0.5), (0.8, 60, 0.7), (0.8, 100, 0.85), (0.9, 60, 0.7), (0.91, 60, 0.85), (0.91, 200, 1.0)],
)
def test_confidence_is_that_of_the_lesser_known_and_grows_with_a_gap_of_more_than_thirty_points(
    q: float, n: int, confidence: float
) -> None:
    [draft] = drafts(RULE, a_variant(q=0.55 if q == 0.8 else 0.6, n=300), a_variant("v2", q=q, n=n))
    assert draft.confidence == confidence
    [turned] = drafts(RULE, a_variant(q=0.55 if q == 0.8 else 0.6, n=n), a_variant("v2", q=q, n=300))
    assert turned.confidence == confidence


@pytest.mark.parametrize(
    ("helped", "judged", "most"), [(0, 2, 1.0), (0, 3, 0.2), (1, 3, 0.4), (3, 3, 0.8), (7, 9, 0.73), (30, 30, 0.97)]
)
def test_promotions_that_did_not_help_bound_the_confidence_in_the_next_one(
    helped: int, judged: int, most: float
) -> None:
    """Laplace's rule of succession: after 7 of 9, the next one helps with chance 8/11."""
    kept = m.KeptPromises(judged=judged, helped=helped, no_change=judged - helped, hurt=0)
    [draft] = drafts(RULE, a_variant(q=0.6, n=300), a_variant("v2", q=0.91, n=200), promotions=kept)
    assert draft.confidence == most
    assert (f" Of {judged} promotions of this task, {helped} helped." in draft.reasoning) == (judged >= 3)


def test_the_task_needs_50_invocations_and_each_of_the_two_needs_5() -> None:
    assert not drafts(RULE, a_variant(q=0.1, n=40), a_variant("v2", q=0.9, n=9))
    assert drafts(RULE, a_variant(q=0.1, n=40), a_variant("v2", q=0.9, n=10))
    assert not drafts(RULE, a_variant(q=0.1, n=200), a_variant("v2", q=0.9, n=4))
    assert not drafts(RULE, a_variant(q=0.1, n=4), a_variant("v2", q=0.9, n=200))
    assert drafts(
        RULE, a_variant(q=0.1, n=200), a_variant("v2", q=0.9, n=2), proposal_limits=limits(promote_min_samples=2)
    )


@pytest.mark.parametrize(
    "state", [{"quarantined": True}, {"retired": True}, {"degraded": True}, {"verdict": "DEGRADED"}]
)
def test_a_variant_that_is_not_fit_to_be_active_is_not_promoted(state: dict[str, Any]) -> None:
    assert not drafts(RULE, a_variant(q=0.2), a_variant("v2", q=0.9, **state))
    assert not drafts(RULE, a_variant(q=0.2), waiting_for_approval("v2", 0.9, 60, **state))


def test_what_needs_a_persons_approval_is_proposed_as_soon_as_the_matrix_says_so() -> None:
    [draft] = drafts(RULE, a_variant(q=0.7, n=20), waiting_for_approval("v2", 0.75, 8))
    assert (draft.trigger, draft.target, draft.n) == ("medium_confidence", "v2", 8)
    assert "Medium confidence: Q-value 0.75 >= 0.7 and n_visits 8 >= 5." in draft.reasoning
    assert not drafts(RULE, a_variant(q=0.75, n=20), waiting_for_approval("v2", 0.75, 8)), "v2 has no higher Q"


def test_the_best_one_is_proposed_and_ties_go_to_more_visits_and_then_to_the_name() -> None:
    def target(*others: m.VariantSnapshot) -> str:
        [draft] = drafts(RULE, a_variant(q=0.2, n=60), *others)
        return draft.target

    assert target(a_variant("v2", q=0.8), a_variant("v3", q=0.9)) == "v3"
    assert target(a_variant("v2", q=0.8, n=50), a_variant("v3", q=0.8, n=51)) == "v3"
    assert target(a_variant("v3", q=0.8), a_variant("v2", q=0.8)) == "v2"


def test_what_the_monitor_is_about_to_apply_by_itself_is_left_to_it() -> None:
    ready = {"decision": "auto_apply"}
    young, old = a_variant("v2", q=0.95, n=12, **ready), a_variant("v2", q=0.95, n=50, **ready)
    assert not drafts(RULE, a_variant(q=0.5), young)
    assert not drafts(RULE, a_variant(q=0.5), young, waiting_for_approval("v3", 0.8, 30)), (
        "the runner-up is not proposed instead"
    )
    assert drafts(RULE, a_variant(q=0.5), old), "v2 has waited long enough"
    for mode in ("shadow", "observe"):
        assert drafts(RULE, a_variant(q=0.5), young, mode=mode), "in this mode, the monitor does not promote by itself"
    assert drafts(RULE, a_variant(q=0.5), young, held=PIN)


def test_nothing_is_promoted_under_a_pin() -> None:
    assert not drafts(RULE, a_variant(q=0.5), a_variant("v2", q=0.9), pinned=PIN)


def test_an_open_one_lapses_when_the_candidate_is_unfit_or_no_longer_leads() -> None:
    lapse = RULE_OF[RULE].lapse
    # A lead smaller than the gap that opened the proposal still keeps it open.
    assert lapse(viewed(a_variant(q=0.6), a_variant("v2", q=0.61)), "v2", "performance_gap") is None
    for rival, why in [
        (a_variant("v2", q=0.6), "v2 no longer leads: Q-value 0.60 against 0.60"),
        (a_variant("v2", q=0.9, quarantined=True), "v2 is quarantined"),
        (a_variant("v2", q=0.9, degraded=True), "v2 is degraded"),
        (a_variant("v2", q=0.9, retired=True), "v2 is retired or gone"),
        (a_variant("v2", q=0.9, n=1), "v2 has started over"),
        (a_variant("v3", q=0.9), "v2 is retired or gone"),
    ]:
        assert lapse(viewed(a_variant(q=0.6), rival), "v2", "performance_gap") == why
