"""Unpacking restores what was packed, and does not use more memory than allowed."""

from __future__ import annotations

import gzip
import resource
import struct
import subprocess
import sys
from contextlib import suppress

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_batches import CODECS, xerial
from source_tree import environment_of_this_checkout

from crl_stream.wire.compression import GZIP, LZ4, SNAPPY, ZSTD, Damaged, TooLarge, unpack
from wire.messages import tries

PACKED = {name: pair for name, pair in CODECS.items() if pair[0]}
codecs = st.sampled_from(sorted(PACKED))


@tries(100)
@given(codecs, st.binary(max_size=300), st.integers(1, 400))
def test_what_was_packed_is_unpacked_up_to_the_limit_and_not_one_byte_beyond(
    name: str, piece: bytes, times: int
) -> None:
    number, pack = PACKED[name]
    data = piece * times
    packed = pack(data)
    assert unpack(number, packed, len(data)) == data
    assert unpack(number, packed, len(data) + 1) == data
    if data:
        with pytest.raises(TooLarge):
            unpack(number, packed, len(data) - 1)


@tries(200)
@given(codecs, st.binary(max_size=200), st.data())
def test_no_damage_makes_unpacking_raise_anything_else_or_give_more_than_the_limit(
    name: str, piece: bytes, data: st.DataObject
) -> None:
    number, pack = PACKED[name]
    packed = bytearray(pack(piece * 50))
    for _ in range(data.draw(st.integers(1, 4))):
        if packed:
            packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    for damaged in (bytes(packed), bytes(packed[:cut])):
        with suppress(TooLarge, Damaged):
            assert len(unpack(number, damaged, 5_000)) <= 5_000


@given(st.integers(-3, 9).filter(lambda n: n not in {GZIP, SNAPPY, LZ4, ZSTD}), st.binary(max_size=9))
def test_a_codec_that_there_is_not_is_damage(codec: int, data: bytes) -> None:
    with pytest.raises(Damaged, match="unknown codec"):
        unpack(codec, data, 100)


def test_a_block_that_says_it_is_four_gigabytes_long_is_believed_and_refused() -> None:
    said = b"\xff\xff\xff\xff\x0f" + b"\x00" * 20
    with pytest.raises(TooLarge):
        unpack(SNAPPY, said, 1 << 20)
    framed = xerial(b"x" * 100) + struct.pack(">i", len(said)) + said
    with pytest.raises(TooLarge):
        unpack(SNAPPY, framed, 1 << 20)


BOMB = """
import sys, resource
from crl_stream.wire.compression import TooLarge, unpack
packed = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    unpack(int(sys.argv[1]), packed, 32 << 20)
except TooLarge:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy of xerial", "gzip in two members"])
def test_a_bomb_takes_no_more_memory_than_the_limit_and_a_copy(codec: str) -> None:
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    number, pack = PACKED[codec]
    packed = pack(b" " * 100_000_000)
    result = subprocess.run(
        [sys.executable, "-c", BOMB, str(number)],
        input=packed,
        capture_output=True,
        env=environment_of_this_checkout(),
        check=True,
    )
    assert int(result.stdout) < 130


def test_frames_of_zstd_that_say_their_size_and_such_that_do_not_are_read() -> None:
    data = b"abc" * 1_000
    assert unpack(ZSTD, bytes(cramjam.zstd.compress(data)), 3_000) == data
    assert unpack(ZSTD, bytes(cramjam.zstd.compress(data)) * 2, 6_000) == data * 2
    assert unpack(GZIP, gzip.compress(data) + b"\0" * 7, 3_000) == data
