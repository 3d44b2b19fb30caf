"""Exploration policies: which variant an exploring invocation tries; one file each, found by listing this folder.

How often runtimes explore is the task's policy (``operations.exploration``); what may be tried is the monitor's word.
A file defines the ``PARTS`` below, and its name is what ``Client(exploration_policy=...)`` takes.  CONTRIBUTING.md has
a whole one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from crl_stream.core.folder import Part, load, takes
from crl_stream.core.messages import RegisteredVariant

Choose = Callable[[Sequence[RegisteredVariant], random.Random], RegisteredVariant]
"""Choose one of the variants, of which there is at least one; in the agent's thread, so it must not wait."""

PARTS: Final = (Part("choose", "a function (others, rng) -> the one of the other variants to try", takes(2)),)
"""What every file of the folder defines."""


def _discover() -> Mapping[str, Choose]:
    modules = load(__name__, __path__, PARTS)
    return MappingProxyType({module.__name__.rpartition(".")[2]: module.choose for module in modules})


POLICIES: Final[Mapping[str, Choose]] = _discover()
"""By name."""
DEFAULT: Final = "uniform"
