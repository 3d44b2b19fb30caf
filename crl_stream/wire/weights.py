"""Which variant an invocation uses while a rollout is in progress: the same in every language and on every machine.

The invocation's id falls into one of 1,000 buckets.  The variants other than the active one take the buckets from 0 on,
in the order of their ids; the active variant takes the rest.  So an id that uses the candidate of a rollout uses it in
all later stages too.  ``topics/weights.json`` has test vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crl_stream.wire.partitioner import murmur2

BUCKETS: Final = 1_000


def bucket_of(invocation_id: str) -> int:
    """Return the bucket of an invocation, 0 to 999.

    >>> bucket_of("i-1"), bucket_of("i-2")
    (657, 307)
    """
    return (murmur2(invocation_id.encode()) & 0x7FFFFFFF) % BUCKETS


def variant_of(weights: Mapping[str, int], active: str, invocation_id: str) -> str:
    """Return the variant that ``weights`` (thousandths) give to an invocation; the rest belongs to ``active``.

    >>> variant_of({"v2": 310, "v1": 690}, "v1", "i-2"), variant_of({"v2": 300, "v1": 700}, "v1", "i-2")
    ('v2', 'v1')
    """
    bucket, end = bucket_of(invocation_id), 0
    for variant_id in sorted(weights):
        if variant_id != active:
            end += weights[variant_id]
            if bucket < end:
                return variant_id
    return active
