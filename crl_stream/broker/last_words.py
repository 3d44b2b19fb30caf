"""Explains in one sentence why a broker has ended, based on its log, the Java runtime's output, and the disk.

The disk is checked because Kafka cannot log that the disk is full when its log is on the same disk.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Final

from crl_stream.broker.configuration import LOG, OUTPUT
from crl_stream.errors import BrokerError, PortTaken

OTHER_FOLDER: Final = "use another folder: `crl --set broker.data_dir=FOLDER ...` or CRL_BROKER_DATA_DIR"
_TAIL: Final = 1 << 17
"""Number of bytes read from the end of a log."""
_FULL: Final = 4 << 20
"""A disk with fewer free bytes than this counts as full."""

_CAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        r"No space left on device|Disk quota exceeded",
        "Kafka has no space left for its data in {folder}",
        f"free some space (existing data is kept), or {OTHER_FOLDER}",
    ),
    (
        r"Read-only file system|ReadOnlyFileSystemException|AccessDeniedException|Permission denied",
        "Kafka cannot write to its folder {folder}",
        f"make it writable for this user, or {OTHER_FOLDER}",
    ),
    (
        r"Address already in use|Failed to bind|BindException",
        "Another program has taken Kafka's port",
        "start again to use a free port, unless broker.port is set; `ss -ltnp` shows which program has the port",
    ),
    (
        r"OutOfMemoryError|GC overhead limit",
        "Kafka's heap is full",
        "give it more with `crl --set broker.heap_mb=1024 ...` or CRL_BROKER_HEAP_MB",
    ),
    (
        r"insufficient memory for the Java Runtime|Could not reserve enough space|Cannot allocate memory",
        "This machine has too little free memory for Kafka",
        "free some memory, or give Kafka less with CRL_BROKER_HEAP_MB (at least 256)",
    ),
    (
        r"Too many open files",
        "Kafka has reached its limit of open files",
        "raise the limit (`ulimit -n 65536`) and start again",
    ),
    (
        (
            r"Invalid cluster\.id|InconsistentClusterIdException|InconsistentBrokerMetadata|UnsupportedVersionException"
            r"|Unknown metadata\.version|metadata\.version.*(?:not supported|unknown)"
            r"|No (?:readable )?meta\.properties|Stored node id|unsupported (?:meta\.)?properties version"
        ),
        "The data in {folder} belongs to another Kafka cluster or another version of Kafka",
        f"start the version that wrote it, or {OTHER_FOLDER}",
    ),
    (
        r"CorruptRecordException|CorruptIndexException|is corrupt",
        "The data in {folder} is damaged",
        f"restore it from a backup, or {OTHER_FOLDER}",
    ),
    (
        r"UnsupportedClassVersionError|Unrecognized VM option|Could not create the Java Virtual Machine",
        "The Java runtime cannot run Kafka",
        "set JAVA_HOME to Java 17 or newer, or unset it to use the packaged runtime",
    ),
)
"""Patterns in the order they are tried, each with its sentence and hint."""


def explain(folder: Path, code: int | None, since: int = 0) -> BrokerError:
    """Return why the broker of ``folder`` has ended with exit code ``code`` (None: unknown).

    ``since`` is the size that its log had when the broker was started.
    """
    log = folder / LOG
    if code is not None and code < 0:
        # A signal ended the broker, so errors in its log are not the reason.
        why = "; the system does that when memory runs out" if -code == signal.SIGKILL else ""
        return BrokerError(
            f"Kafka was terminated by {_name_of(-code)}{why}.", hint=f"see {log}, and `dmesg` for what the system did"
        )
    text = _end_of(folder / OUTPUT, 0) + "\n" + _end_of(log, since)
    for pattern, sentence, hint in _CAUSES:
        if re.search(pattern, text) or (pattern.startswith("No space") and _is_full(folder)):
            kind = PortTaken if "BindException" in pattern else BrokerError
            return kind(f"{sentence.format(folder=folder)}.", hint=f"{hint}; see {log}")
    if _is_read_only(folder):
        return BrokerError(f"{_CAUSES[1][1].format(folder=folder)}.", hint=f"{_CAUSES[1][2]}; see {log}")
    return BrokerError(
        f"Kafka ended{'' if code is None else f' with code {code}'}: {_last_complaint(text)}",
        hint=f"see {log}; `crl broker start --ephemeral` starts with an empty folder",
    )


def size_of_log(folder: Path) -> int:
    """Return the current size of the log; the lines of the next start begin there."""
    try:
        return (folder / LOG).stat().st_size
    except OSError:
        return 0


def _end_of(path: Path, since: int) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            # A file that is now shorter than ``since`` was rotated, so everything in it is new.
            file.seek(max(since if since <= size else 0, size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _last_complaint(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [line for line in lines if re.search(r"\b(?:ERROR|FATAL)\b|Exception|Error:", line)]
    found = complaints[-1:] or lines[-1:]
    return found[0][:300] if found else "it logged nothing."


def _is_full(folder: Path) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _FULL


def _is_read_only(folder: Path) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
