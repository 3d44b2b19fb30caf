"""Generates the JSON Schemas, the AsyncAPI document, the README's picture, ``docs/lifecycle.md`` and the setting names.

``python -m crl_stream.contract.generator`` writes all of them: the schemas and the AsyncAPI document into ``topics/``,
the others in place.  ``--check`` only lists what is stale.
The sources are the message classes, ``catalog.toml``, ``stages.topology``, ``core.monitor.lifecycle`` and the sections
of the settings; never edit a generated file.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from crl_stream.contract import contract_root, load_catalog
from crl_stream.contract.lifecycle_page import lifecycle_page, page_of
from crl_stream.contract.readme_picture import readme_of, with_picture
from crl_stream.settings import names
from crl_stream.settings.model import leaves
from crl_stream.wire.asyncapi import asyncapi_document
from crl_stream.wire.schemas import message_schema, schema_name
from crl_stream.wire.topics import MESSAGES

SCHEMAS: Final = "schemas"
ASYNCAPI: Final = "asyncapi.json"


def generate() -> dict[str, str]:
    """Return the text of each generated file of the contract, by path."""
    files = {
        f"{SCHEMAS}/{schema_name(topic, kind)}": _text(message_schema(topic, kind, _Docs()))
        for topic, kinds in MESSAGES.items()
        for kind in kinds
    }
    files[ASYNCAPI] = _text(asyncapi_document(load_catalog()))
    return files


def stale(root: Path) -> list[str]:
    """Return the paths inside the contract folder whose files are missing, out of date, or no longer generated."""
    files = generate()
    there = {f"{SCHEMAS}/{path.name}" for path in (root / SCHEMAS).glob("*.json")}
    wrong = {name for name, text in files.items() if _read(root / name) != text}
    return sorted(wrong | (there - files.keys()))


def write(root: Path) -> list[str]:
    """Update the generated files and return the paths that changed."""
    changed, files = stale(root), generate()
    for name in changed:
        path = root / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; with ``--check``, only compare them and return 1 if any is stale."""
    parser = argparse.ArgumentParser(prog="python -m crl_stream.contract.generator", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    root = contract_root()
    if parser.parse_args(arguments).check:
        wrong = [f"topics/{name}" for name in stale(root)] + _draw(root, check=True)
        for name in wrong:
            sys.stderr.write(f"stale: {name}; run make contract\n")
        return 1 if wrong else 0
    for name in [f"topics/{name}" for name in write(root)] + _draw(root):
        sys.stdout.write(f"wrote {name}\n")
    return 0


def _draw(root: Path, *, check: bool = False) -> list[str]:
    """Update the files outside the contract's folder; return the names of those that were stale."""
    drawn: dict[Path, str] = {}
    if (readme := readme_of(root)) is not None:
        drawn[readme] = with_picture(readme.read_text(encoding="utf-8"))
    if (page := page_of(root)) is not None:
        drawn[page] = lifecycle_page()
    if names.FILE.is_relative_to(root.parent):
        drawn[names.FILE] = "".join(f"{name}\n" for name in leaves())
    wrong = [path for path, text in drawn.items() if _read(path) != text]
    if not check:
        for path in wrong:
            path.write_text(drawn[path], encoding="utf-8")
    return [str(path.relative_to(root.parent)) for path in wrong]


class _Docs(Mapping[type, Mapping[str, str]]):
    """The docstrings below the message fields, read from the source because Python discards them."""

    def __getitem__(self, kind: type) -> dict[str, str]:
        found: dict[str, str] = {}
        for ancestor in reversed(kind.__mro__):
            if issubclass(ancestor, msgspec.Struct) and ancestor is not msgspec.Struct:
                found |= self._own(ancestor)
        return found

    def __iter__(self) -> Any:
        raise TypeError("documentation can be looked up by class, but not listed")

    def __len__(self) -> int:
        raise TypeError("documentation can be looked up by class, but not listed")

    @staticmethod
    def _own(kind: type) -> dict[str, str]:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        found = {}
        for field, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[field.target.id] = inspect.cleandoc(below.value.value)
        return found


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
