"""The error that refuses a command."""

from __future__ import annotations

from crl_stream.core.monitor.row import Variant
from crl_stream.core.monitor.turn import Turn


class Refused(Exception):
    """The command is not applied; the message says why and what to do next."""


def known(turn: Turn, variant_id: str) -> Variant:
    """Return the variant; raise ``Refused`` if the task does not know it."""
    variant = turn.row.variants.get(variant_id)
    if variant is None:
        names = ", ".join(sorted(turn.row.variants)) or "none"
        raise Refused(f"variant {variant_id} is unknown; register it first (known variants: {names})")
    return variant
