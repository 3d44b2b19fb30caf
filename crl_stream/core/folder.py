"""Loads folders with one file per entry: detectors, proposal rules, exploration policies, notifier channels.

Each such package states what its files must define; ``load`` imports and checks the files.  An error names the file
and says what is wrong, so you can add a file without reading the code that uses it.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, MutableSequence, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NamedTuple

from crl_stream.errors import IncompletePart

_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Part(NamedTuple):
    """A name that every file of a folder must define."""

    name: str
    what: str
    """A description of valid values; error messages put it after "must be"."""
    fits: Callable[[Any], bool]


_ALSO: Final[dict[str, list[str]]] = {}
"""The folders passed to ``look_in``, by package."""


def load(package: str, path: MutableSequence[str], parts: Sequence[Part]) -> list[ModuleType]:
    """Import the modules of ``package`` in ``path`` in alphabetical order, and check that each has all ``parts``.

    ``path`` is the package's ``__path__``; files whose names begin with ``_`` are skipped.  Raises ``IncompletePart``,
    which names what is missing.
    """
    path.extend(_ALSO.get(package, ()))
    modules = []
    for info in sorted(pkgutil.iter_modules(path), key=lambda info: info.name):
        if info.name.startswith("_"):
            continue
        module = import_module(f"{package}.{info.name}")
        for part in parts:
            if not hasattr(module, part.name):
                raise misfit(module, f"defines no {part.name}", f"{part.name} must be {part.what}")
            value = getattr(module, part.name)
            if not part.fits(value):
                raise misfit(module, f"has {part.name} = {value!r:.80}", f"{part.name} must be {part.what}")
        modules.append(module)
    return modules


def misfit(module: ModuleType, wrong: str, hint: str) -> IncompletePart:
    """Build the error about a file: what is wrong with it, and what is needed instead."""
    return IncompletePart(f"{module.__file__} {wrong}.", hint=hint)


def only_once(modules: Sequence[ModuleType], name: str, key: Callable[[ModuleType], Any]) -> None:
    """Refuse the second of two files with the same ``key``; ``name`` is what the error calls the key."""
    seen: dict[Any, ModuleType] = {}
    for module in modules:
        other = seen.setdefault(key(module), module)
        if other is not module:
            raise misfit(module, f"has {name} {key(module)!r}, as {other.__file__} has", f"give it a different {name}")


def look_in(package: str, folder: str) -> None:
    """Make ``package`` also list the files in ``folder``; call this before anything imports the package.

    All processes of an installation must list the same files, because rows and decisions depend on the detectors.
    """
    if package in sys.modules:
        raise IncompletePart(
            f"{package} is imported already and has listed its files.", hint="call look_in before importing it"
        )
    _ALSO.setdefault(package, []).append(folder)


# -- checks of parts -------------------------------------------------------------------------------
def is_word(value: Any) -> bool:
    """Return whether the value is a name such as ``success_rate``."""
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def is_text(value: Any) -> bool:
    """Return whether the value is a string with visible text."""
    return isinstance(value, str) and bool(value.strip())


def is_place(value: Any) -> bool:
    """Return whether the value is a position in a sequence: 1, 2, 3, ..."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def takes(count: int) -> Callable[[Any], bool]:
    """Return a check that a value can be called with ``count`` arguments.

    If the value's signature cannot be read, as with some compiled functions, the value only has to be callable.
    """

    def fits(value: Any) -> bool:
        if not callable(value):
            return False
        try:
            inspect.signature(value).bind(*range(count))
        except ValueError:  # the function's signature cannot be read
            return True
        except TypeError:
            return False
        return True

    return fits
