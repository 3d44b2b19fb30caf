"""Whatever is written into the fields of a command, it is a command that the worker reads, or one clear refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crl_stream.core import messages as m
from crl_stream.dashboard.web.access import Refusal
from crl_stream.dashboard.web.hub import now_ms
from crl_stream.dashboard.web.orders import FIELDS, FLEET_FIELDS, KINDS, REVIEWS, make_command, read_order
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.topics import COMMANDS, FLEET_KEY
from dashboard.golden_topics import shared_golden_fleet

MARK = "<script>alert(1)</script>"
VALUES = (
    *(
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1",
        "2",
        "0.1",
        "1.5",
        "-0.0",
        "1e308",
        "1e309",
        "1e-320",
        "NaN",
        "Infinity",
    ),
    *("8760", "8760.001", "9007199254740993", "99999999999999999999999", "[]", "{}", "[null]", "[[]]", '["all"]'),
    *(
        '""',
        '" "',
        json.dumps(MARK),
        r'"\u0000"',
        r'"\ud800"',
        r'"\u202e\u200b"',
        r'"\r\nX: y"',
        '"../../etc"',
        '"a/b"',
    ),
    *('"all"', '"ALL"', '"promotions"', '"v1"', '"12"', "[0.1, 0.5]", "[0.5, 0.1]", "[0]", "[1e-300]", '{"a": NaN}'),
    *('"2025-02-30T00:00:00Z"', '"0000-00-00T00:00:00Z"', '"9999-12-31T23:59:59Z"', '"2999-12-31T23:59:60Z"'),
    *(json.dumps("é" * 3_000), json.dumps("a" * 31_000), '{"a":' * 300 + "1" + "}" * 300, r'{"\ud800": 1}'),
)
GOOD = {
    "expected_epoch": "1",
    "rollback_id": '"rb-20251119-0123456789ab"',
    "rollout_id": '"ro-20251119-0123456789ab"',
    "variant_id": '"v1"',
    "until": '"2999-01-01T00:00:00Z"',
}
TASK_FIELD_NAMES = ("agent_name", "task_type", "proposal_id")


def an_order(name: str) -> dict[str, str]:
    """Return the fields of a command about the golden fleet, each as JSON."""
    fleet, kind = shared_golden_fleet(), KINDS[name]
    found = {"command": json.dumps(name), "reason": '"because"'} | {
        field: GOOD[field] for field in FIELDS[kind] if field in GOOD
    }
    if kind in FLEET_FIELDS:
        return found
    about: Any = next(iter(fleet.tasks.values()))
    if kind in REVIEWS:
        about = fleet.open_proposals[0]
    return found | {name: json.dumps(getattr(about, name)) for name in TASK_FIELD_NAMES if hasattr(about, name)}


def refused(order: dict[str, str]) -> Refusal | None:
    """Return the refusal of an order; None if it is a command that the worker reads."""
    body = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in order.items()) + "}"
    try:
        command = make_command(shared_golden_fleet(), read_order(body.encode()), "web:ada", now_ms())
    except Refusal as refusal:
        return refusal
    key = FLEET_KEY
    if isinstance(command, m.TaskCommand):
        key = f"{command.agent_name}/{command.task_type}".encode()
    assert not isinstance(decode(COMMANDS, encode(command), key), Rejected), body[:500]
    return None


@pytest.mark.parametrize("name", KINDS)
def test_every_value_of_every_field_is_taken_or_refused_in_one_sentence_that_repeats_nothing(name: str) -> None:
    for field in (*FIELDS[KINDS[name]], "reason", "agent_name", "task_type", "command", "another"):
        for value in VALUES:
            if (refusal := refused(an_order(name) | {field: value})) is not None:
                said = f"{refusal.error} {refusal.hint}"
                assert refusal.status in {400, 404, 409}
                assert refusal.error.endswith(".") and "\n" not in said and len(said) < 1_000
                assert MARK not in said and "etc" not in said and "X: y" not in said


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("ConfirmRollback", "rollback_id"),
        *((name, "variant_id") for name in ("ActivateVariant", "RegisterVariant", "RetireVariant")),
        *((name, "variant_id") for name in ("LiftQuarantine", "StartRollout")),
    ],
)
@pytest.mark.parametrize("value", [None, "null"])
def test_a_command_without_a_field_that_it_needs_is_refused_and_the_field_is_named(
    name: str, field: str, value: str | None
) -> None:
    order = an_order(name)
    del order[field]
    refusal = refused(order | ({} if value is None else {field: value}))
    assert refusal is not None
    assert (refusal.status, refusal.error) == (400, f"The field {field} of the command is missing.")
