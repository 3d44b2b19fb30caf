"""Files of JSON lines, compressed or not. The error for any other kind of file names the kind and how to convert it."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import invocations
from hypothesis import given
from hypothesis import strategies as st
from wire.messages import invocations as any_invocation

from crl_stream.cli.outcome_file import OutcomeFile
from crl_stream.core import messages as m
from crl_stream.errors import CrlError, InvalidMessage
from crl_stream.wire.codec import Rejected, decode_logged, encode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GOOD = b"".join(encode(message) + b"\n" for message in invocations("default", "SSF"))
LINE = GOOD.splitlines()[0]


def read(path: Path) -> list[m.Invocation | m.Feedback]:
    return [one.message for one in OutcomeFile(path, "crl publish -f -").outcomes()]


def written(folder: Path, content: bytes, name: str = "outcomes.jsonl") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def refusal(folder: Path, content: bytes, name: str = "outcomes.jsonl") -> CrlError:
    with pytest.raises(CrlError) as caught:
        read(written(folder, content, name))
    assert caught.value.exit_code == 2 and caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: data,
        gzip.compress,
        zstd.compress,
        lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),  # the output of `cat a.gz b.gz`
        lambda data: zstd.compress(data[:100]) + zstd.compress(data[100:]),
        lambda data: b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstd.compress(data),  # as written by pzstd
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\n\n \t\n"),
        lambda data: data.rstrip(b"\n"),
    ],
)
def test_packed_or_not_and_however_lines_end_the_messages_are_the_same(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    assert [message.status for message in read(written(tmp_path, pack(GOOD)))] == ["success", "success", "failure"]


@pytest.mark.parametrize("name", ["outcomes.jsonl", "outcomes.gz", "outcomes.zst", "outcomes.csv"])
def test_the_content_decides_what_a_file_is_and_not_its_name(name: str, tmp_path: Path) -> None:
    assert len(read(written(tmp_path, gzip.compress(GOOD), name))) == 3


@pytest.mark.parametrize(
    ("content", "what", "way_out"),
    [
        (b"\xef\xbb\xbf" + GOOD, "byte order mark", "tail -c +4 {} | crl publish -f -"),
        (GOOD.decode().encode("utf-16"), "UTF-16", "iconv -f UTF-16 -t UTF-8 {} | crl publish -f -"),
        (GOOD.decode().encode("utf-16-be"), "UTF-16", "iconv -f UTF-16BE"),
        (GOOD.decode().encode("utf-32"), "UTF-32", "iconv -f UTF-32"),
        (b"[" + b",".join(GOOD.splitlines()) + b"]", "one JSON array", "jq -c '.[]' {} | crl publish -f -"),
        (b"\n [\n" + LINE + b"\n]", "one JSON array", "jq -c"),
        (json.dumps(json.loads(LINE), indent=2).encode(), "over several lines", "jq -c . {} |"),
        (b"invocation_id,status\n1,success\n", "a table (CSV)", "mlr --icsv --ojsonl cat {} | crl publish -f -"),
        (b"invocation_id\tstatus\n1\tsuccess\n", "a table (CSV)", "mlr --itsv"),
        (b'"invocation_id";"status"\n', "a table (CSV)", "--ifs semicolon"),
        (b"BZh91AY&SY", "a bzip2 archive", "bzip2 -dc {} |"),
        (b"\xfd7zXZ\x00\x00", "an xz archive", "xz -dc {} |"),
        (b"\x04\x22\x4d\x18abc", "an lz4 archive", "lz4 -dc {} |"),
        (b"PK\x03\x04abc", "a ZIP archive or a spreadsheet", "unzip -p {} |"),
        (gzip.compress(gzip.compress(GOOD)), "an archive inside an archive", "gunzip -c {} | gunzip -c |"),
        (gzip.compress(b"name" + bytes(253) + b"ustar"), "a tar archive", "tar -xOf"),
        (b"PAR1\x15\x04", "a Parquet file", "JSON lines"),
        (bytes(range(256)), "a binary file", "JSON lines"),
        (b"<!DOCTYPE html>\n", "HTML", "JSON lines"),
        (b"- status: success\n", "YAML", "yq"),
        (LINE + b"\r" + LINE, "carriage returns", "tr '\\r' '\\n' < {} |"),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_way_out(
    content: bytes, what: str, way_out: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path, content)
    assert what in error.message and "not JSON lines" in error.message
    assert error.hint is not None and way_out.format(tmp_path / "outcomes.jsonl") in error.hint


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/urandom"])
def test_a_device_is_named_and_not_copied_until_the_disk_is_full(path: str) -> None:
    with pytest.raises(CrlError, match="is a device"):
        read(Path(path))


def test_a_disk_that_fails_at_the_first_byte_is_named() -> None:
    with pytest.raises(CrlError, match="cannot be read before its first line ends"):
        read(Path("/proc/self/mem"))


def test_an_empty_file_a_folder_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    assert "is empty" in refusal(tmp_path, b"").message
    assert "is empty" in refusal(tmp_path, gzip.compress(b"")).message
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "outcomes.json", "There is no file")):
        with pytest.raises(CrlError, match=said) as caught:
            read(path)
        assert caught.value.hint is not None and ".jsonl" in caught.value.hint


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_an_archive_that_is_cut_off_or_damaged_says_so(
    pack: Callable[[bytes], bytes], keep: float, tmp_path: Path
) -> None:
    packed = pack(b"".join(encode(message) + b"\n" for message in invocations("default", "SF" * 2_000)))
    error = refusal(tmp_path, packed[: int(len(packed) * keep)])
    assert "is truncated" in error.message
    middle = len(packed) // 2
    error = refusal(tmp_path, packed[:middle] + bytes(64) + packed[middle + 64 :])
    assert "is damaged" in error.message or "line" in error.message


def test_a_line_without_end_in_an_archive_takes_no_memory(tmp_path: Path) -> None:
    """200 MB of spaces compress to 200 KB."""
    file = tmp_path / "bomb.gz"
    with gzip.open(file, "wb", compresslevel=9) as out:
        out.write(LINE + b"\n{")
        for _ in range(200):
            out.write(b" " * 1_000_000)
    tracemalloc.start()
    with pytest.raises(InvalidMessage, match=r"line 2: .*the limit is 65536"):
        read(file)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


# -- as strict as a worker --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LINE.replace(b'"status"', b'"status":"failure","status"'), "status: the field appears twice"),
        (LINE[:-1] + b',"more":{"a":1,"a":2}}', "a: the field appears twice"),
        (LINE[:-1] + b',"quality":NaN}', "NaN is not a finite number"),
        (LINE[:-1] + b',"quality":1e999}', "is too large for a double"),
        (LINE[:-1] + b',"quality":"0.5"}', "quality: expected a number or null"),
        (LINE[:-1] + b',"role":"canary"}', "role: expected one of live, shadow"),
        (LINE.replace(b'"success"', b'"sucess"'), "status: expected one of"),
        (LINE.replace(b'"default"', b'"' + b"x" * 129 + b'"'), "variant_id: expected 1 to 128 characters"),
        (LINE.replace(b'"default"', b'"\xff"'), "is not valid UTF-8"),
        (LINE.replace(b'"default"', b'"\\ud800"'), "half a surrogate pair"),
        (LINE[:-1] + b',"type":"command_ref"}', "line 3"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (LINE + LINE, "Extra data"),
    ],
)
def test_what_the_worker_would_make_a_dead_letter_is_refused_with_its_line(
    line: bytes, said: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, LINE + b"\n\n" + line + b"\n" + LINE + b"\n").message
    assert "line 3" in message and said in message


def test_a_name_that_is_no_identifier_is_answered_with_one_that_is(tmp_path: Path) -> None:
    error = refusal(tmp_path, LINE.replace(b'"default"', b'"openai/gpt-4o"'))
    assert error.hint is not None and "write 'openai-gpt-4o'" in error.hint


def test_only_the_inlet_writes_references_to_commands(tmp_path: Path) -> None:
    ref = m.CommandRef(
        schema_version=1,
        partition=0,
        offset=0,
        command_id="c",
        sha256="0" * 64,
        agent_name="backend-architect",
        task_type="api-design",
    )
    assert "inlet" in refusal(tmp_path, encode(ref)).message


@given(st.one_of(any_invocation.map(encode), st.binary(max_size=80), st.sampled_from([LINE[:-1], LINE + b"x"])))
def test_a_line_is_taken_exactly_when_the_worker_takes_it(value: bytes) -> None:
    value = value.replace(b"\n", b" ").strip()
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), LINE + b"\n" + value)
        try:
            taken = read(path)[1:]
        except CrlError:
            taken = None
    if not value:
        assert taken == []
        return
    try:
        names = json.loads(value)
        key = f"{names['agent_name']}/{names['task_type']}".encode()
    except (ValueError, TypeError, KeyError, UnicodeEncodeError):
        key = b"-/-"
    expected = decode_logged(value, key)
    assert taken == (None if isinstance(expected, Rejected | m.CommandRef) else [expected])


# -- standard input --------------------------------------------------------------------------------
class _Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, zstd.compress])
def test_standard_input_is_read_as_often_as_it_is_wanted_packed_or_not(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(pack(GOOD)))
    with OutcomeFile(Path("-"), "crl publish -f -") as source:
        assert [len(list(source.outcomes())) for _ in range(3)] == [3, 3, 3]


def test_the_way_out_of_standard_input_is_a_link_of_its_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(b"[" + LINE + b"]"))
    with (
        OutcomeFile(Path("-"), "crl replay -") as source,
        pytest.raises(InvalidMessage, match="standard input is one JSON array") as caught,
    ):
        list(source.outcomes())
    assert caught.value.hint == "jq -c '.[]' | crl replay -"
