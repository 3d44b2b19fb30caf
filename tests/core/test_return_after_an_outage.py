"""When an incident ends, the task returns to the first variant from the one that took over, unless it need not."""

from __future__ import annotations

import msgspec
import pytest

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import StandingOrder
from crl_stream.core.policy import Operations

from .task import Task
from .test_common_cause import ONE, in_outage, live, moved_elsewhere, with_siblings

TWO = {"provider": "two"}


def recovers(task: Task, variant_id: str) -> None:
    """Let a variant of the failing provider have as many good outcomes as end the incident."""
    task.run(variant_id, "S" * 10, variant_source="explore", **ONE)
    assert task.row.incident is None


def returned(task: Task) -> bool:
    return (task.row.active, task.row.cause) == ("default", "common_cause")


def test_any_variant_of_the_provider_that_recovers_brings_the_first_one_back() -> None:
    task = moved_elsewhere()
    recovers(task, "spare")
    assert returned(task)


def test_a_retired_variant_is_not_returned_to() -> None:
    task = moved_elsewhere()
    task.order(m.RetireVariant, variant_id="default")
    recovers(task, "spare")
    assert task.row.active == "elsewhere"


def test_a_first_variant_that_is_known_to_be_failing_still_is_not_returned_to() -> None:
    task = moved_elsewhere()
    task.run("default", "F" * 10, variant_source="explore", **ONE)
    recovers(task, "spare")
    assert task.row.active == "elsewhere"


def test_a_first_variant_whose_level_before_the_fall_is_unknown_is_not_returned_to() -> None:
    """It had fewer outcomes than a level takes."""
    task = moved_elsewhere()
    assert task.row.incident is not None
    del task.row.incident.before["default"]
    recovers(task, "spare")
    assert task.row.active == "elsewhere"


def test_without_a_variant_of_another_provider_that_took_over_the_task_stays_where_it_is() -> None:
    task = with_siblings(other=TWO)
    while task.row.incident is None:
        live(task, "F")
    assert (task.row.active, task.row.cause) == ("spare", "rollback")
    recovers(task, "default")
    assert task.row.active == "spare"


def test_a_variant_that_a_person_put_in_place_of_a_failing_one_stays() -> None:
    task = in_outage(None)
    task.run("elsewhere", "SSSSF" * 6, variant_source="explore", **TWO)
    task.order(m.ActivateVariant, variant_id="elsewhere")
    recovers(task, "default")
    assert (task.row.active, task.row.cause) == ("elsewhere", "command")


def test_a_variant_that_took_over_from_one_of_another_provider_stays() -> None:
    task = with_siblings(other=TWO)
    task.run("third", "SSSFF" * 6, variant_source="explore", provider="three")
    while task.row.active != "elsewhere":
        live(task, "F")
    live(task, "S" * 20, **TWO)
    while task.row.active == "elsewhere":
        live(task, "F", **TWO)
    assert (task.row.active, task.row.cause, task.row.incident is None) == ("third", "rollback", False)
    recovers(task, "default")
    assert task.row.active == "third"


@pytest.mark.parametrize("how", ["fleet", "shadow"])
def test_the_task_stays_where_it_is_while_nothing_happens_automatically(how: str) -> None:
    task = moved_elsewhere()
    if how == "fleet":
        task.fleet = StandingOrder("ann", "look", task.now)
    else:
        task.policy = msgspec.structs.replace(task.policy, operations=Operations(mode="shadow"))
    recovers(task, "default")
    assert task.row.active == "elsewhere"


@pytest.mark.parametrize(("outcomes", "active"), [(9, "default"), (10, "elsewhere")])
def test_what_took_over_is_measured_by_its_judged_outcomes_once_they_suffice_and_by_all_before(
    outcomes: int, active: str
) -> None:
    """Nine good outcomes may be chance, and all outcomes say 80 %; ten are as good as the first variant."""
    task = moved_elsewhere()
    live(task, "S" * outcomes, **TWO)
    recovers(task, "default")
    assert task.row.active == active
