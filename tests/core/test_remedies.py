"""The modifications recommended for a weak variant: by its failures, its task, and what it already has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.proposer.remedies import Remedies, Remedy, TaskRemedies, digest, dominant


def temperature(now: float | None, **entry: Any) -> Any:
    found = Remedies(errors=[Remedy(parameter="temperature", **entry)]).prescribe(
        "any", "errors", None if now is None else m.VariantConfiguration(temperature=now)
    )
    return found[0].value if found else None


def tier(now: str | None, **entry: Any) -> Any:
    catalogue = Remedies(errors=[Remedy(parameter="model_tier", **entry)], tiers=["small", "medium", "large"])
    found = catalogue.prescribe("any", "errors", None if now is None else m.VariantConfiguration(model_tier=now))
    return found[0].value if found else None


def kinds(errors: int = 0, failures: int = 0, slow: int = 0, low_quality: int = 0) -> m.FailureKinds:
    return m.FailureKinds(errors=errors, failures=failures, slow=slow, low_quality=low_quality)


# -- the dominant kind of failure ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (kinds(errors=9, failures=12), ("errors", 9)),
        (kinds(errors=4, failures=30), ("failures", 26)),
        (kinds(errors=2, failures=2, slow=7), ("slow", 7)),
        (kinds(low_quality=3, failures=1), ("low_quality", 3)),
        (kinds(errors=5, failures=10), ("errors", 5)),  # a tie goes to the worse kind
        (kinds(errors=5), ("errors", 5)),  # errors in outcomes that succeeded
        (kinds(), ("low_quality", 0)),  # only the rewards are bad
    ],
)
def test_the_commonest_kind_decides_and_failures_with_an_error_are_errors(
    counted: m.FailureKinds, expected: tuple[str, int]
) -> None:
    assert dominant(counted) == expected


# -- parameters ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("now", "expected"), [(None, 0.2), (0.7, 0.2), (0.2, 0.1), (0.1, 0.0), (0.05, 0.0), (0.0, None)]
)
def test_a_temperature_is_lowered_to_the_value_and_then_step_by_step(now: float | None, expected: float | None) -> None:
    assert temperature(now, value=0.2, step=-0.1, minimum=0.0) == expected


@pytest.mark.parametrize(("now", "expected"), [(None, None), (0.3, 0.2), (0.15, 0.1), (0.1, None), (0.05, None)])
def test_a_step_alone_needs_to_know_where_the_variant_is_and_stops_at_its_bound(
    now: float | None, expected: float | None
) -> None:
    assert temperature(now, step=-0.1, minimum=0.1) == expected


def test_a_value_alone_is_where_to_go_from_anywhere_else() -> None:
    assert [temperature(now, value=0.2) for now in (None, 0.1, 0.2, 0.9)] == [0.2, 0.2, None, 0.2]


@given(
    st.none() | st.floats(0, 2),
    st.none() | st.floats(0, 2),
    st.floats(-1, 1).filter(bool),
    st.none() | st.floats(0, 2),
    st.none() | st.floats(0, 2),
)
def test_a_step_goes_its_way_or_nowhere_and_stays_a_temperature(
    now: float | None, value: float | None, step: float, minimum: float | None, maximum: float | None
) -> None:
    moved = temperature(now, value=value, step=step, minimum=minimum, maximum=maximum)
    if moved is not None:
        assert 0.0 <= moved <= 2.0
        assert now is None or (moved - now) * step > 0


@pytest.mark.parametrize(
    ("now", "step", "expected"),
    [
        ("small", 1, "medium"),
        ("small", 2, "large"),
        ("medium", 5, "large"),
        ("large", 1, None),
        ("small", -1, None),
        ("large", -1, "medium"),
        ("another", 1, None),
        (None, 1, None),
    ],
)
def test_a_model_tier_moves_along_the_tiers(now: str | None, step: int, expected: str | None) -> None:
    assert tier(now, step=step) == expected


def test_a_model_tier_with_a_value_goes_there_and_on_by_the_step() -> None:
    assert [tier(now, value="medium", step=1) for now in (None, "small", "medium", "large")] == [
        "medium",
        "medium",
        "large",
        "medium",
    ]
    assert tier("medium", value="medium") is None


# -- which entries apply ---------------------------------------------------------------------------
def sections(catalogue: Remedies, task_type: str, kind: Any = "errors") -> list[str | None]:
    return [one.section for one in catalogue.prescribe(task_type, kind, None)]


def add(section: str) -> list[Remedy]:
    return [Remedy(section=section, operation="append", content="...")]


def test_a_task_type_has_its_own_list_before_any_and_any_before_the_general_one() -> None:
    own = TaskRemedies(any=add("any"), errors=add("own errors"))
    catalogue = Remedies(errors=add("errors"), slow=add("slow"), tasks={"audit": own, "chat": TaskRemedies()})
    assert sections(catalogue, "audit") == ["own errors"]
    assert sections(catalogue, "audit", "slow") == ["any"]
    assert sections(catalogue, "chat", "slow") == ["slow"]
    assert sections(catalogue, "else") == ["errors"]
    assert sections(msgspec.structs.replace(catalogue, tasks={"audit": TaskRemedies(errors=[])}), "audit") == []


def test_a_name_goes_before_patterns_and_these_in_their_order() -> None:
    tasks = {
        "security-*": TaskRemedies(any=add("first")),
        "*-audit": TaskRemedies(any=add("second")),
        "security-audit": TaskRemedies(any=add("exact")),
    }
    catalogue = Remedies(tasks=tasks)
    assert sections(catalogue, "security-audit") == ["exact"]
    assert sections(catalogue, "security-scan") == ["first"]
    assert sections(catalogue, "code-audit") == ["second"]
    assert sections(catalogue, "Security-scan") == []


def test_what_a_variant_was_made_with_is_not_prescribed_twice_whatever_the_reason() -> None:
    catalogue = Remedies(errors=[*add("a"), *add("b")])
    [first, second] = catalogue.prescribe("any", "errors", None)
    carried = frozenset([digest(msgspec.structs.replace(first, reason="another"))])
    assert catalogue.prescribe("any", "errors", None, carried) == [second]


# -- entries that cannot be applied ----------------------------------------------------------------
@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "either a section or a parameter"),
        ({"section": "a", "parameter": "b"}, "either a section or a parameter"),
        ({"section": "a", "content": "b"}, "needs an operation"),
        ({"section": "a", "operation": "append"}, "needs content"),
        ({"section": "a", "operation": "remove", "content": "b"}, "needs content, unless"),
        ({"section": "a", "operation": "append", "content": "b", "step": 1}, "belong to a parameter"),
        ({"parameter": "a"}, "a value or a step"),
        ({"parameter": "a", "value": 1, "content": "b"}, "belong to a section"),
        ({"parameter": "max_tokens", "step": 1}, "only temperature and model_tier can have a step"),
        ({"parameter": "temperature", "value": 2.1}, "from 0 to 2"),
        ({"parameter": "temperature", "value": "low"}, "from 0 to 2"),
        ({"parameter": "temperature", "value": float("nan")}, "from 0 to 2"),
        ({"parameter": "temperature", "step": 0}, "changes nothing"),
        ({"parameter": "temperature", "step": float("inf")}, "finite"),
        ({"parameter": "model_tier", "value": 3}, "must be a name"),
        ({"parameter": "model_tier", "step": 0.5}, "a whole number of tiers"),
        ({"parameter": "top_p", "value": float("inf")}, "finite"),
    ],
)
def test_an_entry_that_nobody_could_apply_is_refused_with_the_reason(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Remedy(**entry)


def test_a_section_may_be_removed_and_any_parameter_set() -> None:
    catalogue = Remedies(errors=[Remedy(section="a", operation="remove"), Remedy(parameter="max_tokens", value=900)])
    assert msgspec.to_builtins(catalogue.prescribe("any", "errors", None)) == [
        {"section": "a", "operation": "remove"},
        {"parameter": "max_tokens", "value": 900},
    ]
