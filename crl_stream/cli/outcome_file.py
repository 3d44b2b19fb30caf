"""Outcomes in a file or on standard input: JSON lines, compressed or not, read line by line as often as needed.

The worker's own decoder checks each line and names the first one that a worker would reject. Only one line and the
decompressor's state are kept in memory. Standard input is copied to a temporary file, because it is read twice.
"""

from __future__ import annotations

import difflib
import gzip
import io
import os
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

import msgspec

from crl_stream.cli.file_kinds import GZIP, HEAD, ZSTD, ZSTD_SKIPPABLE, other_kind
from crl_stream.core import messages as m
from crl_stream.core.identity import suggest_identifier
from crl_stream.errors import InvalidMessage, UsageError
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_unkeyed
from crl_stream.wire.strict_json import MAX_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BUFFER: Final = 1 << 18
_LONGEST: Final = 4 * MAX_BYTES
"""Maximum number of bytes read from a line; a line longer than ``MAX_BYTES`` is refused."""
_UNPACKING: Final = (OSError, EOFError, zlib.error, zstd.ZstdError)
_HINTS: Final = {
    reasons.DUPLICATE_KEY: "remove one of the two: readers disagree about which one counts",
    reasons.NOT_FINITE: "leave the field out if the value is unknown",
    reasons.NOT_UTF8: "write the file in UTF-8",
    reasons.NOT_JSON: "write one complete JSON object per line",
    reasons.OVERSIZE: "prompts and answers do not belong in an outcome: refer to them by an id",
}
_CONTRACT: Final = "topics/README.md describes every field; topics/examples has an example of each kind"


class Outcome(NamedTuple):
    """A line of a file, with its decoded message."""

    number: int
    """Line number, from 1, counting empty lines."""
    value: bytes
    """The line without surrounding white space."""
    key: bytes
    message: m.Invocation | m.Feedback


