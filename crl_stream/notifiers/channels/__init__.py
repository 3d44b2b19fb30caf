"""The kinds of channels: one file each, found by listing this folder; ``kind = "file"`` is ``file.py``.

Each file defines the ``PARTS`` below; CONTRIBUTING.md shows a complete one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from crl_stream.core.folder import Part, load, takes
from crl_stream.notifiers.notice import Notice
from crl_stream.notifiers.options import Options


class Channel(Protocol):
    """One configured channel."""

    async def send(self, notice: Notice) -> None:
        """Make one attempt to send a notice; return when it was accepted.

        After ``Undelivered`` the notice is tried again; after ``Refused``, only a few times. Any other exception
        counts as ``Undelivered``. After a crash an accepted notice may be sent again, with the same ``id``.
        """

    async def close(self) -> None:
        """Close connections."""


class MakeChannel(Protocol):
    """Creates a channel; raises ``ConfigError`` if the settings cannot work."""

    def __call__(self, name: str, options: Options) -> Channel:
        """Create the channel ``[notifiers.<name>]``."""


class Kind(NamedTuple):
    """A channel module of this folder, validated."""

    options: type[Options]
    channel: MakeChannel


def _is_channel(value: Any) -> bool:
    return takes(2)(value) and all(
        inspect.iscoroutinefunction(method) and takes(count)(method)
        for method, count in ((getattr(value, "send", None), 2), (getattr(value, "close", None), 1))
    )


PARTS: Final = (
    Part("OPTIONS", "a subclass of Options, its settings", lambda v: isinstance(v, type) and issubclass(v, Options)),
    Part("CHANNEL", "a class constructed from (name, options), with async send(notice) and async close()", _is_channel),
)
"""The names that every file of the folder must define."""


def _discover() -> Mapping[str, Kind]:
    modules = load(__name__, __path__, PARTS)
    return MappingProxyType(
        {module.__name__.rpartition(".")[2]: Kind(module.OPTIONS, module.CHANNEL) for module in modules}
    )


KINDS: Final[Mapping[str, Kind]] = _discover()
"""Kinds of channels by name."""
