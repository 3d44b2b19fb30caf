"""A key's partition is the one chosen by every client with Kafka's default partitioner."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.wire.partitioner import murmur2, partition_of
from wire.messages import tries

# Expected values from the Java client's own test (UtilsTest.testMurmur2), as unsigned numbers.
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", JAVA)
def test_the_hash_is_the_one_of_the_java_client(key: bytes) -> None:
    assert murmur2(key) == JAVA[key] & 0xFFFFFFFF


@tries(100)
@given(st.binary(max_size=300))
def test_the_hash_is_the_one_of_aiokafka(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_aiokafka(key) & 0xFFFFFFFF


@tries(100)
@given(st.binary(max_size=300), st.integers(1, 1_000))
def test_the_partition_is_the_one_that_aiokafka_chooses(key: bytes, partitions: int) -> None:
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)


@tries(100)
@given(st.binary(max_size=300), st.integers(1, 1_000))
def test_a_key_always_has_one_and_the_same_partition_among_those_there_are(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(bytes(bytearray(key)), partitions)
