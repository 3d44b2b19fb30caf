"""The settings that every kind of channel has; each kind's file adds its own."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from crl_stream.core.messages.facts import Severity
from crl_stream.sections import CheckedSection

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""Severities, least severe first."""


class Options(CheckedSection):
    """Settings of one channel, ``[notifiers.<name>]``."""

    model_config = ConfigDict(defer_build=True)

    kind: str
    """Kind of channel: the name of its file in ``notifiers/channels``."""
    min_severity: Severity = "info"
    """Lowest severity that is sent; a recovery is sent if the alert that it ends was sent."""
    content: Literal["alerts", "facts"] = "alerts"
    """``alerts`` is for people. ``facts`` is for programs: it sends complete rollbacks and degradations instead of
    their alerts."""
    max_age_hours: Annotated[float, Field(gt=0.0, le=8_760.0)] = 24.0
    """Maximum age of a notice in hours; notices that are older when they could be sent go into one summary."""
    remind_after_minutes: Annotated[float, Field(ge=0.0, le=525_600.0)] = 30.0
    """Minutes until a reminder of an unchanged state; the interval then doubles each time, up to a day.

    A reminder states how many repetitions were withheld since the last one; 0 sends every repetition."""
    timeout_seconds: Annotated[float, Field(gt=0.0, le=300.0)] = 10.0
    """Longest duration of one attempt, in seconds."""
    give_up_after_hours: Annotated[float, Field(ge=0.0, le=8_760.0)] = 0.0
    """Hours after which a notice is logged as undelivered and not tried again; 0 means never."""

    def place(self) -> str:
        """Return where the notices go, for people, without secrets."""
        return ""
