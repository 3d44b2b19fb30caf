"""A JSON value as YAML that every parser of YAML 1.1 and 1.2 reads as the same value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON allows in a string and YAML does not."""


def yaml_of(value: Any) -> str:
    """Return the YAML text of a JSON value.

    >>> print(yaml_of({"a": [1, 1e-07, {"b": "no"}], "c": {}}), end="")
    "a":
      - 1
      - 1.0e-07
      -
        "b": "no"
    "c": {}
    """
    return "\n".join(_lines(value, "")) + "\n"


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _entry(f"{indent}{_scalar(name)}:", inner, indent)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _entry(f"{indent}-", inner, indent)
    else:
        yield f"{indent}{_scalar(value)}"


def _entry(start: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, (dict, list)) and value:
        yield start
        yield from _lines(value, indent + "  ")
    else:
        yield f"{start} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        # YAML 1.1 reads 1e-07 as a text, because it has no dot.
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
