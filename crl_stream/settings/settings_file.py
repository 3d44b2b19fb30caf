"""Finds the settings file, reads it with line numbers, and decides which of its settings count."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from crl_stream.errors import ConfigError
from crl_stream.settings.origin import Origin
from crl_stream.settings.trust import is_harmless, is_trusted

FILE: Final = "crl.toml"
OVERRIDES: Final = ("agents.", "tasks.")
"""First parts of the names of overrides for agents and tasks."""
_HEADER: Final = re.compile(r"\s*\[\[?(.+?)\]\]?\s*(?:#.*)?")
_ENTRY: Final = re.compile(r"\s*([^#=\[{]+?)\s*=")

Keys = tuple[str, ...]
"""The keys that lead to a setting, from the outermost table inwards."""


class SettingsFile(NamedTuple):
    """The content of a file, read once."""

    path: Path
    content: bytes
    named: bool
    """Whether the file was named explicitly, not merely found in the current folder."""

    @classmethod
    def find(cls, file: Path | None, environment: Mapping[str, str], *, here: bool = True) -> SettingsFile | None:
        """Return the named file, or, if ``here`` is set, the one in the current folder; None if there is neither."""
        chosen = file or (Path(environment["CRL_CONFIG"]) if environment.get("CRL_CONFIG") else None)
        path = chosen or Path(FILE)
        if chosen is None and not (here and path.is_file()):
            return None
        try:
            return cls(path, path.read_bytes(), named=chosen is not None)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read: {error.strerror}.", hint="name another file with --config"
            ) from error

    def layer(self) -> list[tuple[str, Origin]]:
        """Return the file's settings in order; raises ``ConfigError`` if it is not TOML."""
        try:
            text = self.content.decode()
            page = tomllib.loads(text)
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{self.path} cannot be read: byte {error.start} is not valid UTF-8.",
                hint="save it as UTF-8, which TOML requires, or name another file with --config",
            ) from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(
                f"{self.path} is not TOML: {error}.", hint="crl config init writes a file to start from"
            ) from error
        return list(_flat(page, self.path.name, _lines(text)))

    def ignored(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the settings that are ignored because the file is not trusted: anyone may have written them."""
        risky = tuple(name for name in names if not is_harmless(name))
        return () if self.named or not risky or is_trusted(self.path, self.content) else risky


def _flat(
    page: Mapping[str, Any], source: str, lines: Mapping[Keys, int], prefix: str = "", path: Keys = ()
) -> Iterator[tuple[str, Origin]]:
    for key, value in page.items():
        name, here = f"{prefix}{key}", (*path, key)
        # An empty section sets nothing; an empty table as a setting's value is an error.
        if isinstance(value, Mapping) and (value or not prefix or prefix.startswith(tuple(OVERRIDES))):
            # Names of agents and tasks may contain dots, so a tab follows the name until it is parsed.
            separator = "\t" if prefix in OVERRIDES else "."
            yield from _flat(value, source, lines, name + separator, here)
        else:
            yield name, Origin(value, source, _line_of(here, lines))


def _line_of(path: Keys, lines: Mapping[Keys, int]) -> int | None:
    """Return the line number of a setting; for a setting in an inline table, the line where the table begins."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)


def _lines(text: str) -> dict[Keys, int]:
    """Return the line number of each table and setting whose key begins a line."""
    found: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            table = _keys(header.group(1))
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            found.setdefault((*table, *_keys(entry.group(1))), number)
    return found


def _keys(text: str) -> Keys:
    """Split a dotted TOML key, whose parts may be quoted."""
    try:
        page: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return (text,)
    keys = []
    while isinstance(page, dict):
        key, page = next(iter(page.items()))
        keys.append(key)
    return tuple(keys)
