"""Reads the current overview of the system from ``crl.overview``."""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages import Overview
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.wire.topics import OVERVIEW

_LOOK_BACK: Final = 4
"""How many of the last records are read: several, because the very last may come from a worker that had lost the
partition.
"""


async def read_overview(access: Access) -> Overview | None:
    """Return the page with the highest incarnation and offset; None if there is no page yet."""
    received = await TopicReader(access).read_last(OVERVIEW, 0, _LOOK_BACK)
    pages = [one.message for one in received if isinstance(one.message, Overview)]
    return max(pages, key=lambda page: (page.incarnation, page.as_of.offset), default=None)
