"""Every command: applied, refused with a hint, expired, for another epoch, and sent twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from builders import a_command

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import REGISTERED, RETIRED, encode_row
from crl_stream.core.policy import Limits, Policy

from .orders import APPLIED, PROMOTE, REFUSED, rollback_id, two
from .task import Task, collapsed, proven

names = [kind.__name__ for kind, *_ in APPLIED]


def _fields(task: Task, fields: dict[str, Any]) -> dict[str, Any]:
    return {name: rollback_id(task) if value is ... else value for name, value in fields.items()}


def _state(task: Task) -> Any:
    """Return the row without its log position and without what it remembers of commands and reviews."""
    row = msgspec.msgpack.decode(encode_row(task.row))
    plain = {field.name: value for field, value in zip(msgspec.structs.fields(task.row), row, strict=True)}
    passing = {"offset", "time", "command_ids", "reviews", "shown_n", "shown_time", "wake"}
    return {k: v for k, v in plain.items() if k not in passing}


def test_every_command_for_a_task_is_tested_here() -> None:
    known = {kind.__name__ for kind in get_args(m.AnyTaskCommand)}
    assert set(names) == known
    assert {kind.__name__ for kind, *_ in REFUSED} == known - {"HoldTask"}


@pytest.mark.parametrize(("kind", "fields", "make", "detail"), APPLIED, ids=names)
def test_a_command_is_applied_and_says_what_was_done(
    kind: type, fields: dict[str, Any], make: Callable[[], Task], detail: str
) -> None:
    task = make()
    result = task.order(kind, **_fields(task, fields))
    assert (result.outcome, result.command, result.actor) == ("applied", kind.__name__, "ada")
    assert detail in result.detail


@pytest.mark.parametrize(("kind", "fields", "make", "hint"), REFUSED)
def test_a_refused_command_changes_nothing_and_says_what_to_do(
    kind: type, fields: dict[str, Any], make: Callable[[], Task], hint: str
) -> None:
    task = make()
    before = _state(task)
    result = task.order(kind, **_fields(task, fields))
    assert result.outcome == "refused"
    assert hint in result.detail
    assert _state(task) == before


@pytest.mark.parametrize(("kind", "fields", "make", "detail"), APPLIED, ids=names)
def test_a_command_for_another_epoch_is_refused_and_says_what_is_true_now(
    kind: type, fields: dict[str, Any], make: Callable[[], Task], detail: str
) -> None:
    task = make()
    before, epoch = _state(task), task.row.epoch
    result = task.order(kind, expected_epoch=epoch + 1, **_fields(task, fields))
    assert result.outcome == "refused"
    assert result.detail.startswith(
        f"the epoch is {epoch}, not {epoch + 1}: {task.row.active} has been active since 2025-11-19"
    )
    assert result.detail.endswith("check the task, then send the command again")
    assert _state(task) == before
    assert task.order(kind, expected_epoch=epoch, **_fields(task, fields)).outcome == "applied"


@pytest.mark.parametrize(("kind", "fields", "make", "detail"), APPLIED, ids=names)
def test_an_expired_command_is_refused(
    kind: type, fields: dict[str, Any], make: Callable[[], Task], detail: str
) -> None:
    task = make()
    before = _state(task)
    result = task.order(kind, expires_at="2025-11-19T14:30:00Z", **_fields(task, fields))
    assert (result.outcome, result.detail) == (
        "refused",
        "the command expired at 2025-11-19T14:30:00Z; send it again if it is still needed",
    )
    assert _state(task) == before
    later = task.order(kind, expires_at="2025-11-19T23:30:00Z", **_fields(task, fields))
    assert later.outcome == "applied"


@pytest.mark.parametrize(("kind", "fields", "make", "detail"), APPLIED, ids=names)
def test_a_command_sent_twice_is_applied_once_and_says_nothing_the_second_time(
    kind: type, fields: dict[str, Any], make: Callable[[], Task], detail: str
) -> None:
    task = make()
    command = a_command(kind, **_fields(task, fields))
    task.take(command)
    before, duplicates = _state(task), task.row.duplicates
    assert task.take(command) == []
    assert task.last is not None and task.last.disposition == "duplicate"
    assert task.row.duplicates == duplicates + 1
    assert {**_state(task), "duplicates": 0} == {**before, "duplicates": 0}


def test_an_expiry_that_is_no_instant_is_refused_and_shown_how_to_write() -> None:
    result = two().order(m.HoldTask, expires_at="2025-13-45T14:30:00Z")
    assert result.outcome == "refused"
    assert "write it like 2025-11-19T14:30:00Z" in result.detail


def test_command_ids_are_remembered_for_the_last_32_commands() -> None:
    task = two()
    first = a_command(m.HoldTask)
    task.take(first, *[a_command(m.ResumeTask) for _ in range(31)])
    assert task.take(first) == []
    task.take(a_command(m.HoldTask))
    assert task.take(first) != []


# -- variants and reviews --------------------------------------------------------------------------
def test_a_registration_is_published_with_its_configuration() -> None:
    task = two()
    change = m.Modification(parameter="temperature", value=0.2, reason="precise")
    task.order(
        m.RegisterVariant, variant_id="v9", parent="default", model="m1", temperature=0.2, modifications=[change]
    )
    [found] = [v for v in task.stated(m.VariantCatalogue)[-1].variants if v.variant_id == "v9"]
    assert (found.state, found.parent, found.model, found.temperature) == ("registered", "default", "m1", 0.2)
    assert found.modifications == [change]
    assert task.variant("v9").state == REGISTERED


def test_a_retired_variant_may_be_registered_again() -> None:
    task = two()
    task.order(m.RetireVariant, variant_id="v2")
    assert task.variant("v2").state == RETIRED
    assert task.order(m.RegisterVariant, variant_id="v2").outcome == "applied"
    assert task.order(m.ActivateVariant, variant_id="v2").outcome == "applied"


def test_a_task_full_of_registered_variants_refuses_another_and_says_what_to_do() -> None:
    task = Task(Policy(limits=Limits(variants=3)))
    for name in ("a", "b", "c"):
        assert task.order(m.RegisterVariant, variant_id=name).outcome == "applied"
    result = task.order(m.RegisterVariant, variant_id="d")
    assert (result.outcome, result.detail) == ("refused", "the task already has 3 variants (limit 3); retire one first")
    task.order(m.RetireVariant, variant_id="b")
    assert task.order(m.RegisterVariant, variant_id="d").outcome == "applied"
    assert sorted(task.row.variants) == ["a", "c", "d"]


def test_an_approval_may_reinstate_a_quarantined_variant_and_says_so() -> None:
    task = collapsed()
    change = m.Change(action="activate", variant_id="api-optimized")
    result = task.order(m.ApproveProposal, proposal_id="p1", change=change, expected_epoch=task.row.epoch)
    assert result.outcome == "applied"
    assert result.detail.endswith("api-optimized is active, epoch 4; it is reinstated and no longer quarantined")
    assert not task.variant("api-optimized").quarantined
    assert task.stated(m.ActiveVariant)[-1].quarantined == []


def test_an_approval_may_retire_a_quarantined_variant_which_leaves_no_alert_open() -> None:
    task = proven(api_optimized="S" * 30)
    task.order(m.ActivateVariant, variant_id="api-optimized")
    task.order(m.HoldTask)
    task.run("api-optimized", "S" * 10 + "F" * 10, active_epoch=2)
    task.order(m.ResumeTask)
    task.run("api-optimized", "F", active_epoch=2)
    assert task.variant("api-optimized").quarantined
    assert task.variant("api-optimized").degraded
    change = m.Change(action="retire", variant_id="api-optimized")
    assert task.order(m.ApproveProposal, proposal_id="p1", change=change).detail == "p1 approved: api-optimized retired"
    retired = task.variant("api-optimized")
    assert (retired.state, retired.quarantined, retired.degraded) == (RETIRED, True, False)
    over = task.alerts("degradation")[-1]
    assert (over.action, over.resolved, over.cause_id) == ("resolved: retired", True, retired.alert_id)


def test_an_approved_registration_has_the_configuration_of_the_change() -> None:
    task = two()
    section = m.Modification(section="Core Identity", operation="append", content="...")
    change = m.Change(
        action="register",
        variant_id="v9",
        parent="default",
        model_tier="opus",
        temperature=0.2,
        modifications=[section],
    )
    task.order(m.ApproveProposal, proposal_id="p1", change=change)
    [found] = [v for v in task.stated(m.VariantCatalogue)[-1].variants if v.variant_id == "v9"]
    assert (found.state, found.parent, found.model_tier, found.temperature) == ("registered", "default", "opus", 0.2)
    assert found.modifications == [section]
    assert task.row.active == "default"


def test_the_second_of_two_reviewers_hears_of_the_first_whatever_epoch_that_one_made() -> None:
    task = two()
    task.order(m.ApproveProposal, proposal_id="p1", change=PROMOTE, expected_epoch=1, actor="ada")
    for kind, fields in ((m.ApproveProposal, {"change": PROMOTE}), (m.RejectProposal, {})):
        result = task.order(kind, proposal_id="p1", expected_epoch=1, actor="bob", **fields)
        assert result.outcome == "refused"
        assert result.detail.startswith("p1 was already approved by ada at 2025-11-19T14:30:43.000Z")


def test_a_deferral_says_until_when_and_the_snapshot_lists_it() -> None:
    task = two()
    task.order(m.DeferProposal, proposal_id="p1", until="2025-12-01T00:00:00Z")
    [review] = task.stated(m.TaskSnapshot)[-1].reviews
    assert (review.review, review.until) == ("deferred", "2025-12-01T00:00:00Z")


def test_refused_reviews_do_not_push_out_who_was_first() -> None:
    task = two()
    task.order(m.RejectProposal, proposal_id="p1")
    for _ in range(40):
        assert task.order(m.RejectProposal, proposal_id="p1").outcome == "refused"
    assert len(task.row.reviews) == 32
    assert task.row.reviews[0].outcome == "applied"


def test_the_first_review_wins_and_a_deferred_or_refused_one_leaves_the_proposal_open() -> None:
    task = two()
    late = {"proposal_id": "p1", "change": PROMOTE, "valid_until": "2025-11-19T14:00:00Z"}
    assert task.order(m.ApproveProposal, **late).outcome == "refused"
    assert task.order(m.DeferProposal, proposal_id="p1").outcome == "applied"
    assert task.order(m.RejectProposal, proposal_id="p1").outcome == "applied"
    assert task.order(m.ApproveProposal, proposal_id="p1", change=PROMOTE).outcome == "refused"
    reviews = [(r.review, r.outcome) for r in task.stated(m.TaskSnapshot)[-1].reviews]
    assert reviews == [
        ("approved", "refused"),
        ("deferred", "applied"),
        ("rejected", "applied"),
        ("approved", "refused"),
    ]
    assert task.row.active == "default"


def test_the_last_32_reviews_are_listed() -> None:
    task = two()
    for number in range(40):
        task.order(m.RejectProposal, proposal_id=f"p{number}")
    assert [r.proposal_id for r in task.row.reviews] == [f"p{number}" for number in range(8, 40)]


def test_a_command_result_carries_its_place_and_time_in_the_log() -> None:
    result = two().order(m.HoldTask)
    assert result.position.offset == 42
    assert result.timestamp == "2025-11-19T14:30:43.000Z"
