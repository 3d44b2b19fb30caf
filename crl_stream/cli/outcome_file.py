"""Outcomes in a file or on standard input: JSON lines, packed or not, read line by line as often as they are wanted.

What the worker would not take is refused with the line, by the decoder of the worker.  Memory holds one line, and what
a decompressor needs; standard input is copied to a temporary file, since it is read twice.
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
"""Bytes of a line; what is longer than ``MAX_BYTES`` is refused, and this much of it is looked at."""
_UNPACKING: Final = (OSError, EOFError, zlib.error, zstd.ZstdError)
_HINTS: Final = {
    reasons.DUPLICATE_KEY: "leave one of the two out: readers disagree about which one counts",
    reasons.NOT_FINITE: "leave the field out when the figure is unknown",
    reasons.NOT_UTF8: "write the file in UTF-8",
    reasons.NOT_JSON: "every line is one JSON object, complete on its line",
    reasons.OVERSIZE: "prompts and answers do not belong into an outcome: name them by an id",
}
_CONTRACT: Final = "topics/README.md describes every field, topics/examples has a line of each kind"


class Outcome(NamedTuple):
    """A line that is a message."""

    number: int
    """Number of the line, from 1 on, empty lines included."""
    value: bytes
    """The line without white space around it."""
    key: bytes
    message: m.Invocation | m.Feedback


class OutcomeFile:
    """One file, or standard input; ``command`` is what a hint tells people to pipe into."""

    def __init__(self, path: Path, command: str) -> None:
        self.path, self._command = path, command
        self.is_stdin = str(path) == "-"
        self.name = "standard input" if self.is_stdin else str(path)
        self._copy: IO[bytes] | None = None
        self._raw: IO[bytes] | None = None
        self._size = 0
        self.is_regular = not self.is_stdin and self._looked_at()

    def __enter__(self) -> Self:
        """What is read is let go of at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the copy of standard input."""
        if self._copy is not None:
            self._copy.close()

    def _looked_at(self) -> bool:
        """Whether it can be read twice; ``UsageError`` when it cannot be read at all."""
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
        """Other devices may have no end, and what cannot be read twice is copied first."""
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
        """Number and text of every line with something on it; ``InvalidMessage`` when it is another kind or cut off."""
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
                        found = Rejected(reasons.OVERSIZE, f"above {_LONGEST} bytes; at most {MAX_BYTES} are read")
                        raise self._bad_line(number, whole, found)
                    if value := whole.strip():
                        yield number, value
            except InvalidMessage:
                raise
            except _UNPACKING as error:
                raise self._broken(error, packing, number) from error

    def outcomes(self) -> Iterator[Outcome]:
        """Every message; ``InvalidMessage`` names the first line that the worker would not take."""
        for number, value in self.lines():
            key, message = decode_unkeyed(value)
            if type(message) is not m.Invocation and type(message) is not m.Feedback:
                raise self._bad_line(number, value, message)
            yield Outcome(number, value, key, message)

    def progress(self) -> tuple[int, int]:
        """Bytes that are read, and all there are."""
        return (self._raw.tell(), self._size) if self._raw is not None and not self._raw.closed else (1, 1)

    def _opened(self) -> IO[bytes]:
        if self.is_regular:
            try:
                return self.path.open("rb", buffering=_BUFFER)
            except OSError as error:
                raise self._unreadable(error) from error
        if self._copy is None:
            self._copy = tempfile.TemporaryFile("w+b", buffering=_BUFFER)  # noqa: SIM115 - as long as this object
            try:
                source: IO[bytes] = sys.stdin.buffer if self.is_stdin else self.path.open("rb")
                shutil.copyfileobj(source, self._copy, _BUFFER)
            except OSError as error:
                raise UsageError(
                    f"{self.name} cannot be copied to {tempfile.gettempdir()}: {error.strerror}.",
                    hint="TMPDIR names a folder with more room",
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
                f"{self.name} is empty.", hint="was it written completely? one JSON object a line is expected"
            )
        if (found := other_kind(head)) is None:
            return
        hint = "export it as JSON lines, one object a line"
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
            return InvalidMessage(f"{self.name} cannot be read {where}: {error}.", hint="read it from another place")
        if isinstance(error, EOFError):
            return InvalidMessage(
                f"{self.name} is cut off: its {packing} archive ends {where}.",
                hint="fetch or make it again; nothing of it was used",
            )
        return InvalidMessage(
            f"{self.name} is damaged: its {packing} archive cannot be unpacked {where} ({error}).",
            hint="fetch or make it again; nothing of it was used",
        )

    def _bad_line(self, number: int, value: bytes, found: Any) -> InvalidMessage:
        place = f"{self.name}, line {number}"
        if not isinstance(found, Rejected):
            return InvalidMessage(
                f"{place}: {found.__struct_config__.tag} is written by workers only.",
                hint="a file holds outcomes and feedback; commands have commands of crl",
            )
        hint = _HINTS.get(found.reason, _CONTRACT)
        if found.reason == reasons.BAD_IDENTIFIER:
            hint = _better_name(value, found.detail.partition(":")[0]) or hint
        elif value.startswith(b"\xef\xbb\xbf"):
            hint = "a byte order mark stands in the line: files were joined; remove it"
        return InvalidMessage(f"{place}: {found.detail}.", hint=hint)


class _Borrowed(io.RawIOBase):
    """A file that is not closed with its reader."""

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
    return f"write {suggest_identifier(text)!r}: letters, digits and . _ : - only, 1 to 128 of them"
