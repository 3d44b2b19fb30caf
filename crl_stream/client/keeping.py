"""The file in which a runtime keeps the active variants for use while Kafka cannot be reached.

It belongs to one cluster and topic prefix. Its name is derived from what a runtime knows before Kafka answers: the
address or the embedded broker's folder. It contains the cluster's id, so the runtime can discard it when another
cluster answers.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from crl_stream.client.troubles import Troubles
from crl_stream.wire.runtime_codec import Rejected, decode_variants, encode

if TYPE_CHECKING:
    from pathlib import Path

    from crl_stream.settings.runtime_sections import RuntimeSettings

SAVE_SECONDS: Final = 5.0
"""Minimum seconds between two writes of the file."""
_CLUSTER: Final = "cluster_id"
_PREFIX: Final = "topic_prefix"
_page: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_entries: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)


class Kept(NamedTuple):
    """The content of a file of kept variants."""

    cluster_id: str | None
    """Id of the cluster that the variants came from; None if unknown."""
    messages: tuple[tuple[str, Any], ...]
    """(topic, message)."""
    wrong: str | None = None
    """Why an existing file is not used."""


def kept_file(settings: RuntimeSettings) -> Path:
    """Return the file's path; each Kafka address or embedded broker has its own file per topic prefix."""
    kafka = settings.kafka
    if kafka.bootstrap_servers:
        place = ",".join(sorted(filter(None, map(str.strip, kafka.bootstrap_servers.split(",")))))
    else:
        place = f"embedded {os.path.realpath(settings.broker.data_dir)}"
    where = hashlib.sha256(f"{place} {kafka.topic_prefix}".encode()).hexdigest()[:12]
    return settings.client.cache_dir / f"active-variants-{where}.json"


def why_unusable(settings: RuntimeSettings) -> str | None:
    """Return why nothing can be kept in ``client.cache_dir``; None if the folder is usable. Nothing is written."""
    folder = settings.client.cache_dir
    try:
        for there in (folder, *folder.absolute().parents):
            try:
                found = there.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(found.st_mode):
                return f"{there} is not a folder"
            return None if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written"
    except (OSError, ValueError) as error:  # the configured folder is not a possible file name, for instance
        return f"{str(folder)!r} cannot be used: {getattr(error, 'strerror', None) or error}"
    return None


def read_kept(settings: RuntimeSettings, topics: Iterable[str]) -> Kept:
    """Read the kept variants; the result is empty if no file exists or it belongs to another user."""
    messages: list[tuple[str, Any]] = []
    cluster_id, wrong = None, None
    try:
        file = kept_file(settings)
        with file.open("rb") as opened:
            owner = os.fstat(opened.fileno()).st_uid if hasattr(os, "geteuid") else 0
            if owner not in {0, os.geteuid() if hasattr(os, "geteuid") else 0}:
                return Kept(None, (), f"{file} belongs to another user")
            page = _page.decode(opened.read())
        if _PREFIX in page and _text.decode(page[_PREFIX]) != settings.kafka.topic_prefix:
            return Kept(None, ())
        cluster_id = _text.decode(page[_CLUSTER]) or None if _CLUSTER in page else None
        for topic in topics:
            for entry in _entries.decode(page[topic]):
                decoded = decode_variants(topic, bytes(entry))
                if isinstance(decoded, Rejected):
                    wrong = f"part of {file} cannot be read: {decoded.detail}"
                else:
                    messages.append((topic, decoded.message))
    except (FileNotFoundError, NotADirectoryError):
        pass  # nothing has been kept yet
    except (OSError, ValueError, TypeError, KeyError, RecursionError, msgspec.MsgspecError) as error:
        what = getattr(error, "strerror", None) or (f"{error} is missing" if isinstance(error, KeyError) else error)
        wrong = f"the file in {settings.client.cache_dir} cannot be read: {what}"
    return Kept(cluster_id, tuple(messages), wrong)


def keep(settings: RuntimeSettings, known: Mapping[str, Iterable[Any]], cluster_id: str | None = None) -> str | None:
    """Write the messages of all topics to the file, or nothing; return the error, or None if there was none."""
    parts = [(topic, b"[%s]" % b",".join(map(encode, every))) for topic, every in known.items()]
    parts += [(_CLUSTER, encode(cluster_id or "")), (_PREFIX, encode(settings.kafka.topic_prefix))]
    file = kept_file(settings)
    partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.write_bytes(b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), text) for name, text in parts))
        partial.replace(file)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            partial.unlink(missing_ok=True)
        return f"{file} cannot be written: {getattr(error, 'strerror', None) or error}"
    return None


class Keeper:
    """Writes the file after changes, in a separate thread, so that a hanging disk does not delay rollbacks."""

    def __init__(
        self,
        settings: RuntimeSettings,
        known: Callable[[], tuple[Mapping[str, Iterable[Any]], str | None]],
        troubles: Troubles,
        *,
        without_file: bool,
    ) -> None:
        self._settings, self._known, self._troubles, self._without_file = settings, known, troubles, without_file
        self._unsaved = False
        self._saved = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def changed(self) -> None:
        """Record that the active variants have changed, so that the file must be written."""
        self._unsaved = True

    def look(self) -> None:
        """Write if something has changed and the last write was long enough ago."""
        busy = self._thread is not None and self._thread.is_alive()
        if self._unsaved and not busy and time.monotonic() - self._saved >= SAVE_SECONDS:
            self._begin()

    def finish(self, timeout: float) -> None:
        """Write any unsaved changes, but wait at most ``timeout`` seconds for the disk."""
        if self._unsaved:
            self._begin()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, timeout))

    def _begin(self) -> None:
        self._saved = time.monotonic()
        self._thread = threading.Thread(target=self._write, name="crl-keep", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # a program that is ending cannot start threads
            self._thread = None
            self._write()

    def _write(self) -> None:
        with self._lock:
            if not self._unsaved or self._without_file:
                return
            self._unsaved = False
            wrong = keep(self._settings, *self._known())
        if wrong:
            self._troubles.say("file", f"active variants are not kept for use during outages: {wrong}")
