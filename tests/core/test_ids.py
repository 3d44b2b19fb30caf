"""Ids and digests depend only on the content that they name."""

from __future__ import annotations

import hashlib

import pytest
from builders import a_collapse
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.ids import command_hash, content_digest, fact_id, name_digest, policy_hash, record_digest
from crl_stream.core.policy import GUIDE
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire import topics

NOVEMBER = 1_763_562_600_000


def test_an_id_names_the_day_and_is_the_hash_of_kind_and_place() -> None:
    digits = hashlib.blake2b(b"data_gap 0 3 17 42", digest_size=6).hexdigest()
    assert fact_id("alert", NOVEMBER, "data_gap", 0, 3, 17, 42) == f"alert-20251119-{digits}"


@given(st.integers(0, 9), st.integers(0, 9))
def test_two_places_have_two_ids_and_one_place_has_one(one: int, other: int) -> None:
    ids = fact_id("alert", NOVEMBER, "stuck", one), fact_id("alert", NOVEMBER, "stuck", other)
    assert (ids[0] == ids[1]) == (one == other)


def test_the_ids_of_the_monitor_are_made_by_the_same_rule() -> None:
    driver = TopologyDriver()
    driver.pipe_each(a_collapse())
    [event] = driver.read(topics.ROLLBACKS)
    task = f"{event.agent_name}/{event.task_type}"
    place = (0, event.position.partition, event.position.offset)
    assert event.rollback_id.endswith(fact_id("rb", 0, "rollback", task, *place, event.from_variant)[-12:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record_digest(b"k", b"v"), record_digest(b"kv", b"")),
        (record_digest(b"k", b"v"), record_digest(b"k", b"v", b"7 8 ")),
        (record_digest(None, b"v"), record_digest(b"v", None)),
        (name_digest("a"), name_digest("b")),
    ],
)
def test_what_differs_has_another_digest(one: bytes, other: bytes) -> None:
    assert one != other
    assert len(one) == len(other) == 8


def test_nothing_and_an_empty_record_are_the_same_to_a_digest() -> None:
    assert record_digest(None, None) == record_digest(b"", b"")
    assert command_hash(None) == command_hash(b"") == hashlib.sha256(b"").hexdigest()


def test_a_name_and_its_bytes_have_one_digest() -> None:
    assert name_digest("inv-1") == content_digest(b"inv-1")


def test_a_policy_is_named_by_sixteen_digits_of_its_text() -> None:
    assert GUIDE.digest() == policy_hash(GUIDE.canonical()) == hashlib.sha256(GUIDE.canonical()).hexdigest()[:16]
