"""The repository as the rules about it see it: its files, its modules and what each of them imports."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "crl_stream"
OF_THIS_CHECKOUT = {"PYTHONPATH": str(ROOT)}
"""What a process needs to run this checkout and not the package that its Python has installed."""


def environment_of_this_checkout() -> dict[str, str]:
    """The caller's environment without settings, for a process that runs this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CRL_")} | OF_THIS_CHECKOUT


class Module(NamedTuple):
    """One module of the package and the dotted names that it imports, wherever in the file it does so."""

    name: str
    path: Path
    imports: frozenset[str]

    @property
    def part(self) -> str:
        """The folder or file right under the package: the unit of which layers are made."""
        return self.name.split(".")[1] if "." in self.name else PACKAGE


def imported_names(source: str, package: str) -> Iterator[str]:
    """Every dotted name that ``source``, a module in ``package``, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            climbed = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*climbed, *([node.module] if node.module else [])])
            # `from package import module` imports the module: both names count.
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


@cache
def committed_files() -> tuple[Path, ...]:
    """Every file that is in the repository or about to be; without git, every file of the source archive."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in paths if path.is_file()))
