"""Reads the sections that a runtime's client needs, without pydantic, which would double the client's import time.

The other sections are pydantic models. Both kinds read the same values in the same way and reject the others in the
same words; ``tests/settings/test_fields.py`` compares them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from crl_stream.errors import ConfigError
from crl_stream.settings.origin import Origin

_SPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""The white space around a number that is ignored."""
_DIGITS: Final = "[0-9]+(?:_[0-9]+)*"
_WHOLE: Final = re.compile(rf"([+-]?{_DIGITS})(?:\.0+)?")
_NUMBER: Final = re.compile(
    rf"[+-]?(?:inf|infinity|nan|(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:e[+-]?{_DIGITS})?)", re.IGNORECASE
)
_MOST_DIGITS: Final = 4_300
"""Maximum number of characters of a number, as in Python itself."""
_TOO_LONG: Final = "Unable to parse input string as an integer, exceeded maximum size"
_HINT: Final = "crl config show lists the settings in force and where they come from"


class Secret:
    """A text that must not appear in what is shown; ``get_secret_value`` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __str__(self) -> str:
        return "**********" if self._value else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One section of the settings. Its annotations say which values ``read_section`` accepts."""

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return a copy with some values replaced; pydantic's method for the other sections has the same name."""
        return msgspec.structs.replace(self, **update)


_Section = TypeVar("_Section", bound=Section)


class _Invalid(Exception):
    """Says why a value is not accepted."""


def read_section(name: str, kind: type[_Section], chosen: Mapping[str, Origin]) -> _Section:
    """Build the section ``name`` from the chosen values by field; its other settings keep their defaults.

    Raises ``ConfigError`` for the first field, in the order of the section, whose value is not accepted.
    """
    values = {}
    types = get_type_hints(kind, include_extras=True) if chosen else {}
    for field in kind.__struct_fields__:
        if (origin := chosen.get(field)) is None:
            continue
        try:
            values[field] = _read(types[field], origin.value)
        except _Invalid as error:
            given = "(a secret)" if types[field] is Secret else shown(origin.value)
            raise ConfigError(f"{name}.{field} = {given} ({origin.place}): {error}.", hint=_HINT) from None
    return kind(**values)


def shown(value: Any) -> str:
    """Return a value as it appears in a message, cut to 100 characters."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _read(kind: Any, value: Any) -> Any:
    """Return ``value`` as a value of the annotated type ``kind``; raise ``_Invalid`` if it cannot be one."""
    if isinstance(value, bool):
        # No setting is a boolean, and a number would read true as 1.
        raise _Invalid("Input should not be true or false")
    origin = get_origin(kind)
    if origin is Annotated:
        plain, *limits = get_args(kind)
        found = _read(plain, value)
        for limit in limits:
            _check(limit, found)
        return found
    if type(None) in get_args(kind):
        [other] = [one for one in get_args(kind) if one is not type(None)]
        return None if value is None else _read(other, value)
    if origin is Literal:
        return _choice(get_args(kind), value)
    return _READERS[kind](value)


def _check(limit: msgspec.Meta, value: Any) -> None:
    """Raise ``_Invalid`` if a value is outside its range or does not match its pattern."""
    if limit.le is not None and not value <= limit.le:
        raise _Invalid(f"Input should be less than or equal to {limit.le:g}")
    if limit.ge is not None and not value >= limit.ge:
        raise _Invalid(f"Input should be greater than or equal to {limit.ge:g}")
    if limit.pattern is not None and not re.fullmatch(limit.pattern, value):
        raise _Invalid(f"String should match pattern '{limit.pattern}'")


def _choice(choices: tuple[str, ...], value: Any) -> str:
    if not isinstance(value, str) or value not in choices:
        *first, last = map(repr, choices)
        raise _Invalid(f"Input should be {', '.join(first)} or {last}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Invalid("Input should be a valid string")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip(_SPACE)
        if len(text) > _MOST_DIGITS:
            raise _Invalid(_TOO_LONG)
        if (found := _WHOLE.fullmatch(text)) is None:
            raise _Invalid("Input should be a valid integer, unable to parse string as an integer")
        return int(found[1])
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Invalid("Input should be a finite number")
        if not value.is_integer():
            raise _Invalid("Input should be a valid integer, got a number with a fractional part")
        if not -(2**63) < value < 2**63:
            raise _Invalid(_TOO_LONG)
        return int(value)
    if not isinstance(value, int):
        raise _Invalid("Input should be a valid integer")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str):
        # As in pydantic, a number with underscores must have no white space around it.
        text = value if "_" in value else value.strip(_SPACE)
        if _NUMBER.fullmatch(text) is None:
            raise _Invalid("Input should be a valid number, unable to parse string as a number")
        return float(text)
    if not isinstance(value, int | float):
        raise _Invalid("Input should be a valid number")
    try:
        return float(value)
    except OverflowError:
        raise _Invalid("Input should be a valid number") from None


def _path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise _Invalid("Input is not a valid path for <class 'pathlib.Path'>")
    return Path(value)


_READERS: Final[dict[Any, Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    Path: _path,
    Secret: lambda value: Secret(_text(value)),
}
