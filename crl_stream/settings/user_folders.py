"""The user's folders according to the XDG base directory specification, and substitutes for them.

A service account, a container with a bare user id or a sandbox may have no home. Importing settings must not fail
there, so a folder in the temporary directory is used instead.
"""

from __future__ import annotations

import logging
import os
import stat
from functools import cache
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

NAME: Final = "crl-stream"
"""Name of our folder in each user folder."""
_said: Final[list[str]] = []
"""The warning that was logged; at most one per process."""


def user_folder(variable: str, otherwise: str) -> Path:
    """Return our folder under the one named by ``variable``, or else under ``otherwise`` in the home directory.

    Never raises. Without a home directory, or if the folder cannot be created, returns a folder in the temporary
    directory that only this user can access; this is logged once per process.
    """
    base = _base(variable, otherwise)
    if base is not None and _usable(base / NAME):
        return base / NAME
    _say_once("This user has no home folder" if base is None else f"{base / NAME} cannot be created")
    return stand_in() / variable.removeprefix("XDG_").removesuffix("_HOME").lower()


def _base(variable: str, otherwise: str) -> Path | None:
    named = Path(os.environ.get(variable, ""))
    if named.is_absolute():  # the specification says to ignore a relative path
        return named
    home = home_folder()
    return None if home is None else home / otherwise


def home_folder() -> Path | None:
    """Return the user's home; None if there is neither HOME nor a passwd entry, as in containers."""
    try:
        # Treat an empty HOME as missing; pathlib would take it as the root folder.
        home = Path(os.environ.get("HOME") or _home_on_record())
    except (KeyError, RuntimeError):
        return None
    return home if home.is_absolute() else None


def _home_on_record() -> str:
    """Return the home that the system has on record; raises ``KeyError`` or ``RuntimeError`` if there is none."""
    try:
        import pwd
    except ModuleNotFoundError:  # Windows has no such database, but a profile folder
        return str(Path.home())
    return pwd.getpwuid(os.getuid()).pw_dir


def _usable(folder: Path) -> bool:
    """Return whether the folder exists or could be created."""
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
    """Return a private folder, created on the first call; if that fails, a path that does not exist."""
    import tempfile  # only a user without a home needs it

    try:
        folder = Path(tempfile.gettempdir()) / f"{NAME}-{_user()}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not _is_ours(folder):
                # Someone else created it and could read or replace files there, so it is not used.
                folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    except OSError:
        return Path(f"/tmp/{NAME}-{_user()}")  # noqa: S108 - the code that writes there reports the error
    return folder


def without_home() -> str | None:
    """Return what the user must know about a substitute folder; None if there is none."""
    return _said[0] if _said else None


def _say_once(reason: str) -> None:
    if not _said:
        _said.append(
            f"{reason}: files go to {stand_in()} and may be gone after a restart of this machine; "
            "set HOME, or XDG_DATA_HOME and XDG_CACHE_HOME, to keep them"
        )
        log.warning("%s", _said[0])


def _user() -> int:
    """Return the user's id; 0 on Windows, where every user has a temporary folder of their own."""
    return os.getuid() if hasattr(os, "getuid") else 0


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    if not hasattr(os, "getuid"):
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
