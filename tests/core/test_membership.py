"""The ring of ids recognises exactly the last ids, even if the bytes of two neighbouring ids contain another one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.monitor.dedupe import is_known, remember
from crl_stream.core.policy import Limits, Policy

from .task import Task

# Few distinct bytes, so that an id often appears across the boundary between two others.
digests = st.binary(min_size=8, max_size=8).map(lambda data: bytes(byte % 2 for byte in data))


@given(st.lists(digests, max_size=60), st.integers(1, 10))
def test_an_id_is_known_exactly_while_it_is_among_the_last(ids: list[bytes], size: int) -> None:
    ring, last = bytearray(), list[bytes]()
    for digest in ids:
        assert is_known(ring, digest) == (digest in last)
        assert remember(ring, digest, size) == (digest not in last)
        if digest not in last:
            last = [*last, digest][-size:]
        assert bytes(ring) == b"".join(last)


def test_an_id_that_only_appears_across_two_others_is_new() -> None:
    ring = bytearray()
    assert remember(ring, b"aaaabbbb", 4)
    assert remember(ring, b"ccccdddd", 4)
    assert remember(ring, b"bbbbcccc", 4)
    assert not remember(ring, b"bbbbcccc", 4)


def test_a_smaller_ring_forgets_the_oldest() -> None:
    ring = bytearray()
    for letter in b"abcdef":
        remember(ring, bytes([letter]) * 8, 6)
    remember(ring, b"gggggggg", 2)
    assert bytes(ring) == b"f" * 8 + b"g" * 8


def test_a_degraded_variant_that_gives_way_leaves_no_alert_open() -> None:
    task = Task(Policy(limits=Limits(variants=2)))
    task.run("a", "S")
    task.run("b", "S" * 25 + "F" * 12, variant_source="explore")
    task.run("c", "S", variant_source="explore")
    assert sorted(task.row.variants) == ["a", "c"]
    opened, closed = task.alerts("degradation")
    assert (opened.resolved, closed.resolved, closed.cause_id) == (False, True, opened.cause_id)
    assert closed.action == "resolved: unused for longest, so forgotten to make room for c"
