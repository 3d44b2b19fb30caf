"""Records beside a file how much of it Kafka has, so that publishing it again resumes instead of starting over.

A journal belongs to a file's content and a cluster, not to a file name. It is found even if the file has been renamed
in the same folder or has grown since.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from crl_stream.cli.talk import say
from crl_stream.errors import UsageError
from crl_stream.settings.user_folders import user_folder

SUFFIX: Final = ".crl-journal"


class Progress(msgspec.Struct, frozen=True):
    """How much of a file was sent to one cluster."""

    file: str
    target: str
    """The cluster and topic, as ``target_of`` names them."""
    messages: int
    """Number of messages in the whole file."""
    content: str
    """Hash of all messages of the file."""
    sent: int
    """Number of messages from the start of the file that Kafka has acknowledged."""
    sent_content: str
    """Hash of the acknowledged messages."""
    at: str
    offsets: dict[str, int] = {}
    """By partition: the offset from which messages after the acknowledged ones may be in the log."""
    settled: bool = False
    """Whether no message was in flight when the journal was written."""

    @property
    def complete(self) -> bool:
        """Return whether Kafka has acknowledged the whole file."""
        return self.sent == self.messages


def target_of(cluster_id: str, topic: str) -> str:
    """Return a short name for one topic of one cluster."""
    return hashlib.sha256(f"{cluster_id}/{topic}".encode()).hexdigest()[:8]


def journals_near(file: Path) -> list[Progress]:
    """Return every journal that may belong to this file: those in its folder, and those kept for read-only folders."""
    found = []
    for folder in (file.parent, _fallback()):
        with suppress(OSError):
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                    found.append(msgspec.json.decode(path.read_bytes(), type=Progress))
    return found


def matching(
    journals: Iterable[Progress], target: str, messages: int, content: str, prefixes: dict[int, str]
) -> Progress | None:
    """Return the journal that got furthest with this content and this target.

    ``messages`` and ``content`` are the number and the hash of all messages. ``prefixes`` maps n to the hash of
    the first n messages.
    """
    fits = [
        one
        for one in journals
        if one.target == target
        and (
            (one.messages == messages and one.content == content)
            or (0 < one.sent <= messages and prefixes.get(one.sent) == one.sent_content)
        )
    ]
    return max(fits, key=lambda one: one.sent, default=None)


class Journal:
    """The journal of one run of ``crl publish --file``."""

    def __init__(self, file: Path, target: str) -> None:
        name = f"{file.name}.{target}{SUFFIX}"
        self.path: Path | None = None
        for folder in (file.parent, _fallback()):
            with suppress(OSError):
                if folder != file.parent:
                    folder.mkdir(parents=True, exist_ok=True)
                    digest = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:8]
                    name = f"{file.name}.{digest}.{target}{SUFFIX}"
                with tempfile.NamedTemporaryFile(dir=folder):
                    self.path = folder / name
                break
        if self.path is None:
            say(
                f"no journal can be written in {file.parent} or {_fallback()}: "
                "if this run is interrupted, publishing the file again will double-count what has arrived"
            )

    def write(self, progress: Progress) -> None:
        """Write the journal atomically."""
        if self.path is not None:
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(progress), indent=1) + b"\n")
            beside.replace(self.path)


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep any other ``crl publish`` away from this file during the block."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        yield  # an unreadable file is reported when it is read
        return
    try:
        with suppress(OSError):  # some file systems have no locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"Another crl is publishing {file} right now.", hint="wait for it, or stop it: nothing is lost"
                ) from error
        yield
    finally:
        os.close(descriptor)


def _fallback() -> Path:
    return user_folder("XDG_DATA_HOME", ".local/share") / "published"
