"""The whole messages of ``crl.proposals``, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.messages import Proposal
from crl_stream.wire.codec import encode

BINARY: Final = False


def write(proposals: Sequence[Proposal], now: int) -> bytes:  # noqa: ARG001 - as they are on the topic, not as of now
    """Each as the topic has it; the bytes of the contract."""
    return b"".join(encode(proposal) + b"\n" for proposal in proposals)
