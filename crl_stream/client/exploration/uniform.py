"""Explores all variants that are not active equally often."""

from __future__ import annotations

import random
from collections.abc import Sequence

from crl_stream.core.messages import RegisteredVariant


def choose(others: Sequence[RegisteredVariant], rng: random.Random) -> RegisteredVariant:
    """Return one of the other variants at random."""
    return rng.choice(others)
