"""An open page is told what changes, in bounded memory, and is never called live when it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from core.snapshots import a_snapshot, a_variant

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import Change
from crl_stream.dashboard.web import connections, stream
from crl_stream.dashboard.web import hub as hub_module
from crl_stream.dashboard.web.hub import NOT_KNOWN_YET, NOTICE_MS, WAITING_TASKS, Hub, Subscription, now_ms
from crl_stream.kafka.fleet_records import Batch
from crl_stream.settings.model import Kafka
from dashboard.browsing import Browser, until
from dashboard.served import Served, serving

A, B = TaskKey("agent", "a"), TaskKey("agent", "b")


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(stream, "BEAT_SECONDS", 0.5)
    monkeypatch.setattr(stream, "PAINT_SECONDS", 0.05)
    async with serving(tmp_path, web__streams=2) as found:
        yield found


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with Browser(served.url) as found:
        await found.enter(served.link())
        yield found


def tell(hub: Hub, *changes: Change) -> None:
    """Tell every viewer of changes, as the consumer of a hub does."""
    for change in changes:
        hub.version += 1
        hub._past.append((hub.version, change))
    for viewer in hub._viewers:
        viewer.take(changes)


def of_task(key: TaskKey) -> Change:
    return Change("task", key, str(key))


def test_a_task_that_changes_often_waits_once() -> None:
    found = Subscription(None)
    found.take([of_task(A), of_task(B), of_task(A), Change("rollback", A, "rb-1")])
    assert list(found.tasks) == [A, B]
    assert [change.id for change in found.events] == ["rb-1"]
    assert found.wake.is_set()


def test_a_viewer_that_reads_slowly_is_told_to_fetch_the_page_again() -> None:
    found = Subscription(None)
    found.take([of_task(TaskKey("agent", f"t{number}")) for number in range(WAITING_TASKS + 1)])
    assert (found.refetch, len(found.tasks)) == (True, 0)
    events = Subscription(None)
    for number in range(10_000):
        events.take([Change("fact", A, f"f{number}")])
        assert len(events.events) <= 201
    assert events.refetch


def test_a_viewer_of_one_task_is_told_only_of_it_and_of_the_fleet() -> None:
    found = Subscription(A)
    found.take([of_task(B)])
    assert not found.wake.is_set()
    found.take([of_task(A), Change("overview", None, "overview"), Change("fact", None, "cmdr-1")])
    assert (list(found.tasks), found.overview, len(found.events)) == ([A], True, 1)


def test_a_viewer_that_comes_back_gets_what_it_missed_or_is_told_to_fetch() -> None:
    hub = Hub(Kafka(bootstrap_servers="127.0.0.1:1"))
    seen = hub.stamp
    tell(hub, of_task(A))
    tell(hub, of_task(B))
    assert list(hub.subscribe(None, seen).tasks) == [A, B]
    assert list(hub.subscribe(None, f"{hub.id}.1").tasks) == [B]
    assert not hub.subscribe(None, hub.stamp).wake.is_set()
    for strange in ("", "x.1", f"{hub.id}.", f"{hub.id}.-1", f"{hub.id}.{10**30}", "9" * 64, f"other.{hub.version}"):
        assert hub.subscribe(None, strange).refetch, strange
    for _ in range(2_000):
        tell(hub, of_task(A))
    assert hub.subscribe(None, seen).refetch


async def test_a_stream_begins_with_a_snapshot_and_tells_changes_and_beats(served: Served, browser: Browser) -> None:
    hub = served.dashboard.hub
    key = next(iter(hub.fleet.tasks))
    async with browser.stream() as events:
        first = await anext(events)
        assert (first.name, first.data["refetch"], first.data["live"]) == ("snapshot", False, True)
        assert first.data["heard_at"] == hub.fleet.heard_at
        tell(hub, of_task(key), Change("rollback", key, "rb-1"), Change("overview", None, "overview"))
        changed = await until(events, lambda event: event.name == "task")
        assert changed.data["key"] == str(key)
        assert changed.data["row"] is not None
        assert changed.id == hub.stamp
        told = await until(events, lambda event: event.name == "fact")
        assert told.data == {"kind": "rollback", "key": str(key), "id": "rb-1"}
        await until(events, lambda event: event.name == "overview")
        beat = await until(events, lambda event: event.name == "beat")
        assert beat.data["age"] == pytest.approx(beat.data["now"] - hub.fleet.heard_at)


async def test_after_a_break_the_last_event_id_decides(served: Served, browser: Browser) -> None:
    hub = served.dashboard.hub
    before = hub.stamp
    tell(hub, of_task(next(iter(hub.fleet.tasks))))
    async with browser.stream(last=before) as events:
        assert [(await anext(events)).name for _ in range(2)] == ["snapshot", "task"]
    async with browser.stream(last="an-older-hub.7") as events:
        first = await anext(events)
        assert (first.name, first.data["refetch"], first.data["stamp"]) == ("snapshot", True, hub.stamp)


async def test_an_outage_is_told_at_once_and_so_is_its_end(served: Served, browser: Browser) -> None:
    hub = served.dashboard.hub
    hub._caught_up.set()
    async with browser.stream() as events:
        await anext(events)
        hub._lose("Kafka does not answer")
        lost = await until(events, lambda event: event.name == "beat" and not event.data["live"])
        assert lost.data["since"] == hub.lost_at
        assert lost.data["text"].startswith("not live since 20")
        assert lost.data["text"].endswith(" UTC: Kafka does not answer")
        hub._find_again()
        found = await until(events, lambda event: event.name == "beat" and event.data["live"])
        assert (found.data["text"], found.data["since"]) == ("", None)


async def test_after_an_outage_no_service_is_called_down_until_it_had_time_to_announce_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = "not_running since 2025-11-19 15:00:00 UTC: The monitor is not running. Start it with `crl worker`."
    looks = asyncio.Queue[None]()

    async def inspect() -> list[str]:
        looks.put_nowait(None)
        return ["lag: behind.", down]

    hub = Hub(Kafka(bootstrap_servers="127.0.0.1:1"), inspect)
    hub._hear(Batch([], caught_up=True, silent=0.0))
    assert hub._what_is_sure([down]) == [down], "there was no outage"
    hub._hear(Batch([], caught_up=True, silent=hub_module.SILENT_SECONDS))
    looking = asyncio.create_task(hub._look())
    async with asyncio.timeout(5):
        await looks.get()
        await asyncio.sleep(0)
        assert hub.troubles == ["lag: behind.", NOT_KNOWN_YET], "during it"
        hub._hear(Batch([], caught_up=True, silent=0.0))
        assert not hub.trouble
        await looks.get()
        monkeypatch.setattr(hub_module, "REJOIN_SECONDS", 0.0)
        hub._look_now.set()
        await looks.get()
        await asyncio.sleep(0)
    assert hub.troubles == ["lag: behind.", down], "there was time"
    looking.cancel()


NOT_LIVE = "Not live since 2025-11-19 15:00:00 UTC: Kafka does not answer."


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/review"])
async def test_a_page_that_is_loaded_in_an_outage_says_so_without_its_script(
    path: str, served: Served, browser: Browser
) -> None:
    _, page, _ = await browser.get(path)
    assert "Not live" not in page and 'id="lost" role="region" aria-label="Connection" hidden' in page
    served.dashboard.hub.trouble, served.dashboard.hub.lost_at = "Kafka does not answer", 1_763_564_400_000
    _, page, _ = await browser.get(path)
    assert f'<b role="alert">{NOT_LIVE}</b>' in page
    assert "crl need Kafka too" in page and "still work" not in page
    assert '<html lang="en" data-now' in page and 'class="stale-page"' in page
    assert 'id="lost" role="region" aria-label="Connection">' in page
    assert '<b role="status">Not live</b>' in page and "Connecting" not in page


async def test_a_topic_that_was_made_again_is_told_on_the_pages_for_a_while(served: Served, browser: Browser) -> None:
    served.dashboard.hub.remade = ("crl.tasks", now_ms())
    _, page, _ = await browser.get("/dashboard/")
    assert "crl.tasks was deleted and created again, seen " in page
    served.dashboard.hub.remade = ("crl.tasks", now_ms() - NOTICE_MS - 1)
    assert "created again" not in (await browser.get("/dashboard/"))[1]


async def test_a_dashboard_that_is_starting_says_what_it_waits_for_and_asks_again(
    served: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "READY_SECONDS", 0.5)
    served.dashboard.hub = Hub(Kafka(bootstrap_servers="127.0.0.1:1"))
    status, page, headers = await browser.get("/dashboard/")
    assert (status, headers["Retry-After"]) == (503, "2")
    assert '<meta http-equiv="refresh" content="2">' in page
    assert "Nothing is known of the fleet yet: Kafka does not answer at 127.0.0.1:1." in page
    await served.dashboard.hub.close()
    served.dashboard.hub = hub = Hub(Kafka(bootstrap_servers="127.0.0.1:1"))
    hub._hear(Batch([], caught_up=False, silent=0.0, left=9_000, total=12_000))
    hub._reading = asyncio.create_task(asyncio.sleep(30))
    _, page, _ = await browser.get("/dashboard/")
    assert "the topics are being read, 3,000 of 12,000 records so far." in page
    await hub.close()


def test_a_viewer_from_before_the_fleet_was_known_fetches_the_page_when_it_is() -> None:
    hub = Hub(Kafka(bootstrap_servers="127.0.0.1:1"))
    viewer = hub.subscribe(None, hub.stamp)
    hub._hear(Batch([], caught_up=False, silent=0.0, left=1, total=2))
    assert not viewer.refetch
    hub._hear(Batch([], caught_up=True, silent=0.0))
    assert viewer.refetch and viewer.wake.is_set()
    viewer.refetch = False
    hub._hear(Batch([], caught_up=True, silent=0.0))
    assert not viewer.refetch


async def test_too_many_open_pages_are_refused_and_a_closed_one_makes_room(served: Served, browser: Browser) -> None:
    async with browser.stream() as one:
        await anext(one)
        async with browser.stream() as two:
            await anext(two)
            status, text, headers = await browser.get("/dashboard/stream")
            assert status == 503
            assert "Too many pages are open here." in text
            assert headers["Retry-After"] == "5"
    async with asyncio.timeout(10):
        while served.dashboard.hub.viewers:
            await asyncio.sleep(0.05)


async def test_an_open_stream_is_not_closed_as_idle_but_an_idle_connection_is(
    served: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(connections, "EVERY_SECONDS", 0.05)
    closing = asyncio.create_task(connections.keep_closing_idle(lambda: served.runner.server))
    name, port = served.url.removeprefix("http://").split(":")
    async with browser.stream() as events:
        await anext(events)
        reader, writer = await asyncio.open_connection(name, int(port))
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        for _ in range(3):
            await until(events, lambda event: event.name == "beat")
    closing.cancel()


async def test_open_streams_do_not_delay_the_end_of_the_process(served: Served, browser: Browser) -> None:
    async with browser.stream() as one, browser.stream() as two:
        await anext(one)
        await anext(two)
        began = time.monotonic()
        await served.runner.cleanup()
        assert time.monotonic() - began < 1.0
        with pytest.raises(AssertionError, match="the stream ended"):
            await until(one, lambda _: False)


async def test_a_stream_ends_with_its_session(
    served: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with browser.stream() as events:
        await anext(events)
        now = time.time_ns() // 1_000_000
        monkeypatch.setattr("crl_stream.dashboard.web.routes.now_ms", lambda: now + 13 * 3_600_000)
        with pytest.raises(AssertionError, match="the stream ended"):
            await until(events, lambda _: False)


async def test_a_viewer_that_reads_nothing_is_disconnected(
    served: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WRITE_SECONDS", 0.3)
    hub = served.dashboard.hub
    url = f"{served.url}/dashboard/stream?seen={hub.stamp}"
    cookie = {"Cookie": browser.session_cookie}
    async with (
        aiohttp.ClientSession(read_bufsize=1_024) as session,
        session.get(url, headers=cookie) as response,
        asyncio.timeout(30),
    ):
        assert response.status == 200
        while hub.viewers:
            tell(hub, *[of_task(key) for key in hub.fleet.tasks])
            await asyncio.sleep(0.01)


def test_a_row_of_a_task_that_is_gone_is_null() -> None:
    hub = Hub(Kafka(bootstrap_servers="127.0.0.1:1"))
    snapshot = a_snapshot(a_variant())
    hub.fleet.hear(snapshot)
    painter = stream.Painter(lambda fleet, key, _: {"key": str(key), "row": [1] if key in fleet.tasks else None})
    found = hub.subscribe(None, hub.stamp)
    found.take([of_task(A), of_task(TaskKey(snapshot.agent_name, snapshot.task_type))])
    told = b"".join(painter.events(hub, found)).decode()
    assert '"key":"agent/a","row":null' in told
    assert '"row":[1]' in told
    assert list(painter.events(hub, found)) == []


async def test_what_is_not_working_is_found_out_and_told(served: Served, browser: Browser) -> None:
    hub = served.dashboard.hub
    said = ["monitor: The monitor does not run. Start it with `crl worker`."]

    async def inspect() -> list[str]:
        return said

    hub._inspect = inspect
    hub._caught_up.set()
    async with browser.stream() as events:
        await anext(events)
        looking = asyncio.create_task(hub._look())
        await until(events, lambda event: event.name == "overview")
        looking.cancel()
    _, page = await browser.json("/dashboard/fleet.json")
    assert (page["health"], page["concerns"][0]) == ("ATTENTION NEEDED", said[0])
    _, text, _ = await browser.get("/dashboard/")
    assert "The monitor does not run." in text


async def test_pages_that_wait_for_the_fleet_count_among_the_open_ones(served: Served, browser: Browser) -> None:
    known, hub = asyncio.Event(), served.dashboard.hub

    async def view() -> bool:
        await known.wait()
        return True

    hub.view = view  # type: ignore[method-assign]
    headers = {"Cookie": browser.session_cookie}
    async with aiohttp.ClientSession(headers=headers) as session:
        asked = [asyncio.create_task(session.get(f"{served.url}/dashboard/stream")) for _ in range(5)]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        known.set()
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status for answer in answers) == [200, 200, 503, 503, 503]
        assert {one.result().status for one in done} == {503}
        for answer in answers:
            answer.close()
