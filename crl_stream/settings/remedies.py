"""The proposer's catalogue of modifications: the shipped one, with lists replaced by the user's own file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from crl_stream.core.proposer.remedies import Remedies
from crl_stream.errors import ConfigError

SHIPPED: Final = Path(__file__).with_name("modifications.toml")
"""The shipped catalogue, which users can copy and edit."""
MAX_BYTES: Final = 1 << 20
"""Maximum size of a catalogue, in bytes."""


def load_remedies(file: Path | None = None) -> Remedies:
    """Load the catalogue; each list in ``file`` replaces the shipped one. Raises ``ConfigError``."""
    page = _read(SHIPPED)
    if file is not None:
        own = _read(file)
        _convert(own, file)
        # The user's patterns come before the shipped ones.
        tasks = own.get("tasks", {})
        page |= own | {"tasks": tasks | {name: entry for name, entry in page["tasks"].items() if name not in tasks}}
    return _convert(page, file or SHIPPED)


def _read(path: Path) -> dict[str, Any]:
    try:
        # Any crl.toml may name this file, so an endless device or pipe must not be read.
        if path.exists() and (not path.is_file() or path.stat().st_size > MAX_BYTES):
            raise ConfigError(
                f"{path} is not a valid catalogue: a file of at most {MAX_BYTES} bytes is expected.",
                hint="see proposer.modifications_file",
            )
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", hint=f"start from a copy of {SHIPPED}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="see proposer.modifications_file") from error


def _convert(page: dict[str, Any], path: Path) -> Remedies:
    try:
        return msgspec.convert(page, Remedies)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}.", hint=f"{SHIPPED} shows how entries are written") from error
