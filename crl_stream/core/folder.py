"""Folders that serve as lists, one file per entry: detectors, proposal rules, exploration policies, notifier channels.

Such a package says what each of its files must define; ``load`` imports and checks them.  An error names the file and
what is wrong with it, so you can add a file without reading how the others are used.
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
    """What its value must be, in words that follow "must be"."""
    fits: Callable[[Any], bool]


_ALSO: Final[dict[str, list[str]]] = {}
"""The folders passed to ``look_in``, by package."""


def load(package: str, path: MutableSequence[str], parts: Sequence[Part]) -> list[ModuleType]:
    """Import every module of ``package`` in ``path``, by name; ``IncompletePart`` names what is missing.

    ``path`` is the package's ``__path__``; files whose names begin with ``_`` are not part of the list.
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
    """The error about a file: what is wrong with it, and what is needed instead."""
    return IncompletePart(f"{module.__file__} {wrong}.", hint=hint)


def only_once(modules: Sequence[ModuleType], name: str, key: Callable[[ModuleType], Any]) -> None:
    """Refuse the second of two files with the same ``key``; ``name`` is the key's name for people."""
    seen: dict[Any, ModuleType] = {}
    for module in modules:
        other = seen.setdefault(key(module), module)
        if other is not module:
            raise misfit(module, f"has {name} {key(module)!r}, as {other.__file__} has", f"give it a {name} of its own")


def look_in(package: str, folder: str) -> None:
    """Make ``package`` list the files of another ``folder`` too; call this before anything imports the package.

    All processes of an installation must do the same: rows and decisions depend on the detectors.
    """
    if package in sys.modules:
        raise IncompletePart(
            f"{package} is imported already, and has listed its files.", hint="call look_in before that"
        )
    _ALSO.setdefault(package, []).append(folder)


# -- checks of parts -------------------------------------------------------------------------------
def is_word(value: Any) -> bool:
    """Whether the value is a name such as ``success_rate``."""
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def is_text(value: Any) -> bool:
    """Whether the value is a text for people."""
    return isinstance(value, str) and bool(value.strip())


def is_place(value: Any) -> bool:
    """Whether the value is a place in a sequence: 1, 2, 3, ..."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def takes(count: int) -> Callable[[Any], bool]:
    """A check that a value takes ``count`` arguments; of a compiled function it checks only that it can be called."""

    def fits(value: Any) -> bool:
        if not callable(value):
            return False
        try:
            inspect.signature(value).bind(*range(count))
        except ValueError:  # its parameters are not known
            return True
        except TypeError:
            return False
        return True

    return fits
