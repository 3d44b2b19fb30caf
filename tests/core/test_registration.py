"""A variant's configuration is kept as given, never changes, and is bounded."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from wire.messages import configurations

from crl_stream.core import messages as m
from crl_stream.core.monitor.registration import MAX_CONFIGURATION
from crl_stream.core.monitor.row import decode_row, encode_row

from .task import Task, proven

GIVEN = {"prompt": "refund", "prompt_version": 12, "model": {"name": "m-1", "temperature": 0.0}}


def offered(task: Task, name: str = "v9") -> m.RegisteredVariant:
    return next(v for v in task.stated(m.VariantCatalogue)[-1].variants if v.variant_id == name)


@given(configurations)
def test_runtimes_get_any_json_object_as_it_was_registered(configuration: dict[str, object]) -> None:
    task = proven()
    task.order(m.RegisterVariant, variant_id="v9", configuration=configuration, ref="langfuse:refund@12")
    task.row = decode_row(encode_row(task.row))
    found = offered(task)
    assert (found.configuration, found.ref) == (configuration, "langfuse:refund@12")
    assert msgspec.json.decode(msgspec.json.encode(found), type=m.RegisteredVariant) == found


@pytest.mark.parametrize(
    ("change", "what"),
    [({"configuration": {**GIVEN, "prompt_version": 13}}, "configuration"), ({"ref": "langfuse:refund@13"}, "ref")],
)
def test_a_configuration_or_ref_that_is_set_never_changes(change: dict[str, object], what: str) -> None:
    task = proven()
    task.order(m.RegisterVariant, variant_id="v9", configuration=GIVEN, ref="langfuse:refund@12")
    result = task.order(m.RegisterVariant, variant_id="v9", **change)
    assert result.outcome == "refused"
    assert result.detail == f"the {what} of v9 is set and never changes; choose a new variant_id"
    assert (offered(task).configuration, offered(task).ref) == (GIVEN, "langfuse:refund@12")


def test_a_registration_that_leaves_them_out_or_repeats_them_keeps_them() -> None:
    task = proven()
    task.order(m.RegisterVariant, variant_id="v9", configuration=GIVEN, ref="langfuse:refund@12")
    task.order(m.RetireVariant, variant_id="v9")
    assert task.order(m.RegisterVariant, variant_id="v9", model="m-1").outcome == "applied"
    assert task.order(m.RegisterVariant, variant_id="v9", configuration=GIVEN).outcome == "applied"
    assert (offered(task).configuration, offered(task).ref, offered(task).state) == (
        GIVEN,
        "langfuse:refund@12",
        "registered",
    )


def test_a_variant_that_ran_unregistered_may_get_its_configuration_once() -> None:
    task = proven(v9="SSSSS")
    assert offered(task).configuration is None
    assert task.order(m.RegisterVariant, variant_id="v9", configuration=GIVEN).outcome == "applied"
    assert offered(task).configuration == GIVEN


def test_a_configuration_may_have_16_kib_and_the_refusal_of_a_larger_one_names_the_limit() -> None:
    task = proven()
    most = {"prompt": "x" * (MAX_CONFIGURATION - len('{"prompt":""}'))}
    assert task.order(m.RegisterVariant, variant_id="v8", configuration=most).outcome == "applied"
    result = task.order(m.RegisterVariant, variant_id="v9", configuration={"prompt": most["prompt"] + "x"})
    assert result.outcome == "refused"
    assert result.detail.startswith("the configuration of v9 takes 16385 bytes; it may take 16384;")


def test_an_approved_change_registers_its_configuration_too() -> None:
    task = proven()
    change = m.Change(action="register", variant_id="v9", configuration=GIVEN, ref="git:3f2a")
    assert task.order(m.ApproveProposal, proposal_id="p1", change=change).outcome == "applied"
    assert (offered(task).configuration, offered(task).ref) == (GIVEN, "git:3f2a")
