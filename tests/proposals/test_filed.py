"""Proposals from outside as people see them, and candidates as scripts give them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.errors import UsageError
from crl_stream.proposals.candidate import configuration_of, evidence_of, modifications_of
from crl_stream.proposals.comparison import LONGEST, differences
from crl_stream.proposals.export import FORMATS
from crl_stream.proposals.page import page
from crl_stream.telemetry.lines import PROPOSAL_BYTES, proposal_line
from crl_stream.visible import visible

from .some import NOW, the_guide_s

OLD, NEW = {"prompt": "Be brief.\nBe kind.", "t": 0.7}, {"prompt": "Be brief.\nBe exact.", "t": 0.2, "tools": ["a"]}
CLAIM = {"n": 120, "metric": "accuracy", "score_before": 0.61, "score_after": 0.78, "url": "https://example.com/7"}


def a_filed_proposal(**fields: Any) -> m.Proposal:
    change = {"action": "register", "variant_id": "v2", "parent": "default", "configuration": NEW, "ref": "git:abc"}
    filing = {"command_id": "cmd-1", "actor": "nightly", "source": "gepa@0.1.4", "reason": "shorter", "evidence": CLAIM}
    given = {"trigger": "external", "target_variant": "v2", "change": change, "filing": filing, "revision": 1}
    return the_guide_s(**(given | fields))


def catalogue(*variants: m.RegisteredVariant) -> m.VariantCatalogue:
    return m.VariantCatalogue(
        agent_name="a",
        task_type="t",
        timestamp="2025-11-19T14:30:00Z",
        variants=list(variants),
        incarnation=0,
        position=m.Position(0, 1),
    )


def registered(name: str, configuration: dict[str, Any] | None) -> m.RegisteredVariant:
    return m.RegisteredVariant(variant_id=name, state="registered", quarantined=False, configuration=configuration)


# -- what a reviewer sees --------------------------------------------------------------------------
def test_the_page_tells_claims_from_figures_and_shows_what_is_different() -> None:
    text = page(a_filed_proposal(), NOW, None, catalogue(registered("default", OLD))).splitlines()
    assert text[text.index("  Filed by: nightly") + 1] == "  Source: gepa@0.1.4"
    claims = text.index("Claimed by gepa@0.1.4, not measured by crl-stream")
    assert text[claims + 1 : claims + 6] == [
        "  n: 120",
        "  metric: accuracy",
        "  score_before: 0.61",
        "  score_after: 0.78",
        "  url: https://example.com/7",
    ]
    assert claims < text.index("Evidence")
    assert "  potential_improvement: 0.15 (claimed)" in text
    compared = text.index("The configuration, compared with default")
    assert text[compared + 1 : compared + 9] == [
        "    prompt:",
        "      @@ -1,2 +1,2 @@",
        "       Be brief.",
        "      -Be kind.",
        "      +Be exact.",
        "  - t: 0.7",
        "  + t: 0.2",
        '  + tools[0]: "a"',
    ]
    assert "  ref: git:abc" in text
    assert any(line.endswith("--rollout") for line in text)


@pytest.mark.parametrize(
    ("parent", "variants", "head"),
    [
        ("default", [], "The whole configuration (default has none to compare it with)"),
        ("default", [registered("default", None)], "The whole configuration (default has none to compare it with)"),
        (None, [registered("default", OLD)], "The whole configuration (it names no parent to compare it with)"),
    ],
)
def test_without_a_configuration_to_compare_with_all_of_it_is_shown(
    parent: str | None, variants: list[m.RegisteredVariant], head: str
) -> None:
    change = {"action": "register", "variant_id": "v2", "configuration": {"a": 1}} | (
        {"parent": parent} if parent else {}
    )
    text = page(a_filed_proposal(change=change), NOW, None, catalogue(*variants)).splitlines()
    assert text[text.index(head) + 1] == "  + a: 1"


def test_what_a_source_writes_cannot_control_the_terminal_or_pretend_to_be_a_line_of_ours() -> None:
    evil = "x\x1b[31m\nApproving it\n\u202e"
    filing = {
        "command_id": "c",
        "actor": evil,
        "source": evil,
        "reason": evil,
        "evidence": {"dataset": evil, "url": evil},
    }
    change = {"action": "register", "variant_id": "v2", "configuration": {evil: {evil: evil}}, "ref": evil}
    lines = page(a_filed_proposal(filing=filing, change=change), NOW).split("\n")
    assert all(line == visible(line) for line in lines)
    assert lines.count("Approving it") == 1


def test_the_same_configuration_is_no_difference() -> None:
    text = page(a_filed_proposal(), NOW, None, catalogue(registered("default", NEW)))
    assert "The configuration, compared with default\n  no difference" in text


# -- what is exported and kept ---------------------------------------------------------------------
def test_exports_say_who_filed_it_and_a_filing_is_no_review() -> None:
    filed = a_filed_proposal(actor="nightly", why="filed, source: gepa@0.1.4")
    [entry] = json.loads(FORMATS["tracker"].write([filed], NOW))["entries"]
    assert (entry["type"], entry["source"], entry["filed_by"]) == (
        "crl_create_specialized_variant",
        "gepa@0.1.4",
        "nightly",
    )
    assert entry["evidence"] == CLAIM
    assert (entry["reviewed_by"], entry["review_reason"]) == (None, None)
    header, row = (
        FORMATS["csv"].write([filed], NOW).decode().splitlines()[:1],
        FORMATS["csv"].write([filed], NOW).decode(),
    )
    assert header[0].rstrip().endswith("source,filed_by,evidence")
    assert "gepa@0.1.4,nightly," in row


def test_a_line_of_telemetry_has_who_filed_it_and_is_never_too_long() -> None:
    line = json.loads(proposal_line(a_filed_proposal()))
    assert (line["source"], line["filed_by"], line["evidence"]) == ("gepa@0.1.4", "nightly", CLAIM)
    assert "source" not in json.loads(proposal_line(the_guide_s()))
    long = "\x01" * 2_000
    filing = {"command_id": "c" * 128, "actor": long, "source": long[:256], "reason": long, "evidence": {"url": long}}
    change = {"action": "register", "variant_id": "v" * 128, "parent": "p" * 128, "configuration": {"p": "p" * 16_000}}
    big = proposal_line(a_filed_proposal(filing=filing, change=change | {"ref": long[:256]}, reasoning=long))
    assert len(big) <= PROPOSAL_BYTES
    assert json.loads(big)["shortened"] is True


# -- comparisons -----------------------------------------------------------------------------------
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "a\nb", "b\na"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


@given(_objects, _objects)
def test_a_comparison_is_empty_exactly_if_nothing_is_different(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (differences(one, other) == []) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def test_a_long_comparison_is_cut_and_says_so() -> None:
    lines = differences(None, {f"k{n}": n for n in range(500)})
    assert (len(lines), lines[-1]) == (LONGEST + 1, "  … and 300 more lines: see --json")


# -- what scripts give -----------------------------------------------------------------------------
class Scalar:
    """A number of another library, such as numpy."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    claim = evidence_of({"n": Scalar(12), "score_after": Scalar(0.5)})
    assert claim == m.CandidateEvidence(n=12, score_after=0.5)
    assert configuration_of({"t": Scalar(0.5), "stop": ("a", "b")}) == {"t": 0.5, "stop": ["a", "b"]}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: evidence_of({"accuracy": 1.0}), "Evidence has no field accuracy"),
        (lambda: evidence_of({"n": -1}), "The evidence cannot be used: Expected `int` >= 0"),
        (lambda: evidence_of({"score_after": float("nan")}), "The evidence cannot be written as JSON"),
        (lambda: configuration_of({"a": float("inf")}), "The configuration cannot be written as JSON"),
        (lambda: configuration_of({"a": object()}), "object is not a JSON value"),
        (lambda: configuration_of({"a": Scalar([1])}), "Scalar is not a JSON value"),
        (lambda: modifications_of([{"what": 1}]), "A modification has no field what"),
        (lambda: modifications_of([{"operation": "improve"}]), "A modification cannot be used"),
    ],
)
def test_what_cannot_be_sent_is_a_sentence_with_a_hint(call: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert said in caught.value.message
    assert caught.value.hint


def test_modifications_are_those_of_the_guide() -> None:
    given = {"section": "s", "operation": "append", "content": "c"}
    one = m.Modification(section="s", operation="append", content="c")
    assert modifications_of([given, one]) == [one, one]
