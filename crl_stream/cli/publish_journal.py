"""How much of a file Kafka has taken, kept beside the file, so that publishing it again goes on instead of over.

A journal belongs to a content and a cluster, not to a name: it is found whatever the file is called now, as long as it
lies in the same folder, and the file may have grown since.
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
    """What was sent of a file, to one cluster."""

    file: str
    target: str
    """``target_of`` the cluster and its topics."""
    messages: int
    """In the whole file."""
    content: str
    """Hash of all of them."""
    sent: int
    """Messages from the first on that Kafka has acknowledged."""
    sent_content: str
    """Hash of those."""
    at: str
    offsets: dict[str, int] = {}
    """By partition: where those that were sent later may stand, if any were."""
    settled: bool = False
    """Whether nothing was under way when this was written."""

    @property
    def complete(self) -> bool:
        """Whether Kafka has the whole file."""
        return self.sent == self.messages


def target_of(cluster_id: str, topic: str) -> str:
    """A short name for one topic of one cluster."""
    return hashlib.sha256(f"{cluster_id}/{topic}".encode()).hexdigest()[:8]


def journals_near(file: Path) -> list[Progress]:
    """Every journal that may be of this file: those in its folder, and those of folders that cannot be written."""
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
    """The journal that is furthest in this content, at this target.

    ``prefixes`` are hashes of the first messages of the content, by how many they are.
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
    """The journal of one run."""

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
                f"no journal can be written, neither in {file.parent} nor in {_fallback()}: "
                "if this is interrupted, publishing the file again counts twice what has arrived"
            )

    def write(self, progress: Progress) -> None:
        """Keep it; a reader never sees half of it."""
        if self.path is not None:
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(progress), indent=1) + b"\n")
            beside.replace(self.path)


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep a second ``crl publish`` from the same file while the block runs."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        yield  # that it cannot be read is said by who reads it
        return
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"Another crl is publishing {file} at this moment.", hint="wait for it, or end it: nothing is lost"
                ) from error
        yield
    finally:
        os.close(descriptor)


def _fallback() -> Path:
    return user_folder("XDG_DATA_HOME", ".local/share") / "published"
