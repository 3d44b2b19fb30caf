"""What can be set of a channel, of whatever kind; a kind's own file adds to it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from crl_stream.core.messages.facts import Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From the least on."""


class Options(BaseModel):
    """Settings of one channel, ``[notifiers.<name>]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    kind: str
    """The file in ``notifiers/channels`` that knows how."""
    min_severity: Severity = "info"
    """Less is not sent; a recovery is sent when what it ends was."""
    content: Literal["alerts", "facts"] = "alerts"
    """``alerts`` are made for people; ``facts`` brings programs whole rollbacks and degradations instead of theirs."""
    max_age_hours: Annotated[float, Field(gt=0.0, le=8_760.0)] = 24.0
    """What is older when its turn comes is told in one summary."""
    remind_after_minutes: Annotated[float, Field(ge=0.0, le=525_600.0)] = 30.0
    """What is told again while nothing changes comes as a reminder after this time, then after twice as long each
    time, up to a day, with the number of repetitions since; 0 sends every repetition."""
    timeout_seconds: Annotated[float, Field(gt=0.0, le=300.0)] = 10.0
    """Of one attempt."""
    give_up_after_hours: Annotated[float, Field(ge=0.0, le=8_760.0)] = 0.0
    """After which a notice is logged as undelivered and the next one tried; 0 is never."""

    @field_validator("*", mode="before")
    @classmethod
    def _not_a_boolean(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise PydanticCustomError("boolean", "Input should not be true or false")
        return value

    def place(self) -> str:
        """Where it goes, for people; nothing that is secret."""
        return ""


def is_secret(kind: type[BaseModel], field: str) -> bool:
    """Whether a field must never be shown."""
    return kind.model_fields[field].annotation is SecretStr
