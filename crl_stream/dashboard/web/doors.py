"""One-time tokens that open the dashboard, and the sessions that they begin.

Both are small files in a folder that only the user can read, named after a hash, so that reading the folder gives no
access.  A command in another process can make a token by making a file; using it removes the file, which succeeds
once, whatever else happens.  Sessions survive a restart.  If the folder cannot be used, both are kept in memory, and
only this process can make tokens.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from crl_stream.settings import Settings

log = logging.getLogger(__name__)

BASE: Final = "/dashboard"
"""The path under which the dashboard is served."""
FOLDER: Final = "web-sessions"
"""The folder of tokens and sessions in ``worker.data_dir``."""
TOKEN_MINUTES: Final = 15
"""How long a one-time token can be used."""
MOST_TOKENS: Final = 50
MOST_SESSIONS: Final = 200
"""When there are more, the one that ends first is removed."""
_ACTOR: Final = re.compile(r"[A-Za-z0-9._:@+-]{1,100}")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A token or a session."""

    actor: str
    """Who uses it, without the prefix ``web:``."""
    until: int
    """When it ends, in milliseconds since the epoch."""
    csrf: str = ""
    """What a session's page sends with every command."""


def is_actor(name: str) -> bool:
    """Return whether a name may appear as that of a person."""
    return _ACTOR.fullmatch(name) is not None


def as_actor(name: str) -> str:
    """Return a name of this machine's user as one that ``is_actor`` accepts."""
    return re.sub(r"[^A-Za-z0-9._:@+-]+", "-", name)[:100] or "unknown"


def doors_of(settings: Settings) -> Doors:
    """Return the tokens and sessions of the dashboards with these settings on this machine."""
    return Doors(settings.worker.data_dir / FOLDER, settings.web.session_hours)


def link(settings: Settings, url: str, actor: str) -> str:
    """Return an address that opens the dashboard at ``url`` once, within ``TOKEN_MINUTES``, for ``actor``."""
    token = doors_of(settings).mint(as_actor(actor), time.time_ns() // 1_000_000)
    return f"{url.rstrip('/')}{BASE}/enter?token={token}"


class Doors:
    """The tokens and sessions in one folder."""

    def __init__(self, folder: Path | None, session_hours: float = 12.0) -> None:
        self._session_ms = round(session_hours * 3_600_000)
        # A browser sends the cookies of a host to all of its ports, and several installations may be tunnelled to one.
        place = "" if folder is None else f"_{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]}"
        self.cookie: Final = f"crl_session{place}"
        """Name of the cookie with a session's secret, different for each folder."""
        self._store: _Files | _Memory = _Memory()
        if folder is not None:
            try:
                self._store = _Files(folder)
            except OSError as error:
                log.warning("the sessions of the dashboard are kept in memory only: %s", error)

    def mint(self, actor: str, now: int) -> str:
        """Make a token with which ``actor`` can open the dashboard once; ``now`` is in milliseconds."""
        token = secrets.token_urlsafe(32)
        self._put("token", token, Entry(actor=actor, until=now + TOKEN_MINUTES * 60_000), MOST_TOKENS, now)
        return token

    def redeem(self, token: str, now: int) -> str | None:
        """Use a token up and return its actor; None if there is no such token any more."""
        found = self._store.pop(_name("token", token))
        return None if found is None or found.until <= now else found.actor

    def begin(self, actor: str, now: int) -> str:
        """Begin a session and return the secret that names it."""
        secret = secrets.token_urlsafe(32)
        entry = Entry(actor=actor, until=now + self._session_ms, csrf=secrets.token_urlsafe(32))
        self._put("session", secret, entry, MOST_SESSIONS, now)
        return secret

    def session(self, secret: str, now: int) -> Entry | None:
        """Return the session that a secret names; None if there is none, or it has ended."""
        found = self._store.get(_name("session", secret))
        return None if found is None or found.until <= now else found

    def end(self, secret: str) -> None:
        """End a session."""
        self._store.pop(_name("session", secret))

    @property
    def session_seconds(self) -> int:
        """How long a session lasts."""
        return self._session_ms // 1_000

    def _put(self, kind: str, secret: str, entry: Entry, most: int, now: int) -> None:
        there = {name: self._store.get(name) for name in self._store.names(kind)}
        ended = [name for name, found in there.items() if found is None or found.until <= now]
        for name in ended:
            self._store.pop(name)
        left = sorted((found.until, name) for name, found in there.items() if found is not None and name not in ended)
        for _, name in left[: max(0, len(left) - most + 1)]:
            self._store.pop(name)
        self._store.put(_name(kind, secret), entry)


def _name(kind: str, secret: str) -> str:
    return f"{kind}-{hashlib.sha256(secret.encode(errors='replace')).hexdigest()}"


class _Memory:
    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def put(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry

    def get(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def pop(self, name: str) -> Entry | None:
        return self._entries.pop(name, None)

    def names(self, kind: str) -> list[str]:
        return [name for name in self._entries if name.startswith(f"{kind}-")]


class _Files:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if os.name == "posix" and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077):
            raise PermissionError(f"{folder} can be used by other users")
        self._folder = folder

    def put(self, name: str, entry: Entry) -> None:
        # A file appears complete or not at all; mkstemp makes it readable for this user only.
        number, path = tempfile.mkstemp(dir=self._folder, prefix="new-")
        with os.fdopen(number, "wb") as file:
            file.write(msgspec.json.encode(entry))
        Path(path).replace(self._folder / name)

    def get(self, name: str) -> Entry | None:
        try:
            return msgspec.json.decode((self._folder / name).read_bytes(), type=Entry)
        except (OSError, msgspec.MsgspecError):
            return None

    def pop(self, name: str) -> Entry | None:
        found = self.get(name)
        try:
            (self._folder / name).unlink()
        except OSError:
            return None  # another request was faster
        return found

    def names(self, kind: str) -> list[str]:
        with contextlib.suppress(OSError):
            return [path.name for path in self._folder.glob(f"{kind}-*")]
        return []
