"""What to change in a variant, by kind of failure: a catalogue that people edit, and the code that applies it.

Entries are looked up by the dominant kind of failure.  A task type may have its own entries, which then replace the
general ones.  A change that the variant already has is not recommended.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import msgspec

from crl_stream.core.ids import content_digest
from crl_stream.core.messages import FailureKinds, Modification, VariantConfiguration

Kind = Literal["errors", "failures", "slow", "low_quality"]
KINDS: Final[tuple[Kind, ...]] = ("errors", "failures", "slow", "low_quality")
"""Kinds of failure, in the order that breaks ties."""
WORDS: Final[dict[Kind, str]] = {
    "errors": "errors",
    "failures": "failures without an error",
    "slow": "slow",
    "low_quality": "of low quality",
}
_BOUNDS: Final = {"temperature": (0.0, 2.0)}


class Remedy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry: a prompt section and what to do with it, or a parameter and where to move it.

    A parameter is set to ``value``.  If the variant's parameter has already reached or passed that value, it moves by
    ``step``, as far as ``minimum`` and ``maximum`` allow.  ``model_tier`` moves along the catalogue's tiers.
    """

    section: str | None = None
    operation: Literal["append", "prepend", "replace", "remove"] | None = None
    content: str | None = None
    parameter: str | None = None
    value: str | bool | int | float | None = None
    step: int | float | None = None
    minimum: float | None = None
    maximum: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` with the reason if an entry cannot be applied."""
        if (self.section is None) == (self.parameter is None):
            raise ValueError("name either a section or a parameter")
        if self.section is not None:
            if self.operation is None:
                raise ValueError("a section needs an operation")
            if (self.content is None) != (self.operation == "remove"):
                raise ValueError("a section needs content, unless it is removed")
            if not (self.value is self.step is self.minimum is self.maximum is None):
                raise ValueError("value, step, minimum and maximum belong to a parameter")
            return
        if self.operation is not None or self.content is not None:
            raise ValueError("operation and content belong to a section")
        if self.value is None and self.step is None:
            raise ValueError("a parameter needs a value or a step")
        if self.parameter == "model_tier":
            if self.value is not None and not isinstance(self.value, str):
                raise ValueError("the value of model_tier must be a name")
            if self.step is not None and not isinstance(self.step, int):
                raise ValueError("the step of model_tier must be a whole number of tiers")
        elif self.parameter == "temperature":
            if isinstance(self.value, str | bool) or not all(
                0.0 <= number <= 2.0 for number in (self.value, self.minimum, self.maximum) if number is not None
            ):
                raise ValueError("a temperature must be a number from 0 to 2")
        elif self.step is not None:
            raise ValueError("only temperature and model_tier can have a step")
        if not all(math.isfinite(n) for n in (self.value, self.step, self.minimum, self.maximum) if type(n) is float):
            raise ValueError("a number must be finite")
        if self.step == 0:
            raise ValueError("a step of 0 changes nothing")


class TaskRemedies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entries that replace the general ones for one task type."""

    focus: str | None = None
    """How a proposal's text describes a variant for this task type: ``security`` gives "security-focused variant"."""
    any: list[Remedy] | None = None
    """Entries for every kind of failure without its own list."""
    errors: list[Remedy] | None = None
    failures: list[Remedy] | None = None
    slow: list[Remedy] | None = None
    low_quality: list[Remedy] | None = None


class Remedies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole catalogue."""

    errors: list[Remedy] = []
    failures: list[Remedy] = []
    slow: list[Remedy] = []
    low_quality: list[Remedy] = []
    tiers: list[str] = []
    """Model tiers, smallest first."""
    tasks: dict[str, TaskRemedies] = {}
    """Entries by task type or by a pattern like ``security-*``; an exact name wins, then the first matching pattern."""

    def for_task(self, task_type: str) -> TaskRemedies:
        """Return the entries for a task type; empty if the catalogue has none for it."""
        if (exact := self.tasks.get(task_type)) is not None:
            return exact
        return next((own for name, own in self.tasks.items() if fnmatchcase(task_type, name)), _NONE)

    def prescribe(
        self, task_type: str, kind: Kind, known: VariantConfiguration | None, carried: frozenset[bytes] = frozenset()
    ) -> list[Modification]:
        """Return what to change in a variant with this configuration; empty if there is nothing left to try.

        ``carried`` holds the digests of the modifications with which the variant was made, so as not to repeat them.
        """
        own = self.for_task(task_type)
        entries = getattr(own, kind)
        if entries is None:
            entries = own.any
        if entries is None:
            entries = getattr(self, kind)
        found = [one for entry in entries if (one := self._apply(entry, known)) is not None]
        return [one for one in found if digest(one) not in carried]

    def _apply(self, entry: Remedy, known: VariantConfiguration | None) -> Modification | None:
        if entry.section is not None:
            return Modification(
                section=entry.section, operation=entry.operation, content=entry.content, reason=entry.reason
            )
        value: Any
        if entry.parameter == "model_tier":
            value = self._tier(entry, known.model_tier if known else None)
        elif entry.parameter == "temperature":
            value = _temperature(entry, known.temperature if known else None)
        else:
            value = entry.value
        return None if value is None else Modification(parameter=entry.parameter, value=value, reason=entry.reason)

    def _tier(self, entry: Remedy, now: str | None) -> str | None:
        """Return the tier to move to; None if the variant is already there, at the last tier, or at an unknown one."""
        if entry.value is not None and now != entry.value:
            return str(entry.value)
        if entry.step is None or now not in self.tiers:
            return None
        place = min(max(self.tiers.index(now) + int(entry.step), 0), len(self.tiers) - 1)
        return None if self.tiers[place] == now else self.tiers[place]


def _temperature(entry: Remedy, now: float | None) -> float | None:
    goal = entry.value
    if now is None:
        return None if goal is None else float(goal)
    if entry.step is None:
        assert goal is not None
        return None if float(goal) == now else float(goal)
    if goal is not None and (float(goal) - now) * entry.step > 0:
        return float(goal)
    low, high = _BOUNDS["temperature"]
    least, most = entry.minimum or low, high if entry.maximum is None else entry.maximum
    moved = round(min(max(now + entry.step, least), most), 4)
    return moved if (moved - now) * entry.step > 0 else None


def dominant(kinds: FailureKinds) -> tuple[Kind, int]:
    """Return the most common kind of bad outcome, and how many of these there were.

    ``failures`` also counts errors, so failures without an error are what remains after subtracting them.  A variant
    with bad rewards and none of these kinds counts as low quality.
    """
    counts: dict[Kind, int] = {
        "errors": kinds.errors,
        "failures": max(0, kinds.failures - kinds.errors),
        "slow": kinds.slow,
        "low_quality": kinds.low_quality,
    }
    most = max(counts.values())
    return next(kind for kind in KINDS if counts[kind] == most) if most else "low_quality", most


def digest(modification: Modification) -> bytes:
    """Return the 8-byte digest of a modification; the reason given for it does not count."""
    plain = msgspec.structs.replace(modification, reason=None)
    return content_digest(msgspec.json.encode(plain))


_NONE: Final = TaskRemedies()
