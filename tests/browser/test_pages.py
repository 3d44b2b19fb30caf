"""The pages in a real Chromium: no error, no violation of accessibility, no shift, and orders end to end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dashboard.test_pages import HOSTILE

from browser.chromium import Chromium, chromium
from browser.fleets import NOW, Teller, last_rollback
from browser.serving import Served, serving
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey

pytestmark = pytest.mark.browser
HELD = TaskKey("claims-reader", "extraction")
ROLLED_BACK = TaskKey("backend-architect", "api-design")
FRESH = TaskKey("fresh-agent", "fresh-task")
LOOKS = [(width, scheme) for width in (1440, 390) for scheme in ("light", "dark")]
FREE = "!document.querySelector('dialog[open]')"


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as found:
        yield found


@pytest_asyncio.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    async with serving(tmp_path, monkeypatch) as found:
        yield found


async def enter(browser: Chromium, served: Served, path: str = "/", **look: Any) -> None:
    """Open the dashboard by its one-time address, then a page of it, and wait until it is live."""
    await browser.open(**look)
    assert await browser.goto(served.link()) == 200
    if path != "/":
        assert await browser.goto(f"{served.url}/dashboard{path}") == 200
    await browser.wait("document.querySelector('.live b').textContent === 'Live'")


async def paths_of(served: Served) -> dict[str, str]:
    assert served.teller is not None
    rollback = last_rollback(served.teller, ROLLED_BACK)
    return {
        "fleet": "/",
        "task": f"/tasks/{ROLLED_BACK}",
        "rollback": f"/rollbacks/{rollback}",
        "review": "/review",
        "explain": f"/explain/{rollback}",
        "why-not": f"/tasks/{ROLLED_BACK}/why-not",
    }


async def check(browser: Chromium, name: str) -> None:
    """Check everything that must hold of every page at any time."""
    assert await browser.errors() == [], name
    assert await browser.violations() == [], name
    assert await browser.run("window.__shift") < 0.01, name
    assert await browser.run("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_every_page_is_free_of_errors_violations_and_shifts(
    browser: Chromium, served: Served, width: int, scheme: str
) -> None:
    for name, path in (await paths_of(served)).items():
        await enter(browser, served, path, width=width, scheme=scheme)
        await asyncio.sleep(0)
        await check(browser, f"{name} {width} {scheme}")
        await browser.press("Tab")
        assert await browser.run("document.activeElement.className") == "skip", (
            "the first tab stop skips to the content"
        )


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_every_dialog_is_free_of_violations(browser: Chromium, served: Served, width: int, scheme: str) -> None:
    for path in (f"/tasks/{ROLLED_BACK}", "/review"):
        await enter(browser, served, path, width=width, scheme=scheme)
        await browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        names = await browser.run(
            "[...document.querySelectorAll('main [data-open]')].filter(e => e.offsetParent).map(e => e.dataset.open)"
        )
        for name in dict.fromkeys(names):
            await browser.run(f"document.querySelector('[data-open=\"{name}\"]').click()")
            await browser.wait(f"document.getElementById('{name}').open")
            await check(browser, f"{name} {width} {scheme}")
            await browser.press("Escape")
            await browser.wait(FREE)


async def test_searching_a_thousand_tasks_takes_less_than_20_ms(
    browser: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, 1_000) as served:
        await enter(browser, served)
        taken = await browser.run(
            """() => {
              const find = document.getElementById("find"), found = [];
              for (const text of ["refund", "re", "agent", "order-router/re", "default", "no such", "held", ""]) {
                const began = performance.now();
                find.value = text; find.dispatchEvent(new Event("input", { bubbles: true }));
                found.push(performance.now() - began);
              }
              return found;
            }"""
        )
        assert sorted(taken)[len(taken) // 2] < 20, taken
        await browser.press("/")
        assert await browser.run("document.activeElement.id") == "find"
        await browser.fill("#find", "claims-reader/extraction")
        assert await browser.run("document.querySelectorAll('table.tasks tbody tr').length") == 1
        await browser.fill("#find", "no such task")
        assert "No task matches." in await browser.text("#tasks")
        await browser.click("#clear")
        assert "1 to 50 of 1,000 tasks" in await browser.text("#said")


async def test_the_script_draws_the_same_row_as_the_server(browser: Chromium, served: Served) -> None:
    await enter(browser, served)
    without_age = "e => e.outerHTML.replace(/\\d+ (s|min|h|d) ago/, '')"
    rows = f"[...document.querySelectorAll('table.tasks tbody tr')].map({without_age})"
    by_server = await browser.run(rows)
    await browser.run("document.getElementById('find').dispatchEvent(new Event('input', { bubbles: true }))")
    by_script = await browser.run(rows)
    assert len(by_server) == 50
    assert by_script == by_server


async def test_a_rollback_appears_without_a_reload(browser: Chromium, served: Served) -> None:
    await enter(browser, served)
    await browser.run("window.mark = 1")
    key = TaskKey("hotel-support", "discount-request")

    def collapse(teller: Teller) -> None:
        teller.collapse(key, "short-v1")

    served.tell(collapse)
    await browser.wait(f"document.getElementById('rbs').innerText.includes('{key.agent_name}/{key.task_type}')")
    await browser.wait("document.querySelector('[data-live=changes]').innerText.includes('hotel-support')")
    assert await browser.run("window.mark") == 1, "the page was not loaded again"
    assert await browser.errors() == []


async def test_an_undo_waits_for_the_engine_and_shows_its_answer(browser: Chromium, served: Served) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.click("[data-open=d-undo]")
    assert "crl undo backend-architect/api-design --epoch 3" in await browser.text("#d-undo")
    await browser.fill("#d-undo-r", "it's the judge")
    assert "--reason 'it'\\''s the judge'" in await browser.text("#d-undo")
    await browser.click("#d-undo [type=submit]")
    await browser.wait("document.querySelector('#d-undo .answer').innerText.startsWith('Applied:')")
    assert "api-optimized is active, epoch 4" in await browser.text("#d-undo .answer")
    [command] = served.orders
    assert isinstance(command, m.UndoRollback)
    assert (command.actor, command.reason, command.expected_epoch) == ("web:ada", "it's the judge", 3)
    await browser.click("#d-undo [value=cancel]")
    await browser.wait("document.querySelector('[data-live=facts]').innerText.includes('epoch 4')")
    await check(browser, "after the undo")


async def test_an_undo_that_comes_too_late_is_refused_with_the_engines_sentence(
    browser: Chromium, served: Served
) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.click("[data-open=d-undo]")
    await browser.fill("#d-undo-r", "too late")
    served.tell(lambda teller: teller.command(m.UndoRollback, ROLLED_BACK, "marek", "in a terminal", expected_epoch=3))
    await browser.click("#d-undo [type=submit]")
    await browser.wait("document.querySelector('#d-undo .answer').innerText.startsWith('Refused:')")
    assert "epoch" in await browser.text("#d-undo .answer")
    assert await browser.run("document.querySelector('#d-undo [type=submit]').hidden")


async def test_a_quarantine_is_lifted_without_a_reason_as_in_a_terminal(browser: Chromium, served: Served) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.click("main [data-open=d-lift]")
    chosen = await browser.run("document.getElementById('d-lift-variant_id').value")
    assert f"crl quarantine lift {ROLLED_BACK} {chosen}" in await browser.text("#d-lift")
    await browser.click("#d-lift [type=submit]")
    await browser.wait("document.querySelector('#d-lift .answer').innerText.startsWith('Applied:')")
    [command] = served.orders
    assert isinstance(command, m.LiftQuarantine)
    assert (command.variant_id, command.reason, command.actor) == (chosen, "", "web:ada")
    await browser.click("#d-lift [value=cancel]")
    await browser.wait("document.querySelector('[data-live=history]').innerText.includes('web:ada')")
    await check(browser, "after a quarantine was lifted")


async def test_a_variant_is_registered_with_its_configuration_and_then_rolled_out(
    browser: Chromium, served: Served
) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.click("[data-fold=rare] summary")
    await browser.click("main [data-open=d-register]")
    await browser.fill("#d-register-variant_id", "terse-v9")
    await browser.fill("#d-register-temperature", "0.2")
    await browser.fill("#d-register-configuration", "[1]")
    await browser.click("#d-register [type=submit]")
    assert await browser.run("!document.getElementById('d-register-configuration').validity.valid")
    assert served.orders == [], "a list is no configuration"
    await browser.fill("#d-register-configuration", '{"model": "m-9"}')
    line = f'crl register {ROLLED_BACK} terse-v9 --temperature 0.2 --configuration \'{{"model": "m-9"}}\''
    assert line in await browser.text("#d-register")
    assert f"To take it back: crl retire {ROLLED_BACK} terse-v9\n" in await browser.text("#d-register")
    await browser.click("#d-register [type=submit]")
    await browser.wait("document.querySelector('#d-register .answer').innerText.startsWith('Applied:')")
    [command] = served.orders
    assert (command.variant_id, command.temperature) == ("terse-v9", 0.2)
    assert command.configuration == {"model": "m-9"}
    await browser.click("#d-register [value=cancel]")
    offered = (
        "[...document.getElementById('d-rollout-start-variant_id').options].some((one) => one.value === 'terse-v9')"
    )
    await browser.wait(f"{offered} && document.querySelector('[data-live=variants]').innerText.includes('terse-v9')")
    await browser.click("main [data-open=d-rollout-start]")
    await browser.run("void (document.getElementById('d-rollout-start-variant_id').value = 'terse-v9')")
    await browser.fill("#d-rollout-start-stages", "10, 50")
    await browser.click("#d-rollout-start [type=submit]")
    await browser.wait("document.querySelector('#d-rollout-start .answer').innerText.startsWith('Applied:')")
    assert served.orders[1].stages == [0.1, 0.5]
    await browser.click("#d-rollout-start [value=cancel]")
    await browser.wait("document.querySelector('main [data-open=d-rollout-abort]') !== null")
    await browser.click("main [data-open=d-rollout-abort]")
    await browser.click("#d-rollout-abort [type=submit]")
    await browser.wait("document.querySelector('#d-rollout-abort .answer').innerText.startsWith('Applied:')")
    assert isinstance(served.orders[2], m.AbortRollout)
    assert await browser.errors() == []


async def test_a_button_whose_dialog_comes_a_moment_later_opens_it_then(browser: Chromium, served: Served) -> None:
    """Dialogs are not replaced while one is open, but buttons are."""
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.click("[data-fold=rare] summary")
    await browser.run("void document.getElementById('d-register').remove()")
    await browser.click("main [data-open=d-register]")
    await browser.wait("document.querySelector('dialog[open]')?.id === 'd-register'")
    assert await browser.errors() == []


async def test_a_configuration_is_sent_as_it_was_written_or_not_at_all(browser: Chromium, served: Served) -> None:
    """A browser would round large numbers without a word."""
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.click("[data-fold=rare] summary")
    await browser.click("main [data-open=d-register]")
    await browser.fill("#d-register-variant_id", "   ")
    await browser.click("#d-register [type=submit]")
    await browser.wait("document.querySelector('#d-register .answer').innerText.includes('variant_id')")
    await browser.fill("#d-register-variant_id", "seeded")
    invalid = "!document.getElementById('d-register-configuration').validity.valid"
    for rounded in ('{"seed": 12345678901234567890}', '{"seeds": [[-9007199254740993]]}', '{"most": 1e999}', "null"):
        await browser.fill("#d-register-configuration", rounded)
        await browser.click("#d-register [type=submit]")
        assert await browser.run(invalid), rounded
    await browser.fill("#d-register-configuration", '{"seed": 9007199254740991, "share": 0.1}')
    await browser.click("#d-register [type=submit]")
    await browser.wait("document.querySelector('#d-register .answer').innerText.startsWith('Applied:')")
    [command] = served.orders
    assert command.configuration == {"seed": 9_007_199_254_740_991, "share": 0.1}


@pytest.mark.parametrize(
    ("key", "verb", "status"), [("a", "approve", "approved"), ("r", "reject", "rejected"), ("d", "defer", "deferred")]
)
async def test_a_proposal_is_decided_by_keyboard(
    browser: Chromium, served: Served, key: str, verb: str, status: str
) -> None:
    await enter(browser, served, "/review")
    await browser.press("j")
    current = await browser.run("document.querySelector('.queue a[aria-current]').hash.slice(1)")
    assert current == await browser.run("document.querySelectorAll('.queue a')[1].hash.slice(1)")
    await browser.press(key)
    await browser.wait(f"document.getElementById('d-{verb}-{current}').open")
    await browser.fill(f"#d-{verb}-{current}-r", "seen")
    await browser.press("Enter")
    await browser.wait(f"/^(Applied|Refused)/.test(document.querySelector('#d-{verb}-{current} .answer').innerText)")
    said = await browser.text(f"#d-{verb}-{current} .answer")
    assert said.startswith("Applied:"), said
    [order] = served.orders
    assert order.proposal_id == current and status.startswith(type(order).__name__.removesuffix("Proposal").lower()[:4])


async def test_the_whole_fleet_is_stopped_and_resumed_with_two_clicks_each(browser: Chromium, served: Served) -> None:
    await enter(browser, served, "/review", width=390)
    await browser.click(".bar [data-open=d-hold-all]")
    await browser.click("#d-hold-all-stops-all")
    await browser.fill("#d-hold-all-r", "the judge is broken")
    assert "crl hold --all --reason 'the judge is broken'" in await browser.text("#d-hold-all")
    await browser.click("#d-hold-all [type=submit]")
    await browser.wait("document.querySelector('#d-hold-all .answer').innerText.startsWith('Applied:')")
    await browser.click("#d-hold-all [value=cancel]")
    await browser.wait("document.querySelector('.banner.held') !== null")
    assert "web:ada since" in await browser.text(".banner.held")
    assert "not even a rollback" in await browser.text(".banner.held")
    await check(browser, "held")
    await browser.click(".bar [data-open=d-resume-all]")
    await browser.fill("#d-resume-all-r", "it works again")
    await browser.click("#d-resume-all [type=submit]")
    await browser.wait("document.querySelector('#d-resume-all .answer').innerText.startsWith('Applied:')")
    await browser.click("#d-resume-all [value=cancel]")
    await browser.wait("document.querySelector('.banner.held') === null")
    assert [type(order).__name__ for order in served.orders] == ["HoldAll", "ResumeAll"]
    assert (served.orders[0].stops, served.orders[0].hours) == ("all", None), "the policy decides, as in a terminal"


@pytest.mark.parametrize("path", ["/", f"/tasks/{ROLLED_BACK}"])
async def test_on_a_phone_every_dialog_shows_its_buttons_at_once(path: str, browser: Chromium, served: Served) -> None:
    await enter(browser, served, path, width=390, height=844)
    foot = "[...document.querySelectorAll('dialog[open] .btns .btn')].map((one) => one.getBoundingClientRect())"
    for name in await browser.run("[...document.querySelectorAll('dialog')].map((one) => one.id)"):
        await browser.run(f"document.getElementById('{name}').showModal()")
        places = await browser.run(f"{foot}.map((one) => [one.top, one.bottom])")
        assert len(places) == 2 and all(0 <= top < bottom <= 844 for top, bottom in places), (name, places)
        assert await browser.run("document.querySelector('dialog[open]').scrollWidth <= innerWidth"), name
        await browser.run(f"document.getElementById('{name}').close()")


async def test_the_charts_follow_when_the_system_becomes_dark(browser: Chromium, served: Served) -> None:
    drawn = "document.querySelector('.uplot canvas')?.toDataURL()"
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    light = await browser.run(drawn)
    await browser.scheme("dark")
    await browser.run(f"window.light = {light!r}")
    await browser.wait(f"{drawn} !== window.light")
    switched = await browser.run(drawn)
    await browser.goto(f"{served.url}/dashboard/tasks/{ROLLED_BACK}")
    await browser.run(f"window.dark = {switched!r}")
    await browser.wait(f"{drawn} === window.dark")


async def test_all_that_is_said_of_a_rollback_in_the_list_leads_to_it(browser: Chromium, served: Served) -> None:
    await enter(browser, served)
    await browser.run("document.querySelector('#rbs .c-what .why2').scrollIntoView({ block: 'center' })")
    at = "document.querySelector('#rbs .c-what .why2').getBoundingClientRect()"
    found = await browser.run(
        f"(() => {{ const at = {at}; return document.elementFromPoint(at.left + at.width / 2, at.top + 5)"
        ".closest('a')?.pathname ?? null; })()"
    )
    assert found is not None and found.startswith("/dashboard/rollbacks/rb-")
    await browser.goto(f"{served.url}{found}")
    long = "document.querySelector('h1').textContent = 'word '.repeat(60)"
    await browser.run(long)
    assert await browser.run("document.querySelector('h1').getBoundingClientRect().width") > 900


async def test_the_promotions_of_the_fleet_are_stopped_for_some_hours_and_the_task_is_still_protected(
    browser: Chromium, served: Served
) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.click(".bar [data-open=d-hold-all]")
    await browser.fill("#d-hold-all-h", "8")
    assert "crl hold --all --promotions-only --hours 8" in await browser.text("#d-hold-all")
    await browser.click("#d-hold-all [type=submit]")
    await browser.wait("document.querySelector('#d-hold-all .answer').innerText.startsWith('Applied:')")
    [order] = served.orders
    assert (order.stops, order.hours) == ("promotions", 8.0)
    await browser.click("#d-hold-all [value=cancel]")
    await browser.wait("document.querySelector('.banner.held') !== null")
    assert "Promotions are stopped in the whole fleet. Rollbacks still happen." in await browser.text(".banner.held")
    assert "To put it back: crl resume --all" in await browser.text(".banner.held")
    assert "a rollback still protects" in await browser.text("[data-live=next]")
    await check(browser, "promotions stopped")
    key = TaskKey("hotel-support", "discount-request")
    served.tell(lambda teller: teller.collapse(key, "short-v1"))
    await browser.goto(f"{served.url}/dashboard/tasks/{key}")
    assert "the monitor went from short-v1 back to default" in await browser.text(".title p")
    assert "promotions stopped" in await browser.text(".title .tag") or "no promotions" in await browser.text(".facts")


async def test_while_kafka_is_silent_the_page_says_so_and_then_that_it_is_live_again(
    browser: Chromium, served: Served
) -> None:
    await enter(browser, served)
    served.hub.lose("Kafka does not answer")
    await browser.wait("document.querySelector('.live b').textContent === 'Not live'")
    banner = await browser.text("#lost")
    assert "Kafka does not answer" in banner and "All figures are from then" in banner
    assert "crl need Kafka too" in banner and "still work" not in banner
    await check(browser, "not live")
    served.hub.lost_at = NOW - 3_600_000  # the outage began long ago; beats go on
    hours = "/All figures are from then, [12] h ago/.test(document.getElementById('lost').innerText)"
    await browser.wait(hours)
    served.hub.find()
    await browser.wait(
        "document.querySelector('.live b').textContent === 'Live' && document.getElementById('lost').hidden"
    )


async def test_a_page_that_is_opened_while_kafka_is_silent_never_says_anything_else(
    browser: Chromium, served: Served
) -> None:
    """What the page says before its script runs is what it says after; then the stream takes over."""
    await enter(browser, served)
    served.hub.lose("Kafka does not answer")
    await browser.goto(f"{served.url}/dashboard/")
    assert await browser.text(".live b") == "Not live"
    assert "Kafka does not answer" in await browser.text("#lost")
    assert await browser.run("!document.querySelector('#lost').hidden")
    await browser.wait("document.querySelector('#lost').innerText.includes('ago, and may be wrong now')")
    assert await browser.text(".live b") == "Not live"
    served.hub.find()
    await browser.wait("document.querySelector('.live b').textContent === 'Live'")
    assert await browser.run("document.querySelector('#lost').hidden")


async def test_a_page_of_a_dashboard_that_is_starting_opens_by_itself(
    browser: Chromium, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = False

    async def view() -> bool:
        return known

    monkeypatch.setattr(served.hub, "view", view)
    served.hub.trouble = "the topics are being read, 3,000 of 12,000 records so far"
    await browser.open()
    assert await browser.goto(served.link()) == 503
    assert "3,000 of 12,000 records so far" in await browser.text("main")
    assert await browser.violations() == []
    known, served.hub.trouble = True, ""
    await browser.wait("document.querySelector('.live b')?.textContent === 'Live'")


async def test_a_task_changes_in_place_and_rows_never_move(browser: Chromium, served: Served) -> None:
    await enter(browser, served)
    order = "[...document.querySelectorAll('table.tasks tbody tr')].map(e => e.dataset.key)"
    before = await browser.run(order)
    agent, _, task = before[20].partition("/")

    def outcomes(teller: Teller) -> None:
        teller.outcomes(TaskKey(agent, task), "default", "F" * 20)

    cell = f"document.querySelector('tr[data-key=\"{before[20]}\"] .c-win').innerHTML"
    drawn = await browser.run(cell)
    served.tell(outcomes)
    await browser.wait(f"{cell} !== {drawn!r}" if "'" not in drawn else f"{cell}.includes('class=\"f\"')")
    assert await browser.run(order) == before
    await browser.wait("!document.getElementById('resort').hidden")
    await browser.click("#resort")
    assert (await browser.run(order)).index(before[20]) < 20


async def test_the_first_outcome_replaces_the_page_of_an_empty_system(
    browser: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, None) as served:
        await enter(browser, served)
        assert "No outcomes yet" in await browser.text("main")
        await check(browser, "empty")
        teller = Teller()
        teller.outcomes(FRESH, "default", "SSS")
        teller.flush()
        served.teller, served.hub.driver = teller, teller.driver
        served.hub.hear_engine()
        await browser.wait("document.querySelector('table.tasks')?.innerText.includes('fresh-task')")


async def test_hostile_texts_are_shown_as_texts_and_run_nothing(browser: Chromium, served: Served) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    await browser.run("void (window.alert = () => { window.broken = 1; })")
    served.tell(lambda teller: teller.command(m.HoldTask, ROLLED_BACK, HOSTILE[:200], HOSTILE, hours=1.0))
    await browser.wait("document.querySelector('[data-live=history]').innerText.includes('onerror')")
    assert await browser.run("document.querySelector('main img')?.outerHTML ?? null") is None
    assert await browser.run("window.broken ?? null") is None
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e\u200b]", await browser.text("body"))
    await browser.goto(f"{served.url}/dashboard/")
    assert await browser.errors() == []


async def test_the_charts_are_read_by_keyboard(browser: Chromium, served: Served) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    assert await browser.run("document.querySelectorAll('.uplot').length") == 4
    await browser.run("document.querySelector('[data-charts]').focus()")
    newest = await browser.text("[data-readout]")
    await browser.press("ArrowLeft")
    assert await browser.text("[data-readout]") != newest
    assert await browser.run("document.querySelector('[data-charts]').getAttribute('aria-valuetext')") in (
        await browser.run("document.querySelector('[data-readout]').textContent")
    )
    await browser.press("Escape")
    assert await browser.text("[data-readout]") == newest


async def test_the_charts_show_which_variant_was_active_and_where_it_counts_as_degraded(
    browser: Chromium, served: Served
) -> None:
    await enter(browser, served, f"/tasks/{ROLLED_BACK}")
    boxes = await browser.run("[...document.querySelectorAll('.actives title')].map((one) => one.textContent)")
    assert boxes[-1] == "api-baseline · epoch 3" and len(boxes) == len(set(boxes)) > 1
    place = "(one) => [Number(one.getAttribute('x')), Number(one.getAttribute('width'))]"
    places = await browser.run(f"[...document.querySelectorAll('.actives svg svg')].map({place})")
    # Each box ends where the next one begins; a short epoch is still seen.
    assert places[-1][0] + places[-1][1] > 800, "the lane is as wide as the charts"
    assert all(abs(x + width - after) <= 2 for (x, width), (after, _) in pairwise(places))
    series = await browser.run("JSON.parse(document.getElementById('series').textContent)")
    assert series["limit"] == [pytest.approx(0.9 * level) for level in series["baseline"]], "the guide: a drop of 10 %"
    assert "degraded below" in await browser.text("[data-charts]")


async def test_without_a_session_the_page_asks_to_sign_in(
    browser: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, 30, worker__web_token="a-token-of-the-installation") as served:
        await browser.open(width=390)
        assert await browser.goto(f"{served.url}/dashboard/") == 401
        assert "You are not signed in" in await browser.text("main")
        assert await browser.violations() == []
        await browser.fill("#name", "grace")
        await browser.fill("#token", "a-token-of-the-installation")
        await browser.click("[type=submit]")
        await browser.wait("document.querySelector('.live b')?.textContent === 'Live'")
        assert await browser.run("document.documentElement.dataset.csrf.length") > 20
