"""The kinds of channels: one file each, found by listing this folder.

A kind has OPTIONS, its settings, and CHANNEL, which is created from a name and settings. Its ``send`` returns once the
notice was accepted and raises ``Undelivered`` or ``Refused`` otherwise. Any other exception counts as ``Undelivered``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from crl_stream.notifiers.notice import Notice
from crl_stream.notifiers.options import Options


class Channel(Protocol):
    """One configured channel."""

    async def send(self, notice: Notice) -> None:
        """Make one attempt to send a notice."""

    async def close(self) -> None:
        """Close connections."""


class MakeChannel(Protocol):
    """Creates a channel; raises ``ConfigError`` if the settings cannot work."""

    def __call__(self, name: str, options: Options) -> Channel:
        """Make the channel ``[notifiers.<name>]``."""


class Kind(NamedTuple):
    """A module of this folder, checked."""

    options: type[Options]
    channel: MakeChannel


def _discover() -> Mapping[str, Kind]:
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        found[info.name] = Kind(module.OPTIONS, module.CHANNEL)
    return MappingProxyType(found)


KINDS: Final[Mapping[str, Kind]] = _discover()
"""Kinds of channels by name."""