class OutcomeFile:
    """One file, or standard input; in hints, ``command`` is the end of a suggested pipeline."""

    def __init__(self, path: Path, command: str) -> None:
        self.path, self._command = path, command
        self.is_stdin = str(path) == "-"
        self.name = "standard input" if self.is_stdin else str(path)
        self._copy: IO[bytes] | None = None
        self._raw: IO[bytes] | None = None
        self._size = 0
        self.is_regular = not self.is_stdin and self._looked_at()

    def __enter__(self) -> Self:
        """Open the input; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary copy of standard input."""
        if self._copy is not None:
            self._copy.close()

    def _looked_at(self) -> bool:
        """Return whether the input can be read twice; raises ``UsageError`` if it cannot be read at all."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        if stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{self.path} is a folder.", hint=f"cat {self.path}/*.jsonl | {self._command}")
        if stat.S_ISBLK(found.st_mode) or (stat.S_ISCHR(found.st_mode) and not self._is_terminal_or_null()):
            raise UsageError(f"{self.path} is a device.", hint="name a file of JSON lines, or - for stdin")
        self._size = found.st_size
        return stat.S_ISREG(found.st_mode)

    def _is_terminal_or_null(self) -> bool:
        """Return whether the device is a terminal or ``/dev/null``; copying any other device might never end."""
        return self.path.samefile(os.devnull) or str(self.path.resolve()).startswith(("/dev/pts/", "/dev/tty"))

    def _unreadable(self, error: OSError) -> UsageError:
        if not isinstance(error, FileNotFoundError):
            return UsageError(
                f"{self.path} cannot be read: {error.strerror}.", hint="name a file of JSON lines, or - for stdin"
            )
        try:
            names = [entry.name for entry in self.path.parent.iterdir()]
        except OSError:
            names = []
        near = difflib.get_close_matches(self.path.name, names, n=1, cutoff=0.6)
        return UsageError(
            f"There is no file {self.path}.",
            hint=f"did you mean {self.path.parent / near[0]}?" if near else "name a file of JSON lines, or - for stdin",
        )

    # -- lines -------------------------------------------------------------------------------------
    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and text of each non-empty line; raises ``InvalidMessage`` for other kinds of file."""
        number = 0
        with self._opened() as raw:
            self._raw = raw
            packing = ""
            try:
                stream, packing = self._unpacked(raw)
                head = stream.peek(HEAD)[:HEAD]
                self._refuse_other_kinds(head)
                while whole := stream.readline(_LONGEST):
                    number += 1
                    if len(whole) == _LONGEST and not whole.endswith(b"\n"):
                        found = Rejected(reasons.OVERSIZE, f"longer than {_LONGEST} bytes; the limit is {MAX_BYTES}")
                        raise self._bad_line(number, whole, found)
                    if value := whole.strip():
                        yield number, value
            except InvalidMessage:
                raise
            except _UNPACKING as error:
                raise self._broken(error, packing, number) from error

    def outcomes(self) -> Iterator[Outcome]:
        """Yield every message; raises ``InvalidMessage``, naming the first line that a worker would reject."""
        for number, value in self.lines():
            key, message = decode_unkeyed(value)
            if type(message) is not m.Invocation and type(message) is not m.Feedback:
                raise self._bad_line(number, value, message)
            yield Outcome(number, value, key, message)

    def progress(self) -> tuple[int, int]:
        """Return the bytes read so far and the size of the file."""
        return (self._raw.tell(), self._size) if self._raw is not None and not self._raw.closed else (1, 1)

    def _opened(self) -> IO[bytes]:
        if self.is_regular:
            try:
                return self.path.open("rb", buffering=_BUFFER)
            except OSError as error:
                raise self._unreadable(error) from error
        if self._copy is None:
            self._copy = tempfile.TemporaryFile("w+b", buffering=_BUFFER)  # noqa: SIM115 - open as long as this object
            try:
                source: IO[bytes] = sys.stdin.buffer if self.is_stdin else self.path.open("rb")
                shutil.copyfileobj(source, self._copy, _BUFFER)
            except OSError as error:
                raise UsageError(
                    f"{self.name} cannot be copied to {tempfile.gettempdir()}: {error.strerror}.",
                    hint="set TMPDIR to a folder with more space",
                ) from error
            self._size = self._copy.tell()
        self._copy.seek(0)
        return io.BufferedReader(_Borrowed(self._copy), _BUFFER)

    def _unpacked(self, raw: IO[bytes]) -> tuple[io.BufferedReader, str]:
        assert isinstance(raw, io.BufferedReader)
        head = raw.peek(4)[:4]
        if head[:2] == GZIP:
            return io.BufferedReader(gzip.GzipFile(fileobj=raw), _BUFFER), "gzip"
        if head == ZSTD or ZSTD_SKIPPABLE.fullmatch(head):
            return io.BufferedReader(zstd.ZstdFile(raw), _BUFFER), "zstd"
        return raw, ""

    # -- what is wrong -----------------------------------------------------------------------------
    def _refuse_other_kinds(self, head: bytes) -> None:
        if not head and not self.is_stdin:
            raise InvalidMessage(
                f"{self.name} is empty.", hint="was it written completely? expected: one JSON object per line"
            )
        if (found := other_kind(head)) is None:
            return
        hint = "export it as JSON lines, one object per line"
        if found.convert is not None:
            packed = self.path.suffix in {".gz", ".zst"} and "archive inside" not in found.what
            file = "" if self.is_stdin or packed else str(self.path)
            before = f"{'gunzip' if self.path.suffix == '.gz' else 'zstd -d'} -c {self.path} | " if packed else ""
            convert = " ".join(found.convert.replace("< {}", f"< {file}" if file else "").format(file).split())
            hint = f"{before}{convert} | {self._command}"
        raise InvalidMessage(f"{self.name} is {found.what}, not JSON lines.", hint=hint)

    def _broken(self, error: Exception, packing: str, number: int) -> InvalidMessage:
        where = f"after line {number}" if number else "before its first line ends"
        if not packing:
            return InvalidMessage(
                f"{self.name} cannot be read {where}: {error}.", hint="copy it to another disk and read it there"
            )
        if isinstance(error, EOFError):
            return InvalidMessage(
                f"{self.name} is truncated: its {packing} archive ends {where}.",
                hint="fetch or create it again; nothing in it was used",
            )
        return InvalidMessage(
            f"{self.name} is damaged: its {packing} archive cannot be unpacked {where} ({error}).",
            hint="fetch or create it again; nothing in it was used",
        )

    def _bad_line(self, number: int, value: bytes, found: Any) -> InvalidMessage:
        place = f"{self.name}, line {number}"
        if not isinstance(found, Rejected):
            return InvalidMessage(
                f"{place}: only workers write {found.__struct_config__.tag}.",
                hint="a file holds outcomes and feedback; send commands with crl undo, crl hold and the like",
            )
        hint = _HINTS.get(found.reason, _CONTRACT)
        if found.reason == reasons.BAD_IDENTIFIER:
            hint = _better_name(value, found.detail.partition(":")[0]) or hint
        elif value.startswith(b"\xef\xbb\xbf"):
            hint = "remove the byte order mark in the line; it comes from joining files"
        return InvalidMessage(f"{place}: {found.detail}.", hint=hint)


class _Borrowed(io.RawIOBase):
    """A file that stays open when its reader is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


def _better_name(value: bytes, field: str) -> str | None:
    try:
        text = msgspec.json.decode(value).get(field)
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError):
        return None
    if not isinstance(text, str):
        return None
    return f"write {suggest_identifier(text)!r} (1 to 128 letters, digits or . _ : -)"
