"""Each of the other variants as often as any."""

from __future__ import annotations

import random
from collections.abc import Sequence

from crl_stream.core.messages import RegisteredVariant


def choose(others: Sequence[RegisteredVariant], rng: random.Random) -> RegisteredVariant:
    """Any one of them."""
    return rng.choice(others)
