"""People see in a browser what happens, and overrule it there, with a real worker and a real Kafka."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time

import pytest
from builders import AGENT, TASK, a_collapse, invocations
from dashboard.browsing import Browser, until
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.instant import readable
from crl_stream.dashboard.web.doors import link
from crl_stream.settings import load_settings
from crl_stream.wire.topics import DECISIONS, PROPOSALS, ROLLBACKS

pytestmark = pytest.mark.integration


async def a_link(installation: Installation, url: str) -> str:
    """Return an address that opens the dashboard of a worker once."""
    port = url.rsplit(":", 1)[1]
    code, out, err = await installation.run_crl("dashboard", "--link", worker_web_port=port)
    assert code == 0, err
    return out.strip()


async def test_a_rollback_appears_without_a_reload_and_is_undone_from_the_page(installation: Installation) -> None:
    worker = await installation.worker()
    async with Browser(worker.url) as browser:
        await browser.enter(await a_link(installation, worker.url))
        async with browser.stream() as events:
            first = await until(events, lambda event: True)
            assert (first.name, first.data["live"], first.data["refetch"]) == ("snapshot", True, False)
            event = await rolled_back(installation)
            told = await until(events, lambda event: event.name == "fact" and event.data["kind"] == "rollback")
            changed = await until(events, lambda event: event.name == "task")
        assert told.data["key"] == changed.data["key"] == f"{AGENT}/{TASK}"
        status, page = await browser.json(f"/dashboard/rollbacks/{event.rollback_id}.json")
        assert (status, page["rollback"]["rollback_id"], page["status"]) == (200, event.rollback_id, "not reviewed")
        status, text, _ = await browser.get(f"/dashboard/rollbacks/{event.rollback_id}")
        assert status == 200
        assert ">limit 10.0%<" in text and "limit not known here" not in text
        status, told = await browser.json(f"/dashboard/explain/{event.rollback_id}")
        _, out, _ = await installation.run_crl("explain", event.rollback_id, "--json")
        assert (status, told) == (200, json.loads(out))
        assert (await browser.json("/dashboard/explain/rb-20251119-0123456789ab"))[0] == 404
        status, told = await browser.json(f"/dashboard/tasks/{AGENT}/{TASK}/why-not")
        _, out, _ = await installation.run_crl("why-not", f"{AGENT}/{TASK}", "--json")
        assert (status, told.keys()) == (200, json.loads(out).keys())
        assert (await browser.json("/dashboard/tasks/nobody/knows/why-not"))[0] == 404
        about = {"agent_name": AGENT, "task_type": TASK, "rollback_id": event.rollback_id}
        status, answer = await browser.order("UndoRollback", expected_epoch=event.epoch, **about)
        assert (status, answer["outcome"]) == (200, "applied")
        result = await installation.wait_for(DECISIONS, m.CommandResult, lambda one: one.command == "UndoRollback")
        assert (result.detail, result.reason) == (answer["detail"], "a test asked for it")
        assert result.actor.startswith("web:")
        status, answer = await browser.order("UndoRollback", expected_epoch=event.epoch, **about)
        assert (status, answer["outcome"]) == (409, "refused")
        assert "the epoch is 4, not 3" in answer["detail"]
    assert await worker.stop() == 0


async def rolled_back(installation: Installation) -> m.RollbackEvent:
    """Let the guide's task collapse, and return its rollback."""
    story = a_collapse()
    await installation.publish(*story[:60])
    await installation.settled()
    await installation.order(story[60])
    await installation.settled()
    await installation.publish(*story[61:])
    return await installation.wait_for(ROLLBACKS, m.RollbackEvent)


