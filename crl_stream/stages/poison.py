"""A record that makes a fold raise is stepped over, and the batch is folded anew without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from crl_stream.errors import Unsafe

MAX_FAILURES: Final = 20
"""Records of one batch that may make a fold raise; more is a bug to stop for, not poison to step over."""

T = TypeVar("T")


class Poison(Exception):
    """A record made a fold raise, and what it had touched may be half changed."""

    def __init__(self, offset: int, error: Exception) -> None:
        super().__init__(offset)
        self.offset, self.error = offset, error


def fold_around_poison(fold: Callable[[Mapping[int, Exception]], T], what: str) -> T:
    """Call ``fold`` with the offsets that are to be stepped over and why, until it raises no more ``Poison``.

    Each attempt starts again from the untouched bytes: what a raising step has changed is not to be trusted.
    ``Unsafe`` when more than ``MAX_FAILURES`` records raise; ``what`` names them for people.
    """
    poisoned: dict[int, Exception] = {}
    while True:
        try:
            return fold(poisoned)
        except Poison as poison:
            poisoned[poison.offset] = poison.error
            if len(poisoned) > MAX_FAILURES:
                raise Unsafe(
                    f"{len(poisoned)} {what} make the engine raise, the last one at offset {poison.offset}: "
                    f"{poison.error!r}",
                    hint="this is a bug of the engine; go back to the last release and report it",
                ) from poison.error
