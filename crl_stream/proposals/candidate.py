"""A candidate as a script or a person gives it: checked, and turned into the fields of ``ProposeVariant``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from crl_stream.core.messages import CandidateEvidence, Modification
from crl_stream.errors import UsageError

EVIDENCE: Final = CandidateEvidence.__struct_fields__
"""What evidence may say."""


def evidence_of(given: Mapping[str, Any] | None) -> CandidateEvidence | None:
    """Return the evidence; raises ``UsageError`` for an unknown field or value, which readers would otherwise lose."""
    if given is None:
        return None
    known = ", ".join(EVIDENCE)
    unknown = sorted(str(name) for name in given if name not in EVIDENCE)
    if unknown:
        raise UsageError(f"Evidence has no field {unknown[0]}.", hint=f"it has {known}; put a full report at the url")
    try:
        return msgspec.convert(_plain("evidence", given), CandidateEvidence)
    except msgspec.ValidationError as error:
        raise UsageError(f"The evidence cannot be used: {error}.", hint=f"it has {known}") from None


def configuration_of(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the configuration as a plain JSON object; raises ``UsageError`` if it is not one."""
    if given is None:
        return None
    found: dict[str, Any] = _plain("configuration", given)
    return found


def modifications_of(given: Sequence[Mapping[str, Any] | Modification]) -> list[Modification]:
    """Return the modifications; raises ``UsageError`` for one that is not as in the guide's proposal schema."""
    found = []
    for one in given:
        if isinstance(one, Modification):
            found.append(one)
            continue
        unknown = sorted(str(name) for name in one if name not in Modification.__struct_fields__)
        if unknown:
            raise UsageError(
                f"A modification has no field {unknown[0]}.", hint=", ".join(Modification.__struct_fields__)
            )
        try:
            found.append(msgspec.convert(_plain("modifications", one), Modification))
        except msgspec.ValidationError as error:
            raise UsageError(f"A modification cannot be used: {error}.", hint="see docs/proposals.md") from None
    return found


def _plain(name: str, given: Mapping[str, Any]) -> Any:
    """Return ``given`` as it will be read from JSON, with numbers of other libraries as plain ones."""
    try:
        return json.loads(json.dumps(dict(given), allow_nan=False, default=_number))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"The {name} cannot be written as JSON: {error}.", hint="use texts, finite numbers, lists and objects"
        ) from None


def _number(value: Any) -> Any:
    """Return a scalar of numpy or a tensor library as a plain number."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"{type(value).__name__} is not a JSON value")
    found = item()
    if not isinstance(found, bool | int | float | str):
        raise TypeError(f"{type(value).__name__} is not a JSON value")
    return found
