"""What a simulation draws from: the stable outcomes of each variant, and failures that really happened."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from calibration.worlds import bernoulli, history_of, invocations_of
from crl_stream.calibration.stock import LEAST, Supply, supply_of
from crl_stream.core.policy import Learning
from crl_stream.errors import NotFound, UsageError


def supply(messages: list[Any], **options: Any) -> Supply:
    return supply_of(history_of(messages), Learning(), **options)


def good(name: str, count: int, seed: int = 1, **fields: Any) -> list[Any]:
    return invocations_of(name, bernoulli(Random(f"{name} {seed}"), 0.9, count), **fields)


def test_a_collapse_in_the_history_is_reported_and_not_drawn_from() -> None:
    messages = [*good("v2", 60), *good("v1", 300), *invocations_of("v1", [False] * 40, first=300)]
    found = supply(messages)
    assert found.active.name == "v1"
    assert abs(len(found.active.outcomes) - 300) <= 3
    assert [change.what for change in found.active.stretch.changes] == ["success"]
    whole = supply(messages, whole=True)
    assert (len(whole.active.outcomes), whole.active.stretch.changes) == (340, ())


def test_too_short_a_history_is_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(UsageError, match=f"v1 has 30 outcomes; calibration needs {LEAST}"):
        supply(good("v1", 30))
    collapsing = [*good("v1", 40), *invocations_of("v1", [False] * 40, first=40)]
    with pytest.raises(UsageError, match=r"v1 has 80 outcomes, of which 4. without a change in between") as found:
        supply(collapsing)
    assert "--whole" in (found.value.hint or "")


def test_the_newest_variant_is_the_active_one_unless_it_is_too_new_or_another_is_named() -> None:
    messages = [*good("v1", 200), *good("v2", 100)]
    assert supply(messages).active.name == "v2"
    assert supply([*messages, *good("v3", 10)]).active.name == "v1"
    assert supply(messages, active="v1").active.name == "v1"
    with pytest.raises(NotFound, match="no outcomes of v9"):
        supply(messages, active="v9")


def test_a_variant_with_few_outcomes_is_left_out_and_named() -> None:
    found = supply([*good("v3", 4), *good("v2", 50), *good("v1", 100)])
    assert [stock.name for stock in found.others] == ["v2"]
    assert found.left_out == (("v3", 4),)


def test_of_many_variants_only_the_best_take_part_and_the_others_are_named() -> None:
    rates = {f"v{number}": 0.95 - 0.1 * number for number in range(1, 8)}
    others = [one for name, p in rates.items() for one in invocations_of(name, bernoulli(Random(name), p, 100))]
    found = supply([*others, *good("v0", 100)])
    assert {stock.name for stock in found.others} == {"v1", "v2", "v3", "v4", "v5"}
    assert found.left_out == (("v6", 100), ("v7", 100))


def test_without_another_variant_a_copy_is_assumed_that_no_variant_is_named_like() -> None:
    found = supply([*good("v1-copy", 4), *good("v1", 100)])
    [copy] = found.others
    assert (copy.name, copy.copy_of) == ("v1-copy2", "v1")
    assert copy.outcomes == found.active.outcomes


def test_a_fall_uses_failures_that_happened_of_the_variant_itself_if_there_are_any() -> None:
    own = [*invocations_of("v2", [False] * 5 + [True] * 45, quality=0.1), *good("v1", 100, quality=0.3)]
    found = supply(own)
    assert {one.fields["quality"] for one in found.failures} == {0.3}
    borrowed = [*invocations_of("v2", [False] * 5 + [True] * 45, quality=0.1), *invocations_of("v1", [True] * 100)]
    assert {one.fields["quality"] for one in supply(borrowed).failures} == {0.1}
    assert not supply(borrowed).synthetic


def test_where_nothing_failed_the_failures_are_made_up_with_the_worst_scores() -> None:
    found = supply(invocations_of("v1", [True] * 100, reward=0.8, quality=0.9))
    assert found.synthetic and not found.by_success
    assert {(one.fields["status"], one.fields["reward"], one.fields["quality"]) for one in found.failures} == {
        ("failure", -1.0, 0.0)
    }
    assert (found.active.values[0], found.failure_value) == (0.9, 0.0)


def test_a_fall_leaves_the_given_share_of_the_successes() -> None:
    found = supply(good("v1", 200))
    rate = sum(found.active.values) / 200
    for left in (1.0, 0.75, 0.5, 0.0):
        assert sum(found.fallen(left)) / 200 == pytest.approx(left * rate)
