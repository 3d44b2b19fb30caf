"""``crl export`` from real topics: every record once, also after any interruption, and within a range of times."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import AGENT, TASK, a_collapse, an_invocation, invocations
from installation import Installation

from crl_stream.cli.export.exporting import to_file
from crl_stream.cli.export.lines import FORMATS
from crl_stream.cli.export.unfinished import Asked, Note, Unfinished
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import INVOCATIONS, ROLLBACKS

pytestmark = pytest.mark.integration


def documents(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def ids(found: Iterable[Any]) -> set[str]:
    return {one["message"]["invocation_id"] for one in found}


async def asked(installation: Installation, form: str) -> Asked:
    cluster = await installation.reader.cluster_id()
    return Asked("outcomes", form, None, None, None, None, cluster, installation.kafka.topic_prefix)


async def test_outcomes_events_and_proposals_are_exported_as_they_are_on_the_topics(installation: Installation) -> None:
    await installation.worker()
    collapse = a_collapse()
    for element in collapse:
        if isinstance(element, m.Invocation):
            await installation.publish(element)
        else:
            await installation.settled()
            await installation.order(element)
    await installation.publish(*invocations("one", "S" * 30, task_type="second"))
    await installation.settled()
    published = 30 + sum(isinstance(element, m.Invocation) for element in collapse)
    code, out, err = await installation.run_crl("export", "outcomes")
    assert code == 0, err
    assert f"stdout: {published} lines" in err
    there = [one for one in await installation.records(INVOCATIONS) if isinstance(one.message, m.Invocation)]
    found = documents(out)
    assert len(found) == len(there) == published
    assert {(one["partition"], one["offset"]): msgspec.convert(one["message"], m.Invocation) for one in found} == {
        (one.record.partition, one.record.offset): one.message for one in there
    }
    code, out, _ = await installation.run_crl("export", "outcomes", "--task", f"{AGENT}/second", "-f", "csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert {row["task_type"] for row in rows} == {"second"}
    assert len(rows) == 30
    code, out, err = await installation.run_crl("export", "events", "--agent", AGENT)
    assert code == 0, err
    kinds = {one["topic"] for one in documents(out)}
    assert "crl.decisions" in kinds
    assert sum(one["topic"] == ROLLBACKS for one in documents(out)) == len(await installation.records(ROLLBACKS)) > 0
    code, out, err = await installation.run_crl("export", "proposals", "-f", "csv")
    assert code == 0, err
    assert out.startswith("topic,partition,offset,appended_at,proposal_id,")


async def test_a_range_of_times_holds_what_was_stored_in_it(installation: Installation) -> None:
    await installation.publish(*invocations("a", "S" * 20))
    records = sorted(await installation.records(INVOCATIONS), key=lambda one: one.record.timestamp)
    since, until = to_text(records[5].record.timestamp), to_text(records[15].record.timestamp)
    code, out, err = await installation.run_crl("export", "outcomes", "--since", since, "--until", until)
    assert code == 0, err
    expected = {
        one.message.invocation_id
        for one in records
        if records[5].record.timestamp <= one.record.timestamp < records[15].record.timestamp
    }
    assert ids(documents(out)) == expected
    for words in (("--since", "1d", "--until", "2d"), ("--since", "soon"), ("--task", "x"), ("--json",)):
        code, _, err = await installation.run_crl("export", "outcomes", *words)
        assert code == 2
        assert "Traceback" not in err


@pytest.mark.parametrize("form", FORMATS)
async def test_an_export_that_stops_anywhere_goes_on_and_ends_with_the_same_bytes(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    await installation.publish(*invocations("a", "SF" * 40))
    await installation.publish(*invocations("b", "S" * 80, task_type="second"))
    monkeypatch.setattr("crl_stream.cli.export.exporting._ENOUGH", 1)
    monkeypatch.setattr("crl_stream.kafka.positions._AT_ONCE", 10)
    request = await asked(installation, form)
    with Unfinished(installation.folder / "whole") as whole:
        complete = await to_file(installation.kafka, request, (None, None), whole)
    expected = whole.output.read_bytes()
    assert complete.lines == 160
    assert expected.count(b"\n") == 160 + (form == "csv")
    output, stops = installation.folder / "broken", 0
    while not output.exists():
        with Unfinished(output) as broken:
            monkeypatch.setattr(broken, "append", Crashing(broken, after=1 + stops % 3).append)
            try:
                await to_file(installation.kafka, request, (None, None), broken)
            except KeyboardInterrupt:
                stops += 1
        if stops == 1:  # a record that comes after the export has begun is not part of it
            await installation.publish(an_invocation("late", "success"))
    assert stops > 3
    assert output.read_bytes() == expected
    assert list(installation.folder.glob("*.crl-*")) == []


class Crashing:
    """Appends to an unfinished file some times, and then stops in the middle of a write."""

    def __init__(self, file: Unfinished, after: int) -> None:
        self._file, self._left, self._add = file, after, file.append

    def append(self, data: bytes, note: Note) -> None:
        if not self._left:
            self._file._file.write(data[: len(data) // 2])
            self._file._file.flush()
            raise KeyboardInterrupt
        self._left -= 1
        self._add(data, note)


async def test_only_the_same_request_goes_on_with_an_unfinished_file(installation: Installation) -> None:
    await installation.publish(*invocations("a", "S" * 5))
    output = installation.folder / "out"
    request = await asked(installation, "jsonl")
    with Unfinished(output) as file:
        file.append(b"", Note(request, await installation.reader.ids([INVOCATIONS]), [], size=5))
        other = await installation.run_crl("export", "outcomes", "-o", str(output))
        assert other[0] == 2 and "Another crl is exporting" in other[2]
    code, _, err = await installation.run_crl("export", "outcomes", "-f", "csv", "-o", str(output))
    assert code == 2
    assert "unfinished part of another export" in err and "--restart" in err
    code, out, err = await installation.run_crl(
        "export", "outcomes", "-f", "csv", "-o", str(output), "--restart", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["lines"] == 5
    assert [path.name for path in installation.folder.glob("out*")] == ["out"]


async def test_a_killed_export_goes_on(installation: Installation) -> None:
    value = encode(an_invocation("v", "success", model="m" * 200))
    key = TaskKey(AGENT, TASK).encode()
    await installation.publish(an_invocation("v", "success"))
    batch = [await installation.producer.send(installation.names(INVOCATIONS), value, key=key) for _ in range(30_000)]
    await batch[-1]
    await installation.producer.flush()
    output = installation.folder / "many.csv"
    words = [sys.executable, "-m", "crl_stream", "export", "outcomes", "-f", "csv", "-o", str(output)]
    kills = 0
    for _ in range(3):
        kills += await asyncio.to_thread(killed_at_its_next_note, words, installation, output)
        if output.exists():
            break
    assert kills
    if not output.exists():
        code, _, err = await installation.run_crl("export", "outcomes", "-f", "csv", "-o", str(output))
        assert code == 0, err
        assert "going on with" in err
    with output.open(newline="") as file:
        offsets = [int(row["offset"]) for row in csv.DictReader(file)]
    assert offsets == sorted(set(offsets))
    assert len(offsets) == 30_001


async def test_a_reader_that_has_seen_enough_ends_an_export_quietly(installation: Installation) -> None:
    await installation.publish(*invocations("v", "S" * 3_000))
    words = f"{sys.executable} -m crl_stream export outcomes -f csv | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", words],
        env=installation.environment(),
        cwd=installation.folder,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"topic,partition,")
    code, _, err = await installation.run_crl("export", "outcomes", "--agent", "a/b")
    assert (code, "is not the name of an agent" in err) == (2, True)


def killed_at_its_next_note(words: list[str], installation: Installation, output: Path) -> bool:
    """Run an export and kill it once it has written more; return False if it ended first."""
    note, environment = Path(f"{output}.crl-export"), installation.environment()
    before = note.read_bytes() if note.exists() else b""
    process = subprocess.Popen(words, env=environment, cwd=installation.folder, stderr=subprocess.PIPE)
    while process.poll() is None and not (note.exists() and note.read_bytes() != before):
        os.sched_yield()
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL
