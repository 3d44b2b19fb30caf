"""People see in a browser what happens, and overrule it there, with a real worker and a real Kafka."""

from __future__ import annotations

import pytest
from builders import AGENT, TASK, a_collapse
from dashboard.browsing import Browser, until
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import DECISIONS, ROLLBACKS

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
            story = a_collapse()
            await installation.publish(*story[:60])
            await installation.settled()
            await installation.order(story[60])
            await installation.settled()
            await installation.publish(*story[61:])
            told = await until(events, lambda event: event.name == "fact" and event.data["kind"] == "rollback")
            changed = await until(events, lambda event: event.name == "task")
        assert told.data["key"] == changed.data["key"] == f"{AGENT}/{TASK}"
        event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
        status, page = await browser.json(f"/dashboard/rollbacks/{event.rollback_id}.json")
        assert (status, page["rollback"]["rollback_id"], page["status"]) == (200, event.rollback_id, "not reviewed")
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
