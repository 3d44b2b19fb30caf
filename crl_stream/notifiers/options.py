"""The settings that every kind of channel has; the file of a kind adds its own."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from crl_stream.core.messages.facts import Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""Severities, least severe first."""


class Options(BaseModel):
    """Settings of one channel, ``[notifiers.<name>]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    kind: str
    """Name of the file in ``notifiers/channels`` that implements it."""
    min_severity: Severity = "info"
    """Least severity that is sent; a recovery is sent if the alert it ends was."""
    content: Literal["alerts", "facts"] = "alerts"
    """``alerts`` for people; ``facts`` sends programs complete rollbacks and degradations instead of their alerts."""
    max_age_hours: Annotated[float, Field(gt=0.0, le=8_760.0)] = 24.0
    """Notices that are older when their turn comes go into one summary."""
    remind_after_minutes: Annotated[float, Field(ge=0.0, le=525_600.0)] = 30.0
    """Minutes until an unchanged state is repeated as a reminder, then twice as long each time, up to a day.

    A reminder has the number of repetitions since the last one; 0 sends every repetition."""
    timeout_seconds: Annotated[float, Field(gt=0.0, le=300.0)] = 10.0
    """Longest duration of one attempt."""
    give_up_after_hours: Annotated[float, Field(ge=0.0, le=8_760.0)] = 0.0
    """Attempts after which a notice is logged as undelivered and the next one is sent; 0 means never."""

    @field_validator("*", mode="before")
    @classmethod
    def _not_a_boolean(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise PydanticCustomError("boolean", "Input should not be true or false")
        return value

    def place(self) -> str:
        """Return where it goes, for people, without secrets."""
        return ""


def is_secret(kind: type[BaseModel], field: str) -> bool:
    """Return whether a field must never be shown."""
    return kind.model_fields[field].annotation is SecretStr
