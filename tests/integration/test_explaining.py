"""The questions why something happened and why nothing did, answered from a real broker, with and without a worker."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from builders import AGENT, TASK, a_collapse, a_command, an_invocation, invocations
from dashboard.browsing import Browser
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import ALERTS, DECISIONS, ROLLBACKS

pytestmark = pytest.mark.integration

NAME = f"{AGENT}/{TASK}"
TEMPLATE = "https://traces.example.com/t/{trace_id}"


async def told(installation: Installation, *arguments: str, **settings: str) -> Any:
    code, out, err = await installation.run_crl(*arguments, "--json", **settings)
    assert code == 0, err
    return json.loads(out)


async def text_of(installation: Installation, *arguments: str, **settings: str) -> str:
    code, out, err = await installation.run_crl(*arguments, **settings)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    return out


async def lived(installation: Installation) -> m.RollbackEvent:
    """Activate a variant by hand and let it collapse; each outcome names a trace."""
    for number, element in enumerate(a_collapse()):
        if isinstance(element, m.Invocation):
            await installation.publish(m.Invocation(**_fields(element) | {"trace_id": f"trace-{number}"}))
        else:
            await installation.settled()
            await installation.order(element)
            await installation.settled()
    event: m.RollbackEvent = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    await installation.settled()
    return event


def _fields(message: m.Invocation) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


async def test_a_rollback_and_all_around_it_is_explained_from_the_topics_alone(installation: Installation) -> None:
    worker = await installation.worker()
    event = await lived(installation)
    assert await worker.stop() == 0

    found = await told(installation, "explain", event.rollback_id, web_trace_url_template=TEMPLATE)
    assert (found["kind"], found["review"], found["task"]) == ("rollback", "not reviewed", NAME)
    assert [outcome["offset"] for outcome in found["strip"]["outcomes"]] == event.judged.offsets
    assert all(
        outcome["trace_url"].startswith("https://traces.example.com/t/trace-") for outcome in found["strip"]["outcomes"]
    )
    assert found["strip"]["gone"] == 0
    assert found["undo_command"] == event.undo_command
    assert found["policy"]["actor"] and found["policy"]["set_at"] and found["policy"]["limits"]["success_drop"] == 0.1
    command, activated, cause = found["causes"]
    assert (command["actor"], activated["what"]) == ("ada", "activated")
    assert (cause["id"], cause["what"]) == (event.cause_id, "degraded")
    assert (await told(installation, "explain", NAME))["id"] == event.rollback_id, "a task stands for its last rollback"
    code, _, err = await installation.run_crl("explain", "no/task")
    assert code == 4 and "Nothing is known of no/task" in err and "crl status" in err
    page = await text_of(installation, "explain", event.rollback_id, web_trace_url_template=TEMPLATE)
    assert "set by " in page and event.undo_command in page
    assert page == await text_of(installation, "rollbacks", "show", event.rollback_id, web_trace_url_template=TEMPLATE)

    # The alert, the activation, and the command that activated the variant which failed.
    alert = await installation.wait_for(ALERTS, m.Alert, lambda one: one.kind == "rollback")
    explained = await told(installation, "explain", alert.alert_id)
    assert explained["proof_id"] == event.rollback_id
    assert [step["id"] for step in explained["causes"]][-2:] == [event.cause_id, event.rollback_id]
    activation = await installation.wait_for(DECISIONS, m.Activation, lambda one: one.cause == "command")
    by_hand = await told(installation, "explain", activation.activation_id)
    assert (by_hand["actor"], by_hand["undo_command"]) == ("ada", None)
    assert by_hand["no_undo"] == "epoch 3 has followed, and only the latest change can be undone"
    command = await told(installation, "explain", activation.cause_id)
    assert (command["kind"], command["actor"]) == ("command", "ada")
    assert activation.activation_id in [step["id"] for step in command["since"]]

    code, out, err = await installation.run_crl("explain", "rb-20000101-000000000000")
    assert (code, out) == (4, "")
    assert err.splitlines()[0].startswith(
        "crl: Nothing has the id rb-20000101-000000000000: searched crl.rollbacks (since 2"
    )


async def test_why_nothing_happens_is_answered_with_a_worker_and_without(installation: Installation) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 30))
    await installation.publish(*invocations("v2", "S" * 30, variant_source="explore"))
    await installation.settled()
    await installation.order(a_command(m.HoldTask, actor="grace", reason="release week"))
    await installation.settled()
    await installation.publish(*invocations("default", "F" * 12))
    await installation.settled()
    await installation.silent()

    found = await told(installation, "why-not", NAME)
    assert found["behind"] == 0
    [rolled_back] = [answer for answer in found["answers"] if answer["key"] == "rolled_back"]
    assert (rolled_back["acts"], rolled_back["stops"]) == (False, "hold")
    assert [one["key"] for one in rolled_back["conditions"] if not one["holds"]] == ["hold"]
    assert "default is not rolled back, because held by grace since" in found["sentence"]
    assert "release week" in await text_of(installation, "why-not", NAME)

    # Without a worker, the same answer, and that the log goes on without one.
    assert await worker.stop() == 0
    await installation.publish(an_invocation("default"))
    alone = await told(installation, "why-not", NAME)
    assert (alone["behind"], alone["answers"]) == (1, found["answers"])
    assert "no worker is running" in " ".join((await text_of(installation, "why-not", NAME)).split())

    code, _, err = await installation.run_crl("why-not", NAME, "v9")
    assert code == 4 and "its variants: default, v2" in err
    code, _, err = await installation.run_crl("why-not", "no/task")
    assert code == 4 and "Nothing is known of no/task." in err


async def test_the_browser_shows_what_the_command_line_says(installation: Installation) -> None:
    worker = await installation.worker()
    event = await lived(installation)
    await installation.silent()
    port = worker.url.rsplit(":", 1)[1]
    code, out, err = await installation.run_crl("dashboard", "--link", worker_web_port=port)
    assert code == 0, err
    async with Browser(worker.url) as browser:
        await browser.enter(out.strip())
        status, document = await browser.json(f"/dashboard/tasks/{NAME}/why-not")
        asked = await told(installation, "why-not", NAME)
        assert (status, document["sentence"], document["answers"]) == (200, asked["sentence"], asked["answers"])
        status, page, _ = await browser.get(f"/dashboard/tasks/{NAME}/why-not")
        assert status == 200 and html.escape(asked["sentence"]) in page
        for answer in asked["answers"]:
            if answer["key"] == "rolled_back":
                assert all(html.escape(one["label"]) in page for one in answer["conditions"])
        status, document = await browser.json(f"/dashboard/explain/{event.rollback_id}.json")
        explained = await told(installation, "explain", event.rollback_id)
        assert (status, document) == (200, explained)
        status, page, _ = await browser.get(f"/dashboard/explain/{event.rollback_id}")
        assert status == 200 and explained["sentence"] in page and event.cause_id in page
        for name, path in (("why_not", f"tasks/{NAME}/why-not"), ("explain", f"explain/{event.rollback_id}")):
            status, page, _ = await browser.get(f"/dashboard/{path}?parts=1")  # the script asks with every event
            assert (status, page) == (200, f'<!doctype html><html data-page="{name}"></html>')
        status, page, _ = await browser.get("/dashboard/explain/rb-20000101-000000000000")
        assert status == 404 and "The topics do not have it." in page
        for path in ("/dashboard/explain/%3Cscript%3E", f"/dashboard/tasks/{NAME}/why-not?variant=%3Cb%3E"):
            status, page, _ = await browser.get(path)
            assert (
                status == 404 and "<script>" not in page.partition("<main")[2] and "<b>" not in page.partition("<h1")[2]
            )
    assert await worker.stop() == 0
