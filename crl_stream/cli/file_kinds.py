"""Recognises files that are not JSON lines by their first bytes, and names the command that converts them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""The start of a skippable zstd frame, which some programs write before the data."""
HEAD: Final = 4_096
"""Number of leading bytes that are enough to recognise the kind of a file."""


class OtherKind(NamedTuple):
    """The kind of a file that is not JSON lines."""

    what: str
    convert: str | None
    """A shell command that writes JSON lines; ``{}`` is the file. None if there is no common command."""


_MAGIC: Final = (
    (b"\xff\xfe\x00\x00", "text in UTF-32", "iconv -f UTF-32 -t UTF-8 {}"),
    (b"\x00\x00\xfe\xff", "text in UTF-32", "iconv -f UTF-32 -t UTF-8 {}"),
    (b"\xff\xfe", "text in UTF-16", "iconv -f UTF-16 -t UTF-8 {}"),
    (b"\xfe\xff", "text in UTF-16", "iconv -f UTF-16 -t UTF-8 {}"),
    (b"\xef\xbb\xbf", "UTF-8 with a byte order mark, which JSON must not have", "tail -c +4 {}"),
    (b"BZh", "a bzip2 archive", "bzip2 -dc {}"),
    (b"\xfd7zXZ\x00", "an xz archive", "xz -dc {}"),
    (b"\x04\x22\x4d\x18", "an lz4 archive", "lz4 -dc {}"),
    (b"\xff\x06\x00\x00sNaPpY", "a snappy archive", "snzip -dc {}"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet", "unzip -p {}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x -so {}"),
    (GZIP, "an archive inside an archive", "gunzip -c {} | gunzip -c"),
    (ZSTD, "an archive inside an archive", "zstd -dc {} | zstd -dc"),
    (b"PAR1", "a Parquet file", None),
    (b"Obj\x01", "an Avro file", None),
    (b"ORC", "an ORC file", None),
    (b"SQLite format 3\x00", "an SQLite database", None),
    (b"%PDF", "a PDF document", None),
    (b"\x7fELF", "a program", None),
)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_SEPARATORS: Final = (
    (b"\t", "--itsv"),
    (b";", "--icsv --ifs semicolon"),
    (b",", "--icsv"),
    (b"|", "--icsv --ifs pipe"),
)


def other_kind(head: bytes) -> OtherKind | None:
    """Return the kind of a file that begins with ``head``; None if it may be JSON lines."""
    for magic, what, convert in _MAGIC:
        if head.startswith(magic):
            return OtherKind(what, convert)
    if head[257:262] == b"ustar":
        return OtherKind("a tar archive", "tar -xOf {}")
    if head[:2] in {b"{\x00", b"[\x00"}:
        return OtherKind("text in UTF-16", "iconv -f UTF-16LE -t UTF-8 {}")
    if head[:2] in {b"\x00{", b"\x00["}:
        return OtherKind("text in UTF-16", "iconv -f UTF-16BE -t UTF-8 {}")
    text = head.lstrip()
    first = text.split(b"\n", 1)[0].rstrip()
    if b"\x00" in head or len(_CONTROL.findall(head)) > len(head) // 10:
        # A file with a single odd character gets an error about its line, but this file is not text at all.
        return OtherKind("a binary file", None) if not text.startswith(b"{") else None
    if text.startswith(b"["):
        return OtherKind("one JSON array", "jq -c '.[]' {}")
    if first == b"{" and b"\n" in text:
        return OtherKind("JSON spread over several lines", "jq -c . {}")
    if text.startswith(b"{"):
        if b"\r" in first and b"\n" not in head:
            return OtherKind("text whose lines end with carriage returns", "tr '\\r' '\\n' < {}")
        return None
    if first.lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return OtherKind("a page of HTML or XML", None)
    if first.startswith((b"---", b"- ")) or re.match(rb"[A-Za-z_]+: ", first):
        return OtherKind("YAML", "yq -o=json -I=0 '.[]' {}")
    for separator, options in _SEPARATORS:
        if separator in first and not first.startswith(b'"{'):
            return OtherKind("a table (CSV)", f"mlr {options} --ojsonl cat {{}}")
    return None
