"""Guide: "Task type has only default variant and Q < 0.6"."""

from __future__ import annotations

import msgspec
import pytest

from core.snapshots import GUIDES, REMEDIES, a_variant, drafts, limits, viewed
from crl_stream.core import messages as m
from crl_stream.core.proposer.rules import RULE_OF

RULE = "create_specialized_variant"


def test_the_guides_example_comes_out_in_the_guides_words_and_numbers() -> None:
    # The guide's example has Q = .65, but its trigger needs Q < .6, so the limit is raised for the example.
    [draft] = drafts(RULE, a_variant(q=0.65, n=67), proposal_limits=limits(create_below_q=0.7))
    first, last = draft.reasoning.splitlines()
    assert first.startswith("Security-audit tasks show 15% lower performance with default variant")
    assert last == "Suggest creating security-focused variant."
    assert (draft.n, draft.q_default, round(draft.improvement, 6), draft.variance) == (67, 0.65, 0.15, 0.12)
    assert msgspec.to_builtins(draft.modifications) == [
        {"section": "Core Identity", "operation": "append", "content": "Special focus on security vulnerabilities..."},
        {"parameter": "temperature", "value": 0.2, "reason": "Lower temperature for precise security analysis"},
    ]


def test_it_opens_below_point_six_only() -> None:
    assert drafts(RULE, a_variant(q=0.5999))
    assert not drafts(RULE, a_variant(q=0.6))


def test_it_asks_for_50_invocations() -> None:
    assert not drafts(RULE, a_variant(n=49))
    assert drafts(RULE, a_variant(n=50))


def test_fewer_invocations_suffice_where_the_limit_says_so() -> None:
    [draft] = drafts(RULE, a_variant(n=20), proposal_limits=limits(min_invocations=20))
    assert draft.confidence == 0.5


def test_the_guides_limits_hold_where_a_snapshot_has_none() -> None:
    assert not drafts(RULE, a_variant(n=49), proposal_limits=None)
    assert drafts(RULE, a_variant(n=50), proposal_limits=None)


def test_any_other_variant_that_is_not_retired_speaks_against_it() -> None:
    assert not drafts(RULE, a_variant(), a_variant("v2", n=0))
    assert not drafts(RULE, a_variant(), a_variant("v2", quarantined=True))
    assert drafts(RULE, a_variant(), a_variant("v2", retired=True))


def test_a_variant_that_only_ran_in_the_shadow_is_no_alternative_unless_it_is_registered() -> None:
    shadow = a_variant("v2", n=0, shadow_n=300)
    registered = a_variant("v2", n=0, shadow_n=300, configuration=m.VariantConfiguration())
    assert drafts(RULE, a_variant(), shadow)
    assert not drafts(RULE, a_variant(), registered)
    assert not drafts(RULE, a_variant(), a_variant("v2", n=1, shadow_n=300))
    assert not drafts("modify_variant_parameters", a_variant(), shadow)
    assert RULE_OF[RULE].lapse(viewed(a_variant(), shadow), "default-v2", "no_specialized_variant") is None


@pytest.mark.parametrize(("n", "confidence"), [(50, 0.7), (99, 0.7), (100, 0.75), (5_000, 0.75)])
def test_confidence_grows_with_the_evidence_and_ends_at_three_quarters(n: int, confidence: float) -> None:
    [draft] = drafts(RULE, a_variant(n=n))
    assert draft.confidence == confidence


def test_the_change_registers_a_child_with_the_parents_parameters_and_the_modifications() -> None:
    known = m.VariantConfiguration(model_tier="sonnet", temperature=0.7, model="m-1")
    [draft] = drafts(RULE, a_variant(configuration=known))
    assert draft.change == m.Change(
        action="register",
        variant_id="default-v2",
        parent="default",
        model_tier="sonnet",
        temperature=0.2,
        modifications=[draft.modifications[0]],
    )


def test_an_id_that_was_ever_used_is_not_used_again() -> None:
    [draft] = drafts(RULE, a_variant(), a_variant("default-v2", retired=True), a_variant("default-v3", retired=True))
    assert draft.target == draft.change.variant_id == "default-v4"
    [of_a_child] = drafts(RULE, a_variant("default-v2"), a_variant("default", retired=True))
    assert of_a_child.target == "default-v3"


def test_the_longest_name_still_gives_a_name() -> None:
    [draft] = drafts(RULE, a_variant("x" * 128))
    assert draft.target == "x" * 125 + "-v2"


def test_nothing_is_proposed_where_there_is_no_room_or_nothing_to_change() -> None:
    retired = [a_variant(f"old-{number}", retired=True) for number in range(3)]
    assert not drafts(RULE, a_variant(), *retired, proposal_limits=limits(max_variants=4))
    assert drafts(RULE, a_variant(), *retired, proposal_limits=limits(max_variants=5))
    assert not drafts(RULE, a_variant(), remedies=msgspec.structs.replace(REMEDIES, tasks={}, errors=[]))


def test_the_reasoning_names_what_goes_wrong_most() -> None:
    kinds = m.FailureKinds(errors=4, failures=30, slow=2, low_quality=0)
    [draft] = drafts(RULE, a_variant(q=0.31, n=60, failure_kinds=kinds), task_type="api-design")
    assert draft.reasoning == (
        "Api-design tasks show 49% lower performance with default variant: Q-value 0.31 < 0.6 after 60 invocations, "
        "and there is no other variant. 26 of 60 outcomes were failures without an error.\n"
        "Suggest creating specialized variant."
    )


def test_a_difference_beyond_all_there_is_gets_no_percentage() -> None:
    [draft] = drafts(RULE, a_variant(q=-0.4))
    assert "far lower performance with default variant: Q-value -0.40 < 0.6" in draft.reasoning


def test_an_open_one_lapses_when_it_has_lost_its_ground_and_says_why() -> None:
    lapse = RULE_OF[RULE].lapse
    ground = "no_specialized_variant"
    assert lapse(viewed(a_variant()), "default-v2", ground) is None
    assert lapse(viewed(a_variant(q=0.6, n=70)), "default-v2", ground) == "Q-value 0.60 >= 0.6 after 70 invocations"
    assert lapse(viewed(a_variant(), a_variant("v2")), "default-v2", ground) == "there are other variants now: v2"
    assert lapse(viewed(a_variant(), a_variant("default-v2")), "default-v2", ground) == "default-v2 already exists"


def test_the_catalogue_of_these_tests_is_the_guides() -> None:
    assert GUIDES[1].value == 0.2
