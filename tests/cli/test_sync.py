"""``crl sync``: what it writes, and that a reader always finds a whole file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from client.silent_kafka import an_active_variant, use_silent_kafka
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.structs import replace
from source_tree import ROOT, environment_of_this_checkout

from cli.program import Program
from crl_stream.cli.sync import command
from crl_stream.cli.sync.documents import flagd, plain, without_configuration
from crl_stream.cli.sync.follower import stopped
from crl_stream.cli.sync.yaml_text import yaml_of
from crl_stream.cli.whole_file import WholeFile
from crl_stream.client.following import View
from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT
from crl_stream.core.identity import TaskKey
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.codec import encode

KEY = TaskKey("refund-agent", "answer")
NAME = str(KEY)


def a_view(configurations: dict[str, Any], **active: Any) -> View:
    """Return a view with one task, whose variants have these configurations."""
    who = {"agent_name": KEY.agent_name, "task_type": KEY.task_type}
    record = an_active_variant(**who, **active)
    variants = [
        m.RegisteredVariant(variant_id=name, state="registered", quarantined=False, configuration=configuration)
        for name, configuration in configurations.items()
    ]
    catalogue = m.VariantCatalogue(
        **who,
        timestamp="2026-01-01T00:00:00Z",
        variants=variants,
        incarnation=record.incarnation,
        position=record.position,
    )
    return View({KEY: record}, {KEY: catalogue})


# -- the documents ---------------------------------------------------------------------------------
def test_the_plain_document_has_what_a_runtime_needs_to_choose_and_to_report() -> None:
    view = a_view({"v1": {"t": 1}, "v2": {"t": 2}}, variant_id="v1", epoch=7, weights={"v1": 900, "v2": 100})
    document = plain(view)
    assert (document["format"], document["version"]) == ("crl-sync", 1)
    task = document["tasks"][NAME]
    assert (task["variant_id"], task["epoch"], task["weights"]) == ("v1", 7, {"v1": 900, "v2": 100})
    assert task["variants"]["v2"] == {"state": "registered", "configuration": {"t": 2}}
    assert task["rollback_id"] == task_cause(view)


def test_the_plain_document_and_its_yaml_fit_the_schema_in_the_docs() -> None:
    schema = json.loads((ROOT / "docs" / "sync.v1.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    full = a_view({"v1": {"t": 1}, "v2": None}, variant_id="v1", weights={"v1": 900, "v2": 100})
    for view in (full, a_view({}, weights=None), View({}, {})):
        Draft202012Validator(schema).validate(plain(view))
        assert yaml.safe_load(yaml_of(plain(view))) == plain(view)
    task = schema["$defs"]["task"]
    assert task["properties"].keys() == plain(full)["tasks"][NAME].keys(), "every field is described"


def task_cause(view: View) -> str:
    (record,) = view.active.values()
    assert record.cause == "rollback"
    return record.cause_id


def test_drills_are_in_no_file() -> None:
    view = a_view({"v1": {}}, variant_id="v1")
    drill = TaskKey(DRILL_AGENT, "p0")
    record = an_active_variant(agent_name=DRILL_AGENT, task_type="p0")
    both = View({**view.active, drill: record}, view.known)
    assert plain(both) == plain(view) and flagd(both) == flagd(view)


def test_flagd_gets_an_object_flag_and_a_string_flag_for_each_task() -> None:
    flags = flagd(a_view({"v1": {"t": 1}, "v2": {"t": 2}}, variant_id="v1", weights=None))["flags"]
    assert flags[NAME]["variants"] == {"v1": {"t": 1}, "v2": {"t": 2}}
    assert flags[f"{NAME}/variant"]["variants"] == {"v1": "v1", "v2": "v2"}
    assert {flag["defaultVariant"] for flag in flags.values()} == {"v1"}
    assert all("targeting" not in flag for flag in flags.values())
    assert {(flag["metadata"]["active_variant"], flag["metadata"]["epoch"]) for flag in flags.values()} == {("v1", 3)}


def test_without_a_configuration_flagd_answers_the_agents_own_default_instead_of_an_empty_object() -> None:
    view = a_view({"v1": None, "v2": {"t": 2}}, variant_id="v1", weights=None)
    assert list(flagd(view)["flags"]) == [f"{NAME}/variant"]
    assert without_configuration(view) == [NAME]


def test_a_candidate_without_a_configuration_leaves_its_share_of_the_object_flag_to_the_active_variant() -> None:
    view = a_view({"v1": {"t": 1}, "v2": None}, variant_id="v1", weights={"v1": 600, "v2": 400})
    flags = flagd(view)["flags"]
    assert flags[NAME]["targeting"]["if"][1]["fractional"][1:] == [["v1", 1000]]
    assert flags[f"{NAME}/variant"]["targeting"]["if"][1]["fractional"][1:] == [["v2", 400], ["v1", 600]]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=st.dictionaries(st.text(), _JSON))
def test_the_yaml_text_of_any_json_value_is_read_as_this_value(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_of(value)) == value


# -- the file --------------------------------------------------------------------------------------
CONTENTS = (b"a" * 1_500_000, b"b" * 1_700_000)
_WRITES = """
import sys
from pathlib import Path
from crl_stream.cli.sync.follower import stopped
from crl_stream.cli.whole_file import WholeFile
contents = b"a" * 1_500_000, b"b" * 1_700_000
print("ready", flush=True)
while True:
    for content in contents:
        WholeFile(Path(sys.argv[1])).replace(content)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_reader_that_reads_all_the_time_never_finds_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "variants.json"
    path.write_bytes(CONTENTS[0])
    done, seen = threading.Event(), set[bytes]()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    file = WholeFile(path)
    for number in range(60):
        file.replace(CONTENTS[number % 2])
    done.set()
    reader.join()
    assert seen == set(CONTENTS)
    assert names(tmp_path) == ["variants.json"]


