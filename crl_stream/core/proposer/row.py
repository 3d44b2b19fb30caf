"""The row of a task as the proposer keeps it: its open proposals, and what must not be proposed again yet."""

from __future__ import annotations

from typing import Final

import msgspec

from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import Proposal
from crl_stream.core.packing import pack


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """An open proposal as it was last published, and the last review of it that was taken into account."""

    proposal: Proposal
    review: str = ""


class Quiet(msgspec.Struct, array_like=True, gc=False):
    """Something that must not be proposed again until it is based on ``n`` outcomes."""

    proposal_type: str
    target: str
    n: int


class ProposalRow(msgspec.Struct, array_like=True, gc=False):
    """What the proposer remembers about a task."""

    agent_name: str
    task_type: str
    incarnation: int = 0
    offset: int = -1
    """Offset in the log of the newest snapshot."""
    time: int = 0
    """Time of the newest snapshot, in milliseconds."""
    open: list[Waiting] = []
    quiet: list[Quiet] = []
    """What must not be proposed again yet, oldest first."""
    carried: dict[str, list[bytes]] = {}
    """For each variant that an approved proposal created: digests of its own and its parents' modifications."""
    closed: list[str] = []
    """Filed proposals that are closed here while the snapshot still lists them, so that they are not opened again."""


_DECODER: Final = msgspec.msgpack.Decoder(ProposalRow)


def new_row(key: TaskKey) -> ProposalRow:
    """Return the row of a task that has had no proposals yet."""
    return ProposalRow(key.agent_name, key.task_type)


def encode_row(row: ProposalRow) -> bytes:
    """Return the row as stored in the changelog; equal rows have equal bytes."""
    return pack(row)


def decode_row(data: bytes) -> ProposalRow:
    """Decode a row; raise ``msgspec.MsgspecError`` if the bytes are not a row."""
    try:
        return _DECODER.decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"a name is not UTF-8: {error}") from error


def row_position(data: bytes) -> tuple[int, int]:
    """Return a row's (incarnation, offset in the log); of two rows of a task, the higher one is newer."""
    row = decode_row(data)
    return row.incarnation, row.offset
