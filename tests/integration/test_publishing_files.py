"""A file is published once, whatever interrupts the command: Ctrl-C, kill -9, or the loss of Kafka."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from builders import invocations
from installation import Installation

from crl_stream.wire.codec import encode
from crl_stream.wire.topics import INVOCATIONS

pytestmark = pytest.mark.integration
COUNT = 4_000


def a_file(installation: Installation, count: int = COUNT, name: str = "outcomes.jsonl") -> Path:
    file = installation.folder / name
    messages = invocations("default", "S" * count, reward=0.5)
    file.write_bytes(b"".join(encode(message) + b"\n" for message in messages))
    return file


async def ids(installation: Installation) -> Counter[str]:
    return Counter(json.loads(r.record.value)["invocation_id"] for r in await installation.records(INVOCATIONS))


async def started(installation: Installation, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crl_stream", *arguments),
        env=installation.environment(),
        cwd=installation.folder,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


def journal_of(installation: Installation) -> dict[str, Any]:
    (journal,) = installation.folder.glob("*.crl-journal")
    page: dict[str, Any] = json.loads(journal.read_bytes())
    return page


async def under_way(installation: Installation) -> None:
    """Wait until the journal shows that part of the file has arrived."""
    async with asyncio.timeout(60):
        while not any(json.loads(j.read_bytes())["sent"] for j in installation.folder.glob("*.crl-journal")):
            await asyncio.sleep(0.002)


async def test_a_file_that_was_published_is_refused_until_it_is_asked_for_again(installation: Installation) -> None:
    file = a_file(installation, 200)
    code, out, err = await installation.run_crl("publish", "-f", file.name, "--json")
    assert (code, json.loads(out)["sent"]) == (0, 200), err
    code, out, err = await installation.run_crl("publish", "-f", file.name)
    assert (code, out) == (2, "")
    assert "All 200 messages of outcomes.jsonl were published before" in err
    assert "--again" in err and "last 64 ids of a task" in err
    assert set((await ids(installation)).values()) == {1}
    code, _, err = await installation.run_crl("publish", "-f", file.name, "--again")
    assert code == 0, err
    assert set((await ids(installation)).values()) == {2}


async def test_its_content_is_what_was_published_whatever_it_is_called_or_packed_in(installation: Installation) -> None:
    file = a_file(installation, 50)
    assert (await installation.run_crl("publish", "-f", file.name))[0] == 0
    (installation.folder / "copy.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    code, _, err = await installation.run_crl("publish", "-f", "copy.jsonl.gz")
    assert code == 2
    assert "as outcomes.jsonl" in err


async def test_of_a_file_that_has_grown_only_what_is_new_is_published(installation: Installation) -> None:
    file = a_file(installation, 50)
    assert (await installation.run_crl("publish", "-f", file.name))[0] == 0
    with file.open("ab") as end:
        end.write(b"".join(encode(message) + b"\n" for message in invocations("v2", "S" * 5)))
    code, out, err = await installation.run_crl("publish", "-f", file.name, "--json")
    assert (code, json.loads(out)["sent"]) == (0, 5)
    assert "has grown: its first 50 messages were published" in err
    found = await ids(installation)
    assert (len(found), set(found.values())) == (55, {1})


async def test_a_file_with_other_messages_under_the_old_name_is_published_whole_and_that_is_said(
    installation: Installation,
) -> None:
    a_file(installation, 20)
    assert (await installation.run_crl("publish", "-f", "outcomes.jsonl"))[0] == 0
    (installation.folder / "outcomes.jsonl").write_bytes(
        b"".join(encode(message) + b"\n" for message in invocations("v2", "S" * 5))
    )
    code, out, err = await installation.run_crl("publish", "-f", "outcomes.jsonl", "--json")
    assert (code, json.loads(out)["sent"]) == (0, 5)
    assert "has changed since" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
async def test_a_run_that_was_ended_in_the_middle_is_gone_on_with_and_nothing_is_lost_or_doubled(
    installation: Installation, number: signal.Signals
) -> None:
    file = a_file(installation, 40_000)
    process = await started(installation, "publish", "-f", file.name)
    await under_way(installation)
    process.send_signal(number)
    _, err = await process.communicate()
    before = journal_of(installation)
    assert before["sent"] < before["messages"], "the command had finished before the signal"
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert f"{before['sent']} of 40000 messages are published; run the same command again" in err.decode()
    code, out, err_text = await installation.run_crl("publish", "-f", file.name, "--json")
    assert code == 0, err_text
    assert json.loads(out)["sent_before"] >= before["sent"]
    assert f"continuing after message {before['sent']} of 40000" in err_text
    found = await ids(installation)
    assert (len(found), set(found.values())) == (40_000, {1})
    assert journal_of(installation)["sent"] == 40_000


async def test_what_was_under_way_at_a_kill_is_found_in_the_log_among_the_messages_of_others(
    installation: Installation,
) -> None:
    """The journal says 100 although all 300 have arrived, and other programs have published since."""
    file = a_file(installation, 300)
    assert (await installation.run_crl("publish", "-f", file.name))[0] == 0
    await installation.publish(*invocations("other", "S" * 30))
    (path,) = installation.folder.glob("*.crl-journal")
    page = json.loads(path.read_bytes())
    prefix = b"".join(line + b"\n" for line in file.read_bytes().splitlines()[:100])
    page |= {"sent": 100, "sent_content": hashlib.sha256(prefix).hexdigest(), "settled": False}
    page["offsets"] = {str(partition): 0 for partition in range(4)}
    path.write_text(json.dumps(page), encoding="utf-8")
    code, out, err = await installation.run_crl("publish", "-f", file.name, "--json")
    assert code == 0, err
    assert (json.loads(out)["sent"], json.loads(out)["sent_before"]) == (0, 300)
    assert set((await ids(installation)).values()) == {1}


async def test_two_at_the_same_time_do_not_share_a_file(installation: Installation) -> None:
    file = a_file(installation, 40_000)
    process = await started(installation, "publish", "-f", file.name)
    await under_way(installation)
    code, _, err = await installation.run_crl("publish", "-f", file.name)
    assert code == 2
    assert "Another crl is publishing outcomes.jsonl" in err
    await process.communicate()
    assert set((await ids(installation)).values()) == {1}


async def test_from_standard_input_there_is_no_journal_and_nothing_is_said_of_it(installation: Installation) -> None:
    file = a_file(installation, 20)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crl_stream", "publish", "-f", "-", "--json"),
        env=installation.environment(),
        cwd=installation.folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(file.read_bytes())
    assert json.loads(out) == {"messages": 20, "sent": 20, "sent_before": 0, "left": 0, "journal": None}
    assert b"journal" not in err
    assert not list(installation.folder.glob("*.crl-journal"))
