"""Guide: "Consistent underperformance: Default variant Q < 0.6 with n >= 50"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.snapshots import a_variant, drafts, limits, viewed
from crl_stream.core import messages as m
from crl_stream.core.proposer.rules import RULE_OF

RULE = "modify_variant_parameters"
OTHER = a_variant("v2", q=0.6, n=40)


def test_it_opens_below_point_six_after_50_invocations() -> None:
    assert not drafts(RULE, a_variant(q=0.6, n=50), OTHER)
    assert not drafts(RULE, a_variant(q=0.59, n=49), OTHER)
    [draft] = drafts(RULE, a_variant(q=0.59, n=50), OTHER)
    assert (draft.trigger, draft.target, draft.change.parent) == ("underperformance", "default-v2", "default")
    assert draft.reasoning == (
        "Security-audit tasks underperform with default variant: Q-value 0.59 < 0.6 after 50 invocations, and no other "
        "variant is more than 0.2 better; 9 of 50 outcomes were errors.\n"
        "Suggest trying default with different parameters as default-v2."
    )


@given(
    st.lists(st.builds(a_variant, st.sampled_from("abc"), st.floats(-1, 1), st.integers(0, 200)), max_size=3),
    st.floats(-1, 1),
    st.integers(0, 300),
)
def test_create_modify_and_promote_by_the_gap_never_speak_at_once(
    others: list[m.VariantSnapshot], q: float, n: int
) -> None:
    others = list({variant.variant_id: variant for variant in others}.values())
    variants = [a_variant(q=q, n=n), *others]
    made = {rule: drafts(rule, *variants) for rule in RULE_OF}
    spoken = [rule for rule in ("create_specialized_variant", RULE, "promote_variant_to_default") if made[rule]]
    assert len(spoken) <= 1


def test_one_experiment_at_a_time() -> None:
    child = m.VariantConfiguration(parent="default")
    assert not drafts(RULE, a_variant(), a_variant("default-v2", q=0.5, n=49, configuration=child))
    # The experiment is over: the child has enough outcomes, or will get no more.
    assert drafts(RULE, a_variant(), a_variant("default-v2", q=0.5, n=50, configuration=child))
    assert drafts(RULE, a_variant(), a_variant("default-v2", n=10, configuration=child, quarantined=True))
    assert drafts(RULE, a_variant(), OTHER, a_variant("default-v2", n=10, configuration=child, retired=True))
    # A variant that was made from another one, or has no known parent, is no experiment with the active one.
    assert drafts(RULE, a_variant(), a_variant("x", n=10, configuration=m.VariantConfiguration(parent="v9")))
    assert drafts(RULE, a_variant(), a_variant("x", n=10))


def test_the_improvement_is_the_best_rivals_lead_or_what_is_expected_of_a_variant() -> None:
    [with_rival] = drafts(RULE, a_variant(q=0.5), a_variant("v2", q=0.65))
    assert round(with_rival.improvement, 6) == 0.15
    [without] = drafts(RULE, a_variant(q=0.5), a_variant("v2", q=0.3))
    assert round(without.improvement, 6) == 0.3


@pytest.mark.parametrize(("n", "confidence"), [(20, 0.5), (50, 0.7), (100, 0.85)])
def test_confidence_grows_with_the_evidence(n: int, confidence: float) -> None:
    [draft] = drafts(RULE, a_variant(n=n), OTHER, proposal_limits=limits(min_invocations=20))
    assert draft.confidence == confidence


def test_what_the_parent_has_is_not_recommended_and_its_parameters_are_stepped() -> None:
    known = m.VariantConfiguration(model_tier="opus", temperature=0.25)
    kinds = m.FailureKinds(errors=0, failures=9, slow=0, low_quality=0)
    [draft] = drafts(RULE, a_variant(configuration=known, failure_kinds=kinds), OTHER, task_type="api-design")
    assert [(one.parameter, one.value) for one in draft.modifications] == [("temperature", 0.15)]
    assert (draft.change.model_tier, draft.change.temperature) == ("opus", 0.15)


def test_an_open_one_lapses_when_it_has_lost_its_ground_and_says_why() -> None:
    lapse = RULE_OF[RULE].lapse
    child = a_variant("default-v3", n=3, configuration=m.VariantConfiguration(parent="default"))
    assert lapse(viewed(a_variant(), OTHER), "default-v2", "underperformance") is None
    for variants, why in [
        ((a_variant(q=0.7), OTHER), "Q-value 0.70 >= 0.6 after 60 invocations"),
        ((a_variant(),), "default is the only variant left"),
        ((a_variant(), child), "default-v3 is already being tried"),
        ((a_variant(), a_variant("default-v2")), "default-v2 already exists"),
    ]:
        assert lapse(viewed(*variants), "default-v2", "underperformance") == why
