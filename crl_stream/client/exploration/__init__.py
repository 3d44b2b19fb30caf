"""Exploration policies: they choose which variant an exploring invocation tries. Each is one file in this folder.

The task's policy sets how often runtimes explore (``operations.exploration``), and the monitor decides which variants
they may try. Each file defines the ``PARTS`` below. Its name is the value of ``Client(exploration_policy=...)``.
CONTRIBUTING.md shows a complete example.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from crl_stream.core.folder import Part, load, takes
from crl_stream.core.messages import RegisteredVariant

Choose = Callable[[Sequence[RegisteredVariant], random.Random], RegisteredVariant]
"""Choose one of the given variants (at least one). It runs in the agent's thread, so it must not block."""

PARTS: Final = (Part("choose", "a function (others, rng) -> the variant to try, one of the others", takes(2)),)
"""The names that every file in the folder defines."""


def _discover() -> Mapping[str, Choose]:
    modules = load(__name__, __path__, PARTS)
    return MappingProxyType({module.__name__.rpartition(".")[2]: module.choose for module in modules})


POLICIES: Final[Mapping[str, Choose]] = _discover()
"""By name."""
DEFAULT: Final = "uniform"
