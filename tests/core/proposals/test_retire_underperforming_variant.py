"""Guide: "Remove consistently poor variant"."""

from __future__ import annotations

import pytest

from core.snapshots import a_variant, drafts, limits, viewed
from crl_stream.core import messages as m
from crl_stream.core.proposer.rules import RULE_OF

RULE = "retire_underperforming_variant"


def test_a_variant_below_point_four_after_50_invocations_is_to_go() -> None:
    assert not drafts(RULE, a_variant(q=0.8), a_variant("v2", q=0.4, n=50))
    assert not drafts(RULE, a_variant(q=0.8), a_variant("v2", q=0.39, n=49))
    [draft] = drafts(RULE, a_variant(q=0.8), a_variant("v2", q=0.39, n=50, reward_variance=0.4))
    assert (draft.trigger, draft.target, draft.change) == (
        "low_q",
        "v2",
        m.Change(action="retire", variant_id="v2"),
    )
    assert (draft.n, draft.q_default, round(draft.improvement, 6), draft.variance) == (50, 0.8, 0.41, 0.4)
    assert draft.reasoning == (
        "Security-audit tasks are poorly served by v2: Q-value 0.39 < 0.4 after 50 invocations; the active default "
        "has Q-value 0.80 after 60 invocations.\nSuggest retiring v2."
    )


def test_a_variant_that_was_rolled_back_three_times_is_to_go_whatever_its_figures() -> None:
    assert not drafts(RULE, a_variant(), a_variant("v2", q=0.9, rollbacks=2))
    [draft] = drafts(RULE, a_variant(), a_variant("v2", q=0.9, n=30, rollbacks=3, quarantined=True))
    assert (draft.trigger, draft.improvement) == ("rolled_back", 0.0)
    assert "it was rolled back 3 times (limit 3)" in draft.reasoning


def test_the_active_variant_and_retired_ones_are_left_alone() -> None:
    assert not drafts(RULE, a_variant(q=-1.0, n=500, rollbacks=9))
    assert not drafts(RULE, a_variant(), a_variant("v2", q=-1.0, n=500, rollbacks=9, retired=True))


def test_each_poor_variant_has_a_draft_of_its_own() -> None:
    found = drafts(RULE, a_variant(), a_variant("v3", q=0.1), a_variant("v2", q=0.1))
    assert [draft.target for draft in found] == ["v2", "v3"]


@pytest.mark.parametrize(("n", "confidence"), [(20, 0.5), (50, 0.7), (100, 0.85)])
def test_confidence_grows_with_the_evidence(n: int, confidence: float) -> None:
    [draft] = drafts(RULE, a_variant(), a_variant("v2", q=0.1, n=n), proposal_limits=limits(min_invocations=20))
    assert draft.confidence == confidence


def test_the_limits_are_those_of_the_snapshot() -> None:
    poor = a_variant("v2", q=0.3, rollbacks=1)
    assert not drafts(RULE, a_variant(), poor, proposal_limits=limits(retire_below_q=0.2))
    assert drafts(RULE, a_variant(), poor, proposal_limits=limits(retire_below_q=0.2, retire_after_rollbacks=1))


def test_an_open_one_lapses_when_the_variant_recovers_goes_or_becomes_active() -> None:
    lapse = RULE_OF[RULE].lapse
    assert lapse(viewed(a_variant(), a_variant("v2", q=0.39)), "v2", "low_q") is None
    recovered = viewed(a_variant(), a_variant("v2", q=0.4, n=80))
    assert lapse(recovered, "v2", "low_q") == "Q-value 0.40 >= 0.4 after 80 invocations"
    assert lapse(recovered, "v2", "rolled_back") is None
    assert lapse(viewed(a_variant()), "v2", "low_q") == "v2 is retired or gone"
    assert lapse(viewed(a_variant("v2", q=0.1)), "v2", "low_q") == "v2 is active"
