"""Spans and log events as the bridge sees them, whatever their encoding was.

Only what the mapping needs is kept. Attributes that are lists or maps are left out, so no input is too deep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

Scalar = str | bool | int | float
Attributes = Mapping[str, Scalar]
TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
SPAN_ID: Final = re.compile(r"(?!0{16})[0-9a-f]{16}")


class Event(NamedTuple):
    """An event on a span, or a log record that is an event."""

    name: str
    time: int
    """Nanoseconds since the epoch; 0 if unknown."""
    attributes: Attributes
    resource: Attributes = MappingProxyType({})
    trace_id: str = ""
    """Only for log records: lower-case hex, or whatever was there instead."""
    span_id: str = ""


class Span(NamedTuple):
    """A finished span."""

    trace_id: str
    """Lower-case hex, or whatever was there instead."""
    span_id: str
    parent_id: str
    """Empty for the first span of a trace."""
    start: int
    """Nanoseconds since the epoch; 0 if unknown."""
    end: int
    failed: bool
    """Whether the span's status is ERROR."""
    attributes: Attributes
    resource: Attributes
    """Attributes of the process that made the span."""
    events: tuple[Event, ...] = ()
