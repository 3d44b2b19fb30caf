"""An operator's questions at 3 a.m., answered from a real broker's topics: rollbacks, audit, runtimes, window."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import pytest
from builders import AGENT, TASK, a_collapse, a_command, an_invocation, invocations
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import ROLLBACKS

pytestmark = pytest.mark.integration

NAME = f"{AGENT}/{TASK}"


async def lived(installation: Installation) -> m.RollbackEvent:
    """Activate a variant by hand, let it collapse and be rolled back; only one of two runtimes follows."""
    for element in a_collapse():
        if isinstance(element, m.Invocation):
            await installation.publish(element)
        else:
            await installation.settled()
            await installation.order(element)
            await installation.settled()
    event: m.RollbackEvent = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    await installation.publish(an_invocation("default", runtime_id="host-1", active_epoch=event.epoch))
    await installation.publish(an_invocation("api-optimized", runtime_id="host-2", active_epoch=event.epoch - 1))
    # A snapshot is published with every tenth outcome or with a fact, such as the result of this command.
    await installation.order(a_command(m.PinVariant, actor="grace", reason="release week"))
    await installation.settled()
    return event


async def told(installation: Installation, *arguments: str) -> Any:
    code, out, err = await installation.run_crl(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


async def text_of(installation: Installation, *arguments: str) -> str:
    code, out, err = await installation.run_crl(*arguments)
    assert (code, err) == (0, "")
    return out


async def test_an_operator_finds_what_happened_who_did_it_and_who_has_not_followed(installation: Installation) -> None:
    await installation.worker()
    event = await lived(installation)

    # The full rollback, before and after people have reviewed it.
    page = await text_of(installation, "rollbacks", "show", event.rollback_id)
    assert f"{event.rollback_id}  not reviewed" in page
    assert "F" * 3 not in page.split("Judged outcomes")[0]
    for offset in event.judged.offsets:
        assert f"{offset} " in page
    assert "> 10.0%" in page and "> 15.0%" in page and "> 20.0%" in page
    assert event.undo_command in page
    assert max(map(len, page.splitlines())) <= 80
    code, _, err = await installation.run_crl("confirm", event.rollback_id, "--actor", "ada", "-m", "seen")
    assert code == 0, err
    [listed] = (await told(installation, "rollbacks"))["rollbacks"]
    assert listed["review"] == "confirmed by ada"
    code, _, err = await installation.run_crl("undo", NAME, "--actor", "bob", "-m", "it was the gateway")
    assert code == 0, err
    shown = await told(installation, "rollbacks", "show", event.rollback_id)
    assert shown["review"] == "undone by bob"
    assert [(one["what"], one["actor"], one["reason"]) for one in shown["became"]] == [
        ("confirmed", "ada", "seen"),
        ("undone", "bob", "it was the gateway"),
    ]
    assert shown["limits"]["success_drop"] == 0.1
    table = await text_of(installation, "rollbacks")
    assert "undone by bob" in table
    assert event.undo_command not in table, "it would be refused"
    code, _, err = await installation.run_crl("rollbacks", "show", "rb-20000101-000000000000")
    assert code == 4 and "crl rollbacks" in err

    # Who did what, newest first: commands and automatic changes.
    entries = (await told(installation, "audit", NAME))["audit"]
    assert [entry["timestamp"] for entry in entries] == sorted((e["timestamp"] for e in entries), reverse=True)
    assert [(entry["actor"], entry["action"]) for entry in entries if entry["task"]] == [
        ("bob", "UndoRollback"),
        ("ada", "ConfirmRollback"),
        ("grace", "PinVariant"),
        ("monitor", "rolled back api-optimized"),
        ("ada", "ActivateVariant"),
        ("monitor", "activated default"),
    ]
    assert len((await told(installation, "audit", "--limit", "2"))["audit"]) == 2
    assert "it was the gateway" in await text_of(installation, "audit", NAME)

    # The runtimes that have moved to the current epoch, and those that have not.
    [standing] = (await told(installation, "runtimes", NAME))["tasks"]
    assert (standing["active_variant"], standing["epoch"]) == ("api-optimized", event.epoch + 1)
    assert {one["runtime_id"]: one["epoch"] for one in standing["behind"]} == {
        "host-1": event.epoch,
        "host-2": event.epoch - 1,
    }
    await installation.publish(an_invocation("api-optimized", runtime_id="host-2", active_epoch=event.epoch + 1))
    await installation.settled()
    [standing] = (await told(installation, "runtimes"))["tasks"]
    assert [one["runtime_id"] for one in standing["behind"]] == ["host-1"]
    assert [one["runtime_id"] for one in standing["moved"]] == ["host-2"]
    listed_text = await text_of(installation, "runtimes", NAME)
    assert (
        "1 of 2 runtimes have moved" in listed_text
        and "1 of 2 runtimes moved" in listed_text
        and "NOT MOVED" in listed_text
    )


async def test_an_order_without_an_answer_is_in_the_audit_as_such(installation: Installation) -> None:
    await installation.order(a_command(m.HoldTask, actor="ada", reason="no worker is there"))
    [entry] = (await told(installation, "audit"))["audit"]
    assert (entry["actor"], entry["outcome"]) == ("ada", "unanswered")
    assert (await told(installation, "runtimes"))["tasks"] == []
    assert (await told(installation, "rollbacks"))["rollbacks"] == []


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("reader", ["left", "full disk"])
async def test_what_happens_to_the_output_of_tail_is_not_blamed_on_kafka(
    installation: Installation, reader: str, options: tuple[str, ...]
) -> None:
    await installation.publish(*invocations("default", "S" * 30))
    if reader == "left":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crl_stream", "tail", "invocations", "--from-beginning", "-n", "30", *options),
        env=installation.environment(),
        cwd=installation.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    _, err = await process.communicate()
    assert process.returncode == (0 if reader == "left" else 1)
    assert b"Kafka" not in err and b"Traceback" not in err
    assert (b"No space left" in err) == (reader == "full disk")
