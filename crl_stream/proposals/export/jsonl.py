"""The complete messages of ``crl.proposals``, one per line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.messages import Proposal
from crl_stream.wire.codec import encode

BINARY: Final = False


def write(proposals: Sequence[Proposal], now: int) -> bytes:  # noqa: ARG001 - unchanged from the topic, not as of now
    """Write each message in the form it has on the topic."""
    return b"".join(encode(proposal) + b"\n" for proposal in proposals)
