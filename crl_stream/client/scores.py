"""Converts the numbers that judges return: numpy scalars, 0-d arrays and tensors, Decimal, Fraction, int, bool.

An unusable score is dropped, but its outcome never is: otherwise the success rate would cover only outcomes that are
easy to judge. The same applies to an unusable complexity, provider or model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import FieldInfo, fields, replace

from crl_stream.core import messages as m

_MATTER: Final = frozenset({"schema_version", "role", "variant_source", "runtime_id"})
"""Fields whose loss would change what the outcome means: without ``role``, a shadow outcome would count as live."""


class Usable(NamedTuple):
    """A message whose scores fit the contract."""

    message: m.Invocation | m.Feedback
    left_out: tuple[str, ...]
    """One sentence for each field that was left out."""


def usable(message: m.Invocation | m.Feedback) -> Usable:
    """Convert every number to a float or an int, and leave out optional fields that do not fit."""
    changed: dict[str, Any] = {}
    left_out: list[str] = []
    for field, numbers in _optional(type(message)):
        value = getattr(message, field.name)
        if value is field.default:
            continue
        if value is None:
            changed[field.name] = field.default
            continue
        try:
            if field.name == "metrics" and isinstance(value, Mapping):
                value = _plain(value, left_out, field)
            elif numbers:
                value = _number(value, whole=numbers == {int})
            msgspec.convert(value, field.type)
        except Exception as error:
            left_out.append(f"{field.name} = {_shown(getattr(message, field.name))} is left out: {_why(error)}")
            changed[field.name] = field.default
        else:
            changed[field.name] = value
    return Usable(replace(message, **changed) if changed else message, tuple(left_out))


def _plain(numbers: Mapping[Any, Any], left_out: list[str], field: FieldInfo) -> dict[Any, Any] | None:
    """Return the entries that are numbers, as plain ones; None if there are none."""
    plain = {}
    for name, value in numbers.items():
        try:
            plain[name] = _number(value, whole=False)
            msgspec.convert({name: plain[name]}, field.type)
        except Exception as error:
            plain.pop(name, None)
            left_out.append(f"{field.name} {_shown(name)} = {_shown(value)} is left out: {_why(error)}")
    return plain or None


@cache
def _optional(kind: type[m.Invocation | m.Feedback]) -> tuple[tuple[FieldInfo, set[type]], ...]:
    """Return the optional fields of a message, each with the types of numbers it accepts."""
    optional = (f for f in fields(kind) if f.default is not msgspec.NODEFAULT and f.name not in _MATTER)
    return tuple((field, _numbers(msgspec.inspect.type_info(field.type))) for field in optional)


def _numbers(found: msgspec.inspect.Type) -> set[type]:
    if isinstance(found, msgspec.inspect.UnionType):
        return {kind for each in found.types for kind in _numbers(each)}
    if isinstance(found, msgspec.inspect.Metadata):
        return _numbers(found.type)
    return (
        {float}
        if isinstance(found, msgspec.inspect.FloatType)
        else ({int} if isinstance(found, msgspec.inspect.IntType) else set())
    )


def _number(value: Any, *, whole: bool) -> float | int:
    """Convert ``value`` to a plain number; raises ``TypeError`` or ``ValueError``."""
    if getattr(value, "ndim", 0) != 0:
        raise TypeError("one number is expected, not an array")
    if not (hasattr(type(value), "__float__") or hasattr(type(value), "__index__")):
        raise TypeError(f"a number is expected, not {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a finite number is expected")
    if not whole:
        return number
    if not number.is_integer():
        raise ValueError("a whole number is expected")
    return int(value)


def _why(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:160].rstrip(".")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return f"({type(value).__name__})"
    return text if len(text) <= 60 else f"{text[:60]}..."