async def test_of_two_who_undo_the_same_rollback_one_wins_and_the_other_is_told_why(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    event = await rolled_back(installation)
    async with Browser(worker.url) as browser:
        await browser.enter(await a_link(installation, worker.url))
        about = {"agent_name": AGENT, "task_type": TASK, "rollback_id": event.rollback_id}
        (status, answer), (code, out, err) = await asyncio.gather(
            browser.order("UndoRollback", expected_epoch=event.epoch, **about),
            installation.run_crl("undo", event.rollback_id, "--actor", "grace", "--reason", "it is fine"),
        )
        assert (status == 200) != (code == 0)
        results = [
            one
            for one in await installation.messages(DECISIONS)
            if isinstance(one, m.CommandResult) and one.command == "UndoRollback"
        ]
        assert sorted(result.outcome for result in results) == ["applied", "refused"]
        [applied] = [result for result in results if result.outcome == "applied"]
        [refused] = [result for result in results if result.outcome == "refused"]
        if code == 0:
            assert readable(applied.detail) in out
            assert refused.detail in answer["detail"]
            assert applied.actor == "grace"
        else:
            assert answer["detail"] == applied.detail
            assert readable(refused.detail) in " ".join(err.split())
        async with asyncio.timeout(30):
            while True:
                _, page = await browser.json(f"/dashboard/rollbacks/{event.rollback_id}")
                if page["status"] != "not reviewed":
                    break
                await asyncio.sleep(0.1)
        assert page["status"] == f"undone by {applied.actor}"
        status, told = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
        assert (status, told["epoch"], told["active_variant"]) == (200, event.epoch + 1, event.from_variant)


async def test_the_whole_fleet_is_held_and_resumed_from_the_page(installation: Installation) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 3))
    await installation.settled()
    async with Browser(worker.url) as browser:
        await browser.enter(await a_link(installation, worker.url))
        status, answer = await browser.order("HoldAll", reason="a bad night", hours=2)
        assert (status, answer["outcome"]) == (200, "applied")
        assert answer["detail"].startswith("held: 4 of 4 partitions")
        told = [one for one in await installation.messages(DECISIONS) if isinstance(one, m.CommandResult)]
        results = [one for one in told if one.command == "HoldAll"]
        assert {(r.actor.startswith("web:"), r.reason, r.outcome) for r in results} == {
            (True, "a bad night", "applied")
        }
        _, task = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
        assert task["fleet_held"]["actor"] == results[0].actor
        _, out, _ = await installation.run_crl("audit", "--json")
        [entry] = [one for one in json.loads(out)["audit"] if one["action"] == "HoldAll"]
        assert (entry["actor"], entry["reason"], entry["outcome"]) == (results[0].actor, "a bad night", "applied")
        status, answer = await browser.order("ResumeAll", reason="over")
        assert (status, answer["outcome"]) == (200, "applied")


async def test_a_proposal_is_approved_from_the_page_but_not_by_who_filed_it(installation: Installation) -> None:
    worker = await installation.worker(review_four_eyes="true")
    services = installation.start_worker(("-m", "crl_stream", "worker", "--role", "proposer"))
    await services.ready()
    await installation.publish(*invocations("default", "S" * 30))
    await installation.settled()
    code, _, err = await installation.run_crl(
        *("propose", f"{AGENT}/{TASK}", "v9", "--source", "ada", "--configuration", '{"prompt": "short"}'),
        *("--actor", "root"),
    )
    assert code == 0, err
    proposal = await installation.wait_for(PROPOSALS, m.Proposal)
    code, _, err = await installation.run_crl("proposals", "approve", proposal.proposal_id, "--actor", "root")
    assert code == 5
    assert "somebody else must approve it" in " ".join(err.split())
    async with Browser(worker.url) as browser:
        port = int(worker.url.rsplit(":", 1)[1])
        settings = load_settings(
            environment={},
            flags={"worker.data_dir": str(installation.folder / "worker"), "worker.web_port": str(port)},
        )
        await browser.enter(link(settings, worker.url, "root"))
        about = {"agent_name": AGENT, "task_type": TASK, "proposal_id": proposal.proposal_id}
        status, answer = await browser.order("ApproveProposal", **about)
        assert (status, answer["outcome"]) == (409, "refused")
        assert "somebody else must approve it" in answer["detail"]
    async with Browser(worker.url) as browser:
        await browser.enter(link(settings, worker.url, "grace"))
        status, page = await browser.json("/dashboard/review")
        assert [one["proposal_id"] for one in page["proposals"]] == [proposal.proposal_id]
        status, answer = await browser.order("ApproveProposal", revision=7_000, **about)
        assert (status, answer["error"]) == (409, "The proposal has changed since the page was made.")
        status, answer = await browser.order("ApproveProposal", revision=page["proposals"][0]["revision"], **about)
        assert (status, answer["outcome"]) == (200, "applied"), answer


async def test_the_dashboard_without_a_worker_is_opened_by_its_printed_address_and_ends_at_once(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    served = installation.start_worker(("-m", "crl_stream", "dashboard", "--web"), web_port="0")
    async with asyncio.timeout(60):
        while not (found := re.search(r"http://\S+token=\S+", served.log.read_text())):
            assert served.process.poll() is None, served.log.read_text()
            await asyncio.sleep(0.05)
    async with Browser(found[0].split("/dashboard")[0]) as browser:
        page = await browser.enter(found[0])
        assert TASK in page
        async with browser.stream() as events:
            await anext(events)
            # A page survives the restart of a worker: this dashboard is another process.
            assert await worker.stop() == 0
            await installation.worker()
            await installation.publish(*invocations("default", "S" * 20))
            changed = await until(events, lambda event: event.name == "task", 60)
            assert changed.data["key"] == f"{AGENT}/{TASK}"
            began = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(served.process.wait, 60) == 0
            assert time.monotonic() - began < 5


async def test_a_worker_with_an_open_page_ends_promptly_and_the_session_survives_its_restart(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    async with Browser(worker.url) as browser:
        await browser.enter(await a_link(installation, worker.url))
        async with browser.stream() as events:
            await anext(events)
            began = time.monotonic()
            assert await worker.stop() == 0
            assert time.monotonic() - began < 10
        again = installation.start_worker()
        await again.ready()
        async with Browser(again.url) as other:
            status, _, _ = await other.get("/dashboard/", Cookie=browser.session_cookie)
            assert status == 200
