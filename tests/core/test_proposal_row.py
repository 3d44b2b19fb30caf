"""The proposer's row of a task: what it remembers, and that it stays small."""

from __future__ import annotations

import msgspec
import pytest

from crl_stream.core import messages as m
from crl_stream.core.proposer.row import decode_row

from .desk import Desk, opened
from .snapshots import a_review, a_variant, limits


def test_a_child_is_not_recommended_what_its_parent_was_made_with() -> None:
    desk, first = opened()
    child = m.VariantConfiguration(parent="default", temperature=0.2)
    made = a_variant("default-v2", n=0, configuration=child)
    desk.see(a_variant(), made, reviews=[a_review(first, "approved")])
    grown = msgspec.structs.replace(made, q_value=0.4, n_visits=80)
    found = desk.see(grown, a_variant(q=0.3, n=200), epoch=2)
    [again] = [p for p in found if p.proposal_type == "modify_variant_parameters"]
    assert again.target_variant == "default-v3"
    assert [one.parameter for one in again.recommended_modifications] == ["temperature"]
    assert again.change.temperature == 0.15


def test_a_row_stays_small_however_long_the_story() -> None:
    desk = Desk()
    sizes = []
    for cycle in range(300):
        pair = a_variant(n=50 * 2 ** (cycle % 3)), a_variant(f"v{cycle}", q=0.1)
        for p in desk.open:
            desk.see(*pair, epoch=p.epoch, reviews=[a_review(p, "rejected")])
        desk.see(*pair, epoch=cycle)
        sizes.append(len(desk.data or b""))
    assert max(sizes) < 12_000
    assert max(sizes[150:]) <= max(sizes[:150])


def test_the_history_keeps_the_last_20_revisions() -> None:
    desk, first = opened()
    put_off: list[m.ReviewResult] = []
    for number in range(30):
        put_off = [*put_off, a_review(first, "deferred", command_id=f"cmd-{number}")][-32:]
        desk.see(a_variant(), reviews=put_off)
    [kept] = desk.open
    assert kept.revision == 31
    assert [entry.revision for entry in kept.history] == list(range(12, 32))


def test_ids_that_were_refused_and_never_made_are_remembered_for_the_last_32() -> None:
    desk = Desk()
    for number in range(40):
        [proposal] = desk.see(a_variant(f"x{number}"), epoch=number)
        desk.see(a_variant(f"x{number}"), epoch=number, reviews=[a_review(proposal, "rejected")])
    assert len(decode_row(desk.data or b"").quiet) == 32
    assert desk.see(a_variant("x8"), epoch=50) == []
    assert desk.see(a_variant("x7"), epoch=51) != []


def test_however_many_variants_there_are_a_rejection_is_not_forgotten_while_they_are() -> None:
    desk = Desk()
    poor = [a_variant(f"v{number:03}", q=0.1) for number in range(100)]
    many = limits(max_open=100)
    made = desk.see(a_variant(q=0.8), *poor, proposal_limits=many)
    desk.see(a_variant(q=0.8), *poor, proposal_limits=many, reviews=[a_review(p, "rejected") for p in made])
    assert len(made) == 100
    assert desk.see(a_variant(q=0.8), *poor, proposal_limits=many) == []


def test_time_does_not_run_backwards_in_a_row() -> None:
    desk, _ = opened()
    desk.see(a_variant(n=61), hours=24)
    [revised] = desk.see(a_variant(n=120), hours=0)
    assert revised.history[-1].timestamp == "2025-11-20T14:30:00.000Z"


def test_bytes_that_are_no_row_are_refused() -> None:
    for data in (b"", b"\x80", b"\xdc\x00\x02\xa3\x00\x00\x80"):
        with pytest.raises(msgspec.MsgspecError):
            decode_row(data)
