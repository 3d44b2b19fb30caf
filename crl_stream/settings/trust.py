"""Decides whether a ``crl.toml`` in the current folder may choose addresses and programs: only if the user trusts it.

People and agents work in other people's folders. A file that happens to be there may set limits and policies.
Addresses, credentials, folders and channels count only after ``crl config trust``, which records the path and a hash of
the content. A changed file must be trusted again. Naming a file (``--config``, ``CRL_CONFIG``) means trusting it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

from crl_stream.errors import UsageError
from crl_stream.settings.model import POLICY_SECTIONS
from crl_stream.settings.user_folders import user_folder

HARMLESS: Final = frozenset({*POLICY_SECTIONS, "review", "proposer", "profile", "agents", "tasks"})
"""Sections that any file may set: they affect judgements, never addresses or files."""
_LISTED: Final = 5


class Untrusted(NamedTuple):
    """A file in the current folder, some of whose settings are ignored."""

    path: Path
    names: tuple[str, ...]
    """The settings that are ignored, in the order of the file."""
    changed: bool
    """Whether the file was trusted before, with different content."""

    def sentence(self) -> str:
        """Return one line that says what is ignored and how to trust the file."""
        shown = ", ".join(self.names[:_LISTED])
        more = f" and {len(self.names) - _LISTED} more" if len(self.names) > _LISTED else ""
        why = "has changed since it was trusted" if self.changed else "is not trusted"
        return f"{self.path.name} in this folder {why}: ignored {shown}{more}; read it, then run `crl config trust`"


class Trusted(NamedTuple):
    """One entry in the record of trusted files."""

    path: str
    sha256: str
    since: str

    def state(self) -> Literal["trusted", "changed", "missing"]:
        """Return whether the file still has the trusted content, has changed, or is missing."""
        try:
            content = Path(self.path).read_bytes()
        except OSError:
            return "missing"
        return "trusted" if _hash(content) == self.sha256 else "changed"


def is_harmless(name: str) -> bool:
    """Return whether a setting counts no matter who wrote the file."""
    return name.partition(".")[0] in HARMLESS


def is_trusted(path: Path, content: bytes) -> bool:
    """Return whether exactly this content was trusted at this path."""
    return any(entry.path == _place(path) and entry.sha256 == _hash(content) for entry in trusted())


def was_trusted(path: Path) -> bool:
    """Return whether a file at this path was trusted, whatever its content was."""
    return any(entry.path == _place(path) for entry in trusted())


def trust(path: Path, content: bytes) -> Trusted:
    """Record a file's path and hash; raises ``UsageError`` if the record cannot be written."""
    entry = Trusted(_place(path), _hash(content), datetime.now(UTC).isoformat(timespec="seconds"))
    _write([*(other for other in trusted() if other.path != entry.path), entry])
    return entry


def revoke(path: Path) -> bool:
    """Forget a path; return False if it was not trusted."""
    entries = trusted()
    left = [entry for entry in entries if entry.path != _place(path)]
    if len(left) == len(entries):
        return False
    _write(left)
    return True


def trusted() -> list[Trusted]:
    """Return the whole record; empty if it is unreadable or others could have written it."""
    record = _record()
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = record.stat()
        if found.st_uid == os.getuid() and not found.st_mode & 0o022:
            page = json.loads(record.read_bytes())
            return [Trusted(str(one["path"]), str(one["sha256"]), str(one["since"])) for one in page["trusted"]]
    return []


def _write(entries: Iterable[Trusted]) -> None:
    record = _record()
    page = json.dumps({"trusted": [entry._asdict() for entry in entries]}, indent=1) + "\n"
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        # The file is created with mode 0600 and written atomically.
        with tempfile.NamedTemporaryFile("w", dir=record.parent, delete=False, encoding="utf-8") as file:
            file.write(page)
        Path(file.name).replace(record)
    except OSError as error:
        raise UsageError(
            f"{record} cannot be written: {error.strerror}.",
            hint="--config FILE trusts a file for one call; XDG_DATA_HOME names another folder for the record",
        ) from error


def _record() -> Path:
    return user_folder("XDG_DATA_HOME", ".local/share") / "trusted.json"


def _place(path: Path) -> str:
    return str(path.resolve())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