def test_a_writer_that_is_killed_leaves_a_whole_file_and_the_next_one_removes_what_it_left(tmp_path: Path) -> None:
    path, leftovers = tmp_path / "variants.json", 0
    path.write_bytes(CONTENTS[0])
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITES, str(path)], env=environment_of_this_checkout(), stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        until = time.monotonic() + 10.0
        while len(names(tmp_path)) == 1 + leftovers and time.monotonic() < until:
            pass  # the writer has not begun to write a new file
        writer.kill()
        writer.wait()
        writer.stdout.close()
        leftovers = len(names(tmp_path)) - 1
        assert path.read_bytes() in CONTENTS
    assert leftovers > 0, "no writer was killed while it wrote"
    stranger = tmp_path / ".variants.json.mine.crl-part"
    stranger.touch()
    WholeFile(path).remove_leftovers()
    assert names(tmp_path) == [stranger.name, path.name]


def test_a_symbolic_link_and_the_mode_of_the_file_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    WholeFile(link).replace(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new" and real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("place", ["missing/variants.json", ".", "/"])
def test_a_file_that_cannot_be_written_is_one_line_with_a_hint_before_kafka_is_asked(
    tmp_path: Path, place: str
) -> None:
    done = Program(tmp_path).run("--set", "kafka.bootstrap_servers=127.0.0.1:1", "sync", "--to", str(tmp_path / place))
    sentence, hint = done.err.splitlines()
    assert (done.code, done.out) == (2, "")
    assert "cannot be written" in sentence
    assert hint == "hint: --to names a file in a writable folder"


def test_without_kafka_once_says_so_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "variants.json"
    path.write_text("what it was")
    words = ("--set", "kafka.bootstrap_servers=127.0.0.1:1", "sync", "--to", str(path), "--once", "--timeout", "1")
    done = Program(tmp_path).run(*words)
    assert done.code == 69 and f"{path} was not changed" in done.err
    assert path.read_text() == "what it was"
    assert not any("crl-part" in name for name in names(tmp_path))


# -- following -------------------------------------------------------------------------------------
async def follow(settings: Settings, to: Path) -> asyncio.Task[None]:
    """Begin to keep a file up to date."""
    writer = command._Writer(to, "json")
    task = asyncio.create_task(command._sync(settings, writer, once=False, timeout=0.0))
    await until(to.exists)
    return task


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


def task_in(path: Path) -> Any:
    return json.loads(path.read_bytes())["tasks"][NAME]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(command, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(command, "_AGAIN_SECONDS", 0.1)
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path / "cache")}
    return load_settings(environment={}, flags=flags)


async def test_without_kafka_for_long_the_file_has_no_weights_because_an_abort_would_go_unnoticed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = a_view({}, variant_id="v1", weights={"v1": 900, "v2": 100}).active.values()
    kafka = use_silent_kafka(monkeypatch, record)
    monkeypatch.setattr(command, "STALE_SECONDS", 0.5)
    path = tmp_path / "variants.json"
    task = await follow(settings, path)
    assert task_in(path)["weights"] == {"v1": 900, "v2": 100}
    monkeypatch.setattr(kafka, "answers", False)
    await until(lambda: "weights" not in task_in(path))
    assert task_in(path)["variant_id"] == "v1"
    monkeypatch.setattr(kafka, "answers", True)
    monkeypatch.setattr(kafka, "first", 2)  # it reads the topics again
    await until(lambda: "weights" in task_in(path))
    await stopped(task)


async def test_a_write_that_fails_is_said_once_and_repeated_until_it_succeeds(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = a_view({}, variant_id="v1").active.values()
    kafka = use_silent_kafka(monkeypatch, record)
    path = tmp_path / "variants.json"
    task = await follow(settings, path)
    path.unlink()
    path.mkdir()
    later = replace(record, variant_id="v2", epoch=record.epoch + 1)
    monkeypatch.setattr(kafka, "records", [*kafka.records, encode(later)])
    said = ""

    def read() -> str:
        nonlocal said
        said += capsys.readouterr().err
        return said

    await until(lambda: "cannot be written" in read())
    path.rmdir()
    await until(path.exists)
    assert task_in(path)["variant_id"] == "v2"
    assert read().count("cannot be written") == 1
    await stopped(task)
