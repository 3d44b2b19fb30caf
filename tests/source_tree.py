"""The repository as tests of its rules see it: its files, its modules and what each module imports."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "crl_stream"
OF_THIS_CHECKOUT = {"PYTHONPATH": str(ROOT)}
"""The environment that makes a process run this checkout, not an installed package."""


def environment_of_this_checkout() -> dict[str, str]:
    """Return the caller's environment without settings, for a process that runs this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CRL_")} | OF_THIS_CHECKOUT


class Module(NamedTuple):
    """One module of the package, and the dotted names that it imports anywhere in its file."""

    name: str
    path: Path
    imports: frozenset[str]

    @property
    def part(self) -> str:
        """The folder or file directly under the package, which is the unit of the layers."""
        return self.name.split(".")[1] if "." in self.name else PACKAGE


def imported_names(source: str, package: str) -> Iterator[str]:
    """Yield every dotted name that ``source``, a module in ``package``, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            climbed = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*climbed, *([node.module] if node.module else [])])
            # `from package import module` may import a module, so both names count.
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        package = ".".join(parts[:-1])
        found.append(Module(name, path, frozenset(imported_names(path.read_text(encoding="utf-8"), package))))
    return tuple(found)


def modules_run_by(module: Module) -> set[str]:
    """Return the modules of the package that run when ``module`` is imported and all its functions are called.

    Importing a module runs the packages that contain it.  The packages that contain ``module`` have run before it, so
    they count only if it imports something that they define.  A package that lists its folder imports everything in it.
    """
    names = {other.name for other in modules()}
    holders = {name.rpartition(".")[0] for name in module.imports - names} & names
    imported = {*module.imports} & names | holders
    imported |= {name for other in imported for name in packages_of(other)}
    if f"{PACKAGE}.core.folder.load" in module.imports:
        imported |= {name for name in names if name.rpartition(".")[0] == module.name}
    return imported - (packages_of(module.name) - holders) - {module.name}


def packages_of(name: str) -> set[str]:
    """Return the packages that contain a module."""
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def circles(uses: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the part of ``uses`` that is in a cycle or between two cycles; empty if there are no cycles."""
    left = {name: used & uses.keys() for name, used in uses.items()}
    while outer := {name for name in left if not left[name] or not any(name in used for used in left.values())}:
        left = {name: used - outer for name, used in left.items() if name not in outer}
    return left


@cache
def committed_files() -> tuple[Path, ...]:
    """Return every file that is or will be in the repository; without git, every file of the source archive."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in paths if path.is_file()))
