"""What all sections of the settings have in common that pydantic reads; ``settings.fields`` reads the others."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator
from pydantic_core import PydanticCustomError


class CheckedSection(BaseModel):
    """A section of the settings that accepts no unknown names and no booleans."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _not_a_boolean(cls, value: Any) -> Any:
        if isinstance(value, bool):
            # No setting is a boolean, and pydantic would read true as 1.
            raise PydanticCustomError("boolean", "Input should not be true or false")
        return value


def is_secret(kind: type[BaseModel], field: str) -> bool:
    """Return whether the field's value must never be shown."""
    return kind.model_fields[field].annotation is SecretStr
