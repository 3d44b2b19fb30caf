"""Which variant an invocation uses during a rollout: specified by test vectors, for every language."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crl_stream.contract import contract_root
from crl_stream.wire.weights import bucket_of, variant_of

VECTORS = json.loads((contract_root() / "weights.json").read_bytes())
names = st.text("abcdefgh-_.:", min_size=1, max_size=5)


def murmur2(data: bytes) -> int:
    """Compute MurmurHash2, written from its author's description, with Kafka's seed."""
    m, mask, size = 0x5BD1E995, 0xFFFFFFFF, len(data)
    h = 0x9747B28C ^ size
    while len(data) >= 4:
        k = int.from_bytes(data[:4], "little") * m & mask
        h = h * m & mask ^ (k ^ k >> 24) * m & mask
        data = data[4:]
    for shift, byte in reversed(list(zip((0, 8, 16), data, strict=False))):
        h ^= byte << shift
        if shift == 0:
            h = h * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_the_vectors_of_the_contract_hold_for_an_independent_hash_and_for_ours() -> None:
    for vector in VECTORS["buckets"]:
        name = vector["invocation_id"]
        assert (murmur2(name.encode()) & 0x7FFFFFFF) % 1_000 == bucket_of(name) == vector["bucket"]


def test_the_choices_of_the_contract_follow_from_the_buckets() -> None:
    for case in VECTORS["choices"]:
        weights, active, bucket = case["weights"], case["active"], bucket_of(case["invocation_id"])
        order = [name for name in sorted(weights, key=str.encode) if name != active]
        spread = [name for name in order for _ in range(weights[name])]
        expected = spread[bucket] if bucket < len(spread) else active
        assert expected == case["variant_id"] == variant_of(weights, active, case["invocation_id"])


@given(st.dictionaries(names, st.integers(0, 400), max_size=4), names, st.text(max_size=20))
def test_every_invocation_gets_a_variant_that_is_named_whatever_the_weights_say(
    weights: dict[str, int], active: str, invocation_id: str
) -> None:
    assert variant_of(weights, active, invocation_id) in {*weights, active}


def test_shares_are_kept_over_many_invocations() -> None:
    weights = {"b": 250, "a": 50, "active": 700}
    counts = Counter(variant_of(weights, "active", f"invocation {number}") for number in range(20_000))
    assert abs(counts["a"] - 1_000) < 150
    assert abs(counts["b"] - 5_000) < 300


@given(st.lists(st.integers(0, 400), min_size=1, max_size=4), st.text(max_size=20))
def test_each_variant_takes_exactly_its_buckets_in_the_order_of_the_ids(shares: list[int], invocation_id: str) -> None:
    """The shares end just before, at and just after the bucket of the invocation."""
    bucket, names = bucket_of(invocation_id), "abcd"
    for end in (bucket, bucket + 1, bucket + 2):
        weights = {"0": end} | dict(zip(names, shares, strict=False)) | {"active": 1_000}
        spread = [name for name in sorted(weights) if name != "active" for _ in range(weights[name])]
        expected = spread[bucket] if bucket < len(spread) else "active"
        assert variant_of(weights, "active", invocation_id) == expected
