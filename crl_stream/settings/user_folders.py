"""The folders of the user, as the XDG base directory specification places them, and what stands in for them.

A service account, a container that runs under a bare user id or a sandbox may have no home at all.  Importing settings
must not fail there, so a folder of the temporary directory takes its place.
"""

from __future__ import annotations

import logging
import os
import pwd
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

NAME: Final = "crl-stream"
"""Name of our folder in each of them."""
_said: Final[list[str]] = []
"""The warning, once it was logged: once a process."""


def user_folder(variable: str, otherwise: str) -> Path:
    """Our folder under the one that ``variable`` names, else under ``otherwise`` of the home; never raises.

    Without a home, or where the folder cannot be created, it is a folder of the temporary directory that belongs to
    this user alone; that is logged once a process.
    """
    base = _base(variable, otherwise)
    if base is not None and _usable(base / NAME):
        return base / NAME
    _say_once("This user has no home folder" if base is None else f"{base / NAME} cannot be created")
    return stand_in() / variable.removeprefix("XDG_").removesuffix("_HOME").lower()


def _base(variable: str, otherwise: str) -> Path | None:
    named = Path(os.environ.get(variable, ""))
    if named.is_absolute():  # the specification: a relative one is ignored
        return named
    home = home_folder()
    return None if home is None else home / otherwise


def home_folder() -> Path | None:
    """The user's home; None where there is none: no HOME, and a user id without a passwd entry, as in containers."""
    try:
        # An empty HOME is none; pathlib would make the root of it.
        home = Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None
    return home if home.is_absolute() else None


def _usable(folder: Path) -> bool:
    """Whether it is there, or could be made."""
    for there in (folder, *folder.parents):
        try:
            if there.is_dir():
                return there == folder or os.access(there, os.W_OK | os.X_OK)
            if there.exists():
                return False
        except OSError:
            return False
    return False


@cache
def stand_in() -> Path:
    """A folder of this user's alone, made on the first call; where nothing can be made, one that is not there."""
    try:
        folder = Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not _is_ours(folder):
                # Someone else made it: what they could read or replace there is not used.
                folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    except OSError:
        return Path(f"/tmp/{NAME}-{os.getuid()}")  # noqa: S108 - the writer that needs it says why it cannot write
    return folder


def without_home() -> str | None:
    """What a person has to know about a folder that stands in; None when none does."""
    return _said[0] if _said else None


def _say_once(reason: str) -> None:
    if not _said:
        _said.append(
            f"{reason}: files go to {stand_in()} and may be gone after a restart of this machine; "
            "set HOME, or XDG_DATA_HOME and XDG_CACHE_HOME, to keep them"
        )
        log.warning("%s", _said[0])


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
