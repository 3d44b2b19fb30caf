"""The kinds of bridges: one file each, found by listing this folder; ``kind = "otlp"`` is ``otlp.py``.

Each file defines the ``PARTS`` below. A kind whose ``ARRIVES`` is ``kafka`` reads the topic that its options name.
The input of the others arrives over HTTP and is first written to the topic ``crl.bridge-inbox``, so that it is on
disk before it is mapped: ``pull`` kinds also define ``PULL`` (``bridges.polling.Pull``), and ``push`` kinds have
options with a port and a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any, Final, Literal, NamedTuple, Protocol, get_args

from crl_stream.bridges.mapping import Mapped
from crl_stream.bridges.options import BridgeOptions
from crl_stream.bridges.polling import Pull
from crl_stream.core.folder import Part, load, misfit, takes
from crl_stream.wire.records import Record

Arrives = Literal["kafka", "pull", "push"]


class Map(Protocol):
    """A mapping: pure, and never raises."""

    def __call__(self, options: Any, record: Record) -> Mapped:
        """Return the messages and faults of one record."""


class Kind(NamedTuple):
    """A bridge module of this folder, validated."""

    options: type[BridgeOptions]
    map: Map
    arrives: Arrives
    pull: Pull | None = None
    """For kinds that poll."""


PARTS: Final = (
    Part(
        "OPTIONS",
        "a subclass of BridgeOptions, its settings",
        lambda v: isinstance(v, type) and issubclass(v, BridgeOptions),
    ),
    Part("MAP", "a pure function (options, record) -> Mapped", takes(2)),
    Part("ARRIVES", f"one of {', '.join(get_args(Arrives))}", lambda v: v in get_args(Arrives)),
)
"""The names that every file of the folder must define."""


def kind_of(module: ModuleType) -> Kind:
    """Return the kind of bridge that a file of the folder defines; raise ``IncompletePart`` if it lacks ``PULL``."""
    pull = getattr(module, "PULL", None)
    if module.ARRIVES == "pull" and not isinstance(pull, Pull):
        raise misfit(module, "has ARRIVES = 'pull', but no usable PULL", "PULL must be a bridges.polling.Pull")
    return Kind(module.OPTIONS, module.MAP, module.ARRIVES, pull)


def _discover() -> Mapping[str, Kind]:
    modules = load(__name__, __path__, PARTS)
    return MappingProxyType({module.__name__.rpartition(".")[2]: kind_of(module) for module in modules})


KINDS: Final[Mapping[str, Kind]] = _discover()
"""Kinds of bridges by name."""
