"""The bridges ``[bridges.<name>]``; ``named_sections`` says how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crl_stream.bridges.kinds import KINDS
from crl_stream.bridges.options import BridgeOptions
from crl_stream.settings.named_sections import NamedSections, Resolved
from crl_stream.settings.origin import Origin

_SECTIONS: Final = NamedSections[BridgeOptions](
    "bridges", KINDS, "bridge", "docs/bridges.md explains each setting; crl config show says where it comes from"
)


def named_by(variable: str) -> str | None:
    """Return the bridge setting that an environment variable names; None if it names none."""
    return _SECTIONS.named_by(variable)


def resolve_bridges(layers: Iterable[tuple[str, Origin]]) -> Resolved[BridgeOptions]:
    """Resolve the bridges and the origins of their settings; raises ``ConfigError`` for the first mistake."""
    return _SECTIONS.resolve(layers)
