"""The channels ``[notifiers.<name>]``; ``named_sections`` says how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crl_stream.notifiers.channels import KINDS
from crl_stream.notifiers.options import Options
from crl_stream.settings.named_sections import NamedSections, Resolved
from crl_stream.settings.origin import Origin

_SECTIONS: Final = NamedSections[Options](
    "notifiers",
    KINDS,
    "channel",
    "crl notify list shows the channels; crl config show says where their settings come from",
)
PREFIX: Final = _SECTIONS.prefix


def named_by(variable: str) -> str | None:
    """Return the channel setting that an environment variable names; None if it names none."""
    return _SECTIONS.named_by(variable)


def resolve_notifiers(layers: Iterable[tuple[str, Origin]]) -> Resolved[Options]:
    """Resolve the channels and the origins of their settings; raises ``ConfigError`` for the first mistake."""
    return _SECTIONS.resolve(layers)
