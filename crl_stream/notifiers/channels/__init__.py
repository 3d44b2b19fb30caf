"""The kinds of channels: one file each, found by listing this folder.

A kind has OPTIONS, its settings, and CHANNEL, made of a name and settings, whose ``send`` returns when the notice was
taken and raises ``Undelivered`` or ``Refused`` when not.  Whatever else it raises is taken for ``Undelivered``.
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
    """A way out."""

    async def send(self, notice: Notice) -> None:
        """Send one notice, once."""

    async def close(self) -> None:
        """Let go of what was opened."""


class MakeChannel(Protocol):
    """Opens a channel; ``ConfigError`` when the settings cannot work."""

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
"""By name."""
