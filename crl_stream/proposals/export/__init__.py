"""Export formats: one file each, found by listing this folder.

Each defines BINARY, which is true if a terminal cannot show the format, and ``write(proposals, now) -> bytes``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final, NamedTuple

from crl_stream.core.messages import Proposal


class Format(NamedTuple):
    """The definitions that each module in this folder must have."""

    binary: bool
    write: Callable[[Sequence[Proposal], int], bytes]


def _discover() -> Mapping[str, Format]:
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        found[info.name] = Format(module.BINARY, module.write)
    return MappingProxyType(found)


FORMATS: Final[Mapping[str, Format]] = _discover()
"""Formats by name."""
