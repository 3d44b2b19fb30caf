"""Many threads may pack rows at once, as users of the guide's store may do; each gets its own bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec

from crl_stream.core.packing import pack


def test_threads_that_pack_at_once_get_the_bytes_of_what_they_packed() -> None:
    rows = [[number] * (number % 700) for number in range(4_000)]
    with ThreadPoolExecutor(8) as pool:
        packed = list(pool.map(pack, rows, chunksize=1))
    assert [msgspec.msgpack.decode(data) for data in packed] == rows


def test_a_row_that_cannot_be_packed_leaves_the_next_one_right() -> None:
    for _ in range(3):
        try:
            pack(["good", object()])
        except TypeError:
            assert pack(["next"]) == msgspec.msgpack.encode(["next"])
        else:
            raise AssertionError("object() has no bytes")
