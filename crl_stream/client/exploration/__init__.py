"""Exploration policies: they choose which variant an exploring invocation tries. Each is one file in this folder.

The task's policy sets how often runtimes explore (``operations.exploration``), and the monitor decides which variants
they may try. Each file defines the ``parts`` below. Its name is the value of
``Client(exploration_policy=...)``. CONTRIBUTING.md shows a complete example.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from crl_stream.client.exploration import uniform
from crl_stream.core.messages import RegisteredVariant

if TYPE_CHECKING:
    from crl_stream.core.folder import Part

Choose = Callable[[Sequence[RegisteredVariant], random.Random], RegisteredVariant]
"""Choose one of the given variants (at least one). It runs in the agent's thread, so it must not block."""
DEFAULT: Final = "uniform"


def parts() -> Sequence[Part]:
    """Return the names that every file in the folder defines."""
    from crl_stream.core.folder import Part, takes

    return (Part("choose", "a function (others, rng) -> the variant to try, one of the others", takes(2)),)


@cache
def policies() -> Mapping[str, Choose]:
    """Return the policies by name. Raises ``IncompletePart`` if a file in the folder lacks what a policy needs."""
    from crl_stream.core.folder import load  # a client with the default policy does not need it

    modules = load(__name__, __path__, parts())
    return MappingProxyType({module.__name__.rpartition(".")[2]: module.choose for module in modules})


def policy_named(name: str) -> Choose | None:
    """Return the policy of this name; None if there is none."""
    return uniform.choose if name == DEFAULT else policies().get(name)
