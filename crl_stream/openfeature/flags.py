"""What a flag key names, and what an evaluation of it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from crl_stream.client.resolver import Resolution
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier

OBJECT: Final = "object"
STRING: Final = "string"
VARIANT: Final = "variant"
"""A field that every configuration has: the variant's id. flagd, whose flags have one type, gets it as a flag."""


class Flag(NamedTuple):
    """A parsed flag key: ``agent/task``, or ``agent/task/field`` for one field of the configuration."""

    key: TaskKey
    field: str | None = None

    @classmethod
    def parse(cls, text: str) -> Flag:
        """Parse a flag key; raise a ``ValueError`` that says what is wrong."""
        agent_name, _, rest = text.partition("/")
        task_type, slash, field = rest.partition("/")
        if not is_identifier(agent_name) or not is_identifier(task_type) or (slash and not field):
            raise ValueError(f"{text!r:.200} is not agent/task or agent/task/field")
        return cls(TaskKey(agent_name, task_type), field or None)


class Wanted(NamedTuple):
    """A type of flag, and how a field of the configuration becomes a value of this type."""

    name: str
    convert: Callable[[Any], Any]
    """Returns the value, or raises ``TypeError`` if the field has another type."""


def _copy(value: Any) -> Any:
    """Return a copy of a JSON value, because an agent may change what it gets."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _exactly(*kinds: type) -> Callable[[Any], Any]:
    """Return a function that accepts only values of these types; bool is not an int here."""

    def convert(value: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError
        return value

    return convert


def _float(value: Any) -> float:
    """Accept 1 as 1.0, because JSON has only one type of number."""
    if type(value) not in {int, float}:
        raise TypeError
    return float(value)


BOOLEAN_FLAG: Final = Wanted("boolean", _exactly(bool))
STRING_FLAG: Final = Wanted(STRING, _exactly(str))
INTEGER_FLAG: Final = Wanted("integer", _exactly(int))
FLOAT_FLAG: Final = Wanted("float", _float)
OBJECT_FLAG: Final = Wanted(OBJECT, _exactly(dict, list))


class Answer(NamedTuple):
    """The value of a flag, or why it has none."""

    value: Any = None
    reason: Reason | None = None
    error: ErrorCode | None = None
    message: str | None = None


def answer(flag: Flag, wanted: Wanted, default: Any, found: Resolution, default_variant: str) -> Answer:
    """Return what a flag of a known task answers; without a reason, the resolution's own reason applies.

    ``default_variant`` names the agent's own configuration: it needs no registered one. Any other variant without a
    configuration or ref cannot be used, so that outcomes of the agent's own configuration are not credited to it.
    """
    if flag.field in {None, VARIANT} and wanted.name == STRING:
        return Answer(found.variant_id)
    if flag.field is None and wanted.name != OBJECT:
        return Answer(
            error=ErrorCode.TYPE_MISMATCH,
            message=f"{flag.key} is an object (the configuration) or a string (the variant's id), not a {wanted.name}",
        )
    configuration = found.configuration
    if configuration is None:
        if found.ref is not None or found.variant_id == default_variant:
            return Answer(default, Reason.DEFAULT)
        return Answer(
            error=ErrorCode.GENERAL,
            message=f"{flag.key}: no configuration is registered for the variant {found.variant_id}, so the default "
            "value is used; register it with `crl register --configuration`, or evaluate the flag as a string",
        )
    if flag.field is None:
        return Answer(_copy(configuration))
    if flag.field not in configuration:
        return Answer(
            error=ErrorCode.FLAG_NOT_FOUND,
            message=f"the configuration of {found.variant_id} has no field {flag.field!r:.100}",
        )
    try:
        value = wanted.convert(configuration[flag.field])
        return Answer(_copy(value) if wanted.name == OBJECT else value)
    except TypeError:
        return Answer(
            error=ErrorCode.TYPE_MISMATCH,
            message=f"{flag.field!r:.100} in the configuration of {found.variant_id} is not a {wanted.name}",
        )


def reason_of(found: Resolution, active: m.ActiveVariant | None) -> Reason:
    """Return why a session got its variant, in OpenFeature's words."""
    if found.source in {"stale", "file"}:
        return Reason.STALE
    if found.source == "default":
        return Reason.DEFAULT
    if found.source == "session":
        return Reason.TARGETING_MATCH
    if found.source == "explore" or (active is not None and active.weights is not None):
        return Reason.SPLIT
    return Reason.STATIC


def details(
    answered: Answer, default: Any, found: Resolution, active: m.ActiveVariant | None, metadata: dict[str, Any]
) -> FlagResolutionDetails[Any]:
    """Return OpenFeature's form of an answer; with an error, the value is the default."""
    if answered.error is not None:
        return FlagResolutionDetails(
            value=default,
            error_code=answered.error,
            error_message=answered.message,
            reason=Reason.ERROR,
            flag_metadata=metadata,
        )
    return FlagResolutionDetails(
        value=answered.value,
        reason=answered.reason or reason_of(found, active),
        variant=found.variant_id,
        flag_metadata=metadata,
    )
