"""Whether other variants fell too: they are taken together, measured by what each was worth, and clearly worse now."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.fall import CLEARLY, KNOWN, add, began_at, fell, latest, since
from crl_stream.core.monitor.promise import is_better, promise_of
from crl_stream.core.monitor.row import MICRO, Incident, Sums, Variant
from crl_stream.core.monitor.rules import rules_of

from .task import Task
from .test_common_cause import ONE, in_outage

FAILING = "FFFFFF"


def explored(began: int, **others: tuple[str, str]) -> tuple[Task, list[Variant]]:
    """Build variants from their outcomes before and since the offset ``began``, explored one after the other."""
    task = Task()
    for when in (0, 1):
        task.offset = max(task.offset, when * began - 1)
        for name, outcomes in others.items():
            if outcomes[when]:
                task.run(name, outcomes[when], variant_source="explore")
    assert all(len(before) + len(now) <= 1_000 for before, now in others.values())
    return task, [task.variant(name) for name in others]


@pytest.mark.parametrize(("known", "fallen"), [(KNOWN - 1, False), (KNOWN, True)])
def test_a_variant_shows_a_fall_only_if_its_usual_level_is_known(known: int, fallen: bool) -> None:
    _, others = explored(1_000, one=("S" * known, FAILING * 2))
    assert fell(others, 1_000) is fallen


@pytest.mark.parametrize(("outcomes", "fallen"), [(3, False), (4, True)])
def test_four_failures_of_others_together_show_a_fall_and_three_do_not(outcomes: int, fallen: bool) -> None:
    _, others = explored(1_000, one=("S" * 100, "F" * (outcomes - 1)), two=("S" * 100, "F"))
    assert fell(others, 1_000) is fallen


def test_one_that_says_nothing_does_not_silence_the_next() -> None:
    _, others = explored(1_000, new=("", FAILING), known=("S" * 100, FAILING))
    for order in permutations(others):
        assert fell(order, 1_000)


def test_a_variant_without_outcomes_since_then_makes_the_others_no_less_known() -> None:
    """The level of ten outcomes is known too little for four failures of seven; that of a hundred, well enough."""
    _, others = explored(1_000, known=("S" * 100, "FFFFSSS"), idle=("S" * KNOWN, ""))
    for order in permutations(others):
        assert fell(order, 1_000)
    _, little = explored(1_000, known=("S" * KNOWN, "FFFFSSS"))
    assert not fell(little, 1_000)


@pytest.mark.parametrize("least", ["one", "two", "three", None])
def test_the_expected_level_is_no_better_known_than_the_least_known_whatever_their_order(least: str | None) -> None:
    shares = {"one": "FS", "two": "SF", "three": "FFS"}
    known = {name: "S" * (KNOWN if name == least else 200) for name in shares}
    _, others = explored(1_000, **{name: (known[name], shares[name]) for name in shares})
    assert {fell(order, 1_000) for order in permutations(others)} == {least is None}


def test_a_variant_in_quarantine_shows_nothing() -> None:
    _, others = explored(1_000, one=("S" * 100, FAILING))
    assert fell(others, 1_000)
    others[0].quarantined = True
    assert not fell(others, 1_000)


def test_errors_alone_show_a_fall() -> None:
    """They succeed and are rewarded as before, but each reports an error."""
    task, others = explored(1_000, one=("S" * 100, ""))
    task.offset = 999
    task.run("one", "S" * 12, error_count=1, reward=1.0, variant_source="explore")
    assert fell(others, 1_000)


@given(st.text("SFE", min_size=1, max_size=20), st.integers(0, 20))
def test_what_came_since_then_and_what_came_before_are_together_what_the_window_holds(outcomes: str, at: int) -> None:
    task, [one] = explored(0, one=(outcomes, ""))
    whole = since(one, 0)
    assert whole == one.judged
    came = since(one, at)
    assert came.n == max(0, len(outcomes) - at)
    task.row.variants.clear()
    _, [before] = explored(0, one=(outcomes[:at] or "S", ""))
    parts = Sums() if not at else since(before, 0)
    add(parts, came)
    assert parts == whole


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({}, {"status": "failure"}),
        ({"reward": 0.5}, {"reward": 0.5, "status": "failure"}),
        ({"reward": 0.5}, {"reward": 0.1}),
        ({"reward": 0.5}, {"reward": 0.5, "error_count": 1}),
        ({"reward": 0.5}, {"reward": 0.5, "status": "error"}),
    ],
    ids=["all", "success", "reward", "errors", "errors without success"],
)
def test_the_fall_began_with_the_first_of_the_outcomes_that_lost_most(
    good: dict[str, Any], bad: dict[str, Any]
) -> None:
    task = Task()
    for at, kind in enumerate([good] * 62 + [bad, good] + [bad] * 6):
        task.take(an_invocation("one", variant_source="explore", invocation_id=f"o{at}", **kind))
        assert (began_at(task.variant("one"), rules_of(task.policy)) is None) is (at < 62)
    assert began_at(task.variant("one"), rules_of(task.policy)) == 62


def test_outcomes_of_an_earlier_activation_do_not_count_as_part_of_a_fall() -> None:
    task = Task()
    task.run("default", "S")
    task.run("one", "S" * 10, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="one")
    task.run("one", "FFF", active_epoch=1)
    assert since(task.variant("one"), 0).n == 0
    task.run("one", "FF", active_epoch=2)
    assert since(task.variant("one"), 0).n == 2


def test_the_outcome_with_which_an_incident_is_found_does_not_count_towards_its_end() -> None:
    task = in_outage()
    incident: Incident | None = task.row.incident
    assert incident is not None
    assert latest(task.variant("spare"), incident).n == 0
    task.run("spare", "S" * 9, variant_source="explore", **ONE)
    assert latest(task.variant("spare"), incident).n == 9
    assert task.row.incident is not None
    task.run("spare", "S", variant_source="explore", **ONE)
    assert task.row.incident is None


@given(st.integers(KNOWN, 2_000), st.data())
def test_no_single_outcome_is_clearly_less_than_a_level_that_includes_it(n: int, data: st.DataObject) -> None:
    """So it does not matter whether one outcome before the fall is enough to show that a variant had fallen before."""
    one = Sums(1, data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1)), data.draw(st.integers(-MICRO, MICRO)), 0)
    good, errors = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    known = Sums(n, good, errors, data.draw(st.integers(-n * MICRO, n * MICRO)), 0)
    add(known, one)
    assert not is_better(promise_of(known), promise_of(one), CLEARLY)
