"""A person in a real Chromium, a real worker and a real Kafka: from the collapse to the undo, and through a restart."""

from __future__ import annotations

import re
from typing import Any

import pytest
from builders import AGENT, TASK, invocations
from installation import Installation
from integration.test_dashboard import a_link, rolled_back

from browser.chromium import Chromium, chromium
from crl_stream.core import messages as m
from crl_stream.wire.topics import DECISIONS, PROPOSALS

pytestmark = [pytest.mark.integration, pytest.mark.browser]
LIVE = "document.querySelector('.live b')?.textContent === 'Live'"


async def give(browser: Chromium, opener: str, reason: str) -> str:
    """Open a dialog, give the order and return the answer that the dialog shows."""
    dialog = await browser.run(f'document.querySelector("{opener}").dataset.open')
    await browser.click(opener)
    await browser.fill(f"#{dialog} [name=reason]", reason)
    await browser.click(f"#{dialog} [type=submit]")
    answer = f"document.querySelector('#{dialog} .answer').innerText"
    await browser.wait(f"/^(Applied|Refused):/.test({answer})")
    said: str = await browser.text(f"#{dialog} .answer")
    await browser.click(f"#{dialog} [value=cancel]")
    return said


async def results(installation: Installation, command: str) -> list[m.CommandResult]:
    found: list[Any] = await installation.messages(DECISIONS)
    return [one for one in found if isinstance(one, m.CommandResult) and one.command == command]


async def test_a_collapse_is_seen_explained_and_undone_in_a_browser(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    services = installation.start_worker(("-m", "crl_stream", "worker", "--role", "services"))
    await services.ready()
    async with chromium() as browser:
        await browser.open()
        assert await browser.goto(await a_link(installation, worker.url)) == 200
        await browser.wait(LIVE)
        assert "No outcomes yet" in await browser.text("main")
        event = await rolled_back(installation)
        await browser.wait(f"document.querySelector('#rbs')?.innerText.includes('{TASK}')")
        assert event.reason in await browser.text("#rbs")
        await browser.click("#rbs a")
        await browser.wait(f"location.pathname.endsWith('{event.rollback_id}') && {LIVE}")
        text = await browser.text("main")
        assert f"{event.from_variant} was rolled back to {event.to_variant}" in text
        judged = await browser.run("document.querySelector('.judged').textContent")
        assert [offset for offset in event.judged.offsets if str(offset) not in judged] == []
        assert (await give(browser, "[data-open=d-undo]", "the judge was wrong")).startswith("Applied:")
        await browser.wait("document.querySelector('[data-live=fate]').innerText.includes('undone by')")
        [result] = await results(installation, "UndoRollback")
        assert (result.outcome, result.reason) == ("applied", "the judge was wrong")
        assert result.actor.startswith("web:")
        active = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
        assert active[1]["active_variant"] == event.from_variant
        assert await browser.errors() == []
        assert await browser.violations() == []


async def test_the_fleet_is_stopped_in_a_browser_and_the_page_survives_the_restart_of_its_worker(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 12))
    await installation.settled()
    async with chromium() as browser:
        await browser.open(width=390, scheme="dark")
        assert await browser.goto(await a_link(installation, worker.url)) == 200
        await browser.wait(LIVE)
        said = await give(browser, ".bar [data-open=d-hold-all]", "a bad night")
        assert said.startswith("Applied: promotions stopped: 4 of 4 partitions"), said
        await browser.wait("document.querySelector('.banner.held')?.innerText.includes('a bad night')")
        port = int(worker.url.rsplit(":", 1)[1])
        assert await worker.stop() == 0
        await browser.wait("document.querySelector('.live b').textContent === 'Not live'")
        assert "All figures are from then" in await browser.text("#lost")
        # The browser says so too: those are its own lines about the address that does not answer.
        assert all(re.search("ERR_|Failed to load|503", line) for line in await browser.errors())
        again = installation.start_worker(port=port)
        await again.ready()
        await browser.wait(LIVE, seconds=60)
        assert (await give(browser, ".bar [data-open=d-resume-all]", "it is over")).startswith("Applied:")
        await browser.wait("document.querySelector('.banner.held') === null")
        assert {one.outcome for one in await results(installation, "ResumeAll")} == {"applied"}


async def test_a_proposal_is_rejected_and_another_approved_in_a_browser(installation: Installation) -> None:
    worker = await installation.worker()
    proposer = installation.start_worker(("-m", "crl_stream", "worker", "--role", "proposer"))
    await proposer.ready()
    await installation.publish(*invocations("default", "S" * 30))
    await installation.settled()
    for variant in ("v8", "v9"):
        code, _, err = await installation.run_crl(
            *(
                "propose",
                f"{AGENT}/{TASK}",
                variant,
                "--source",
                "optimiser@1",
                "--configuration",
                '{"prompt": "<b>short</b>"}',
            ),
            *("--reason", "<img src=x onerror=alert(1)>"),
        )
        assert code == 0, err
    await installation.wait_for(PROPOSALS, m.Proposal, lambda one: one.target_variant == "v9")
    async with chromium() as browser:
        await browser.open()
        assert await browser.goto(await a_link(installation, worker.url)) == 200
        await browser.goto(f"{worker.url}/dashboard/review")
        await browser.wait(f"{LIVE} && document.querySelectorAll('.queue a').length === 2")
        assert "<img src=x onerror=alert(1)>" in await browser.text("main")
        assert await browser.run("document.querySelector('main img')") is None
        for opener, status in (("approve", "approved"), ("reject", "rejected")):
            shown = await browser.run("document.querySelector('.queue a[aria-current]').hash.slice(1)")
            said = await give(browser, f"article:not([hidden]) [data-open=d-{opener}-{shown}]", "seen")
            assert said.startswith("Applied:"), said
            await browser.wait(f"document.querySelector('[data-live=decided]').innerText.includes('{status}')")
        await browser.wait("document.querySelectorAll('.queue a').length === 0")
        assert await browser.errors() == []
