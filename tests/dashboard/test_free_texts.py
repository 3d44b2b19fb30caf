"""Every text that a stranger can write is inert on every surface; the table of docs/dashboard.md names these tests."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
from core.snapshots import a_snapshot, a_variant

from crl_stream.cli import tail
from crl_stream.cli.export.lines import FORMATS, KINDS, line
from crl_stream.contract import contract_root
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import EVENTS, STATES, Fleet
from crl_stream.dashboard.pages import Rows
from crl_stream.dashboard.web import documents, stream
from crl_stream.dashboard.web.hub import Hub
from crl_stream.kafka.reader import Received
from crl_stream.notifiers.notice import notice_of
from crl_stream.notifiers.plain import plain
from crl_stream.proposals.export.csv import write as proposals_csv
from crl_stream.settings.model import Kafka
from crl_stream.visible import escape_json
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS
from dashboard.browsing import Browser
from dashboard.served import serving
from dashboard.strangers import free_texts, with_text
from dashboard.test_pages import all_pages

EVIL = (
    '=HYPERLINK("http://evil.com")</script><script>alert(1)</script><img src=x onerror=alert(1)>\'"{{7*7}}'
    "<!channel> @everyone [click](http://evil.com) **b**\x1b[2J\x07\u202etxt\u200b\u2028\r\n> data: undone by root"
)
"""A text that would act in a spreadsheet, a page, a chat, a terminal and a stream."""
IN_A_CHAT = ("<!channel>", "@everyone", "[click]", "://", "**", "<script", "<img")
NOW = 1_763_564_400_000


class Told(NamedTuple):
    """A record with a hostile text in one of its fields."""

    name: str
    received: Received


def received(topic: str, message: Any, value: bytes, headers: Any = ()) -> Received:
    """Return a record as the reader gives it."""
    record = SimpleNamespace(partition=0, offset=7, timestamp=NOW, key=b"k", value=value, headers=headers)
    return Received(topic, record, message)


@cache
def examples() -> list[tuple[str, str, Any]]:
    """Return the name of each example of the contract, its topic and its message; not those of other programs."""
    found = []
    for path in sorted((contract_root() / "examples").rglob("*.json")):
        topic = path.parent.name
        if topic not in {DEAD_LETTERS, "crl.bridge-inbox"}:
            kind = getattr(m, path.stem.partition("-")[0])
            found.append((path.stem, topic, msgspec.json.decode(path.read_bytes(), type=kind)))
    return found


@cache
def hostile_records() -> list[Told]:
    """Return one record for each free text of each message of the contract, and a dead letter."""
    found = []
    for name, topic, message in examples():
        for place in free_texts(message, EVIL):
            whole = with_text(message, EVIL, [place])
            found.append(Told(f"{topic} {name} {'.'.join(map(str, place))}", received(topic, whole, encode(whole))))
    junk = SimpleNamespace(
        key=EVIL.encode(), value=EVIL.encode(), headers=((EVIL, EVIL.encode()),), offset=3, timestamp=0
    )
    letter = dead_letter(junk, INVOCATIONS, 0, "bad_json", EVIL)  # type: ignore[arg-type]
    found.append(Told("a dead letter", received(DEAD_LETTERS, None, EVIL.encode(), letter.headers)))
    return found


@cache
def hostile_fleets() -> list[tuple[str, Fleet]]:
    """Return a fleet for each message that the dashboard reads, with a hostile text in all its free texts at once."""
    fleets = []
    for path, topic, message in examples():
        if topic in {*STATES, *EVENTS} and (places := free_texts(message, EVIL)):
            fleet = Fleet()
            key = TaskKey(getattr(message, "agent_name", None) or "a", getattr(message, "task_type", None) or "b")
            fleet.hear(a_snapshot(a_variant(), agent_name=key.agent_name, task_type=key.task_type))
            fleet.hear(with_text(message, EVIL, places))
            fleets.append((path, fleet))
    return fleets


def test_the_table_has_every_free_text_that_the_guarantee_names() -> None:
    names = {name for name, _ in hostile_records()}
    for wanted in (
        "crl.invocations Invocation provider",
        "crl.invocations Invocation model",
        "crl.commands HoldTask reason",
        "crl.commands HoldTask actor",
        "crl.decisions CommandResult-applied actor",
        "crl.proposals Proposal reasoning",
        "crl.alerts Alert-rollback text",
        "a dead letter",
    ):
        assert wanted in names, sorted(names)
    assert len(names) > 150
    assert len(hostile_fleets()) > 30


# -- surfaces --------------------------------------------------------------------------------------------
def on_a_terminal(one: Received) -> Iterator[str]:
    text = tail.line_of(one)
    assert text.isprintable()
    yield text
    document = escape_json(encode(tail._document(one)))
    assert document.decode().isprintable()
    yield json.dumps(json.loads(document))


def in_csv(one: Received) -> Iterator[str]:
    for what in KINDS.values():
        if one.topic not in what.topics or (what.kinds and not isinstance(one.message, what.kinds)):
            continue
        for form in FORMATS:
            data = line(what, form, one)
            if form == "csv":
                rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
                assert len(rows) == 1, "one record is one row"
                assert not [cell for cell in rows[0] if cell.lstrip().startswith(("=", "+", "@", "\t", "\r"))]
            assert not set(data.decode()) & {"\x1b", "\x07", "\u202e", "\u200b", "\u2028"}
            yield data.decode()
    if isinstance(one.message, m.Proposal):
        for row in csv.reader(io.StringIO(proposals_csv([one.message], NOW).decode(), newline="")):
            assert not [cell for cell in row if cell.lstrip().startswith(("=", "+", "@", "\t", "\r"))]


def in_a_chat(one: Received) -> Iterator[str]:
    if isinstance(one.message, m.Alert | m.RollbackEvent | m.DegradationAlert):
        notice = notice_of(one.message)
        for text in (plain(notice.subject), plain(notice.text)):
            assert text.isprintable()
            assert not [act for act in IN_A_CHAT if act in text]
            yield text


SURFACES: dict[str, tuple[Callable[[Received], Iterator[str]], int]] = {
    "terminal": (on_a_terminal, 150),
    "csv": (in_csv, 60),
    "chat": (in_a_chat, 5),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_every_free_text_is_inert_outside_the_browser(surface: str) -> None:
    show, least = SURFACES[surface]
    shown = 0
    for name, one in hostile_records():
        try:
            shown += any("alert(1)" in text for text in show(one))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    assert shown >= least, f"{shown} texts are shown, as texts"


def test_every_free_text_is_inert_on_every_page() -> None:
    shown = 0
    for name, fleet in hostile_fleets():
        for page_name, page in all_pages(fleet, NOW):
            assert "<script>alert" not in page and "<img" not in page, (name, page_name)
            assert not [c for c in page if not c.isprintable() and c != "\n"], (name, page_name)
            assert "> data: undone" not in page, (name, page_name)
            shown += "&lt;script&gt;alert(1)" in page
    assert shown > 20, "the texts are shown, as texts"


def test_no_free_text_adds_an_event_to_a_stream() -> None:
    for name, fleet in hostile_fleets():
        hub = Hub(Kafka(bootstrap_servers="127.0.0.1:1"))
        hub.fleet, hub.trouble, hub.lost_at = fleet, EVIL, NOW
        for key in fleet.tasks:
            told = [
                stream.event(hub, "task", Rows().change(fleet, key, NOW)),
                stream.event(hub, "beat", stream.standing(hub)),
            ]
            told.append(stream.event(hub, "fact", {"kind": "fact", "key": str(key), "id": EVIL}))
            for event in told:
                lines = event.decode().split("\n")
                assert [one.partition(":")[0] for one in lines] == ["event", "id", "data", "", ""], name
                assert len(event.decode().replace("\u2028", "").splitlines()) == 4, (
                    "browsers end lines at CR and LF only"
                )
                assert "\r" not in event.decode(), name
                json.loads(lines[2].removeprefix("data: "))


async def test_every_free_text_stays_a_text_of_the_documents(tmp_path: Path) -> None:
    for name, fleet in hostile_fleets():
        for document in (
            documents.fleet_document(fleet, NOW, {}, [EVIL]),
            documents.review_document(fleet, NOW, {}),
            *(documents.task_document(fleet, key, NOW, {}) for key in fleet.tasks),
            *(documents.rollback_document(fleet, rollback_id, NOW, {}) for rollback_id in fleet.rollbacks),
        ):
            assert isinstance(json.loads(encode(document)), dict), name
    async with serving(tmp_path) as served, Browser(served.url) as browser:
        await browser.enter(served.link())
        served.dashboard.hub.fleet = next(fleet for name, fleet in hostile_fleets() if name == "Alert-rollback")
        served.dashboard.hub.troubles = [EVIL]
        for path in ("/dashboard/fleet.json", "/dashboard/review.json"):
            status, text, headers = await browser.get(path, Accept="*/*")
            assert (status, headers["Content-Type"]) == (200, "application/json")
            assert headers["X-Content-Type-Options"] == "nosniff", "so a browser does not take it for a page"
            assert "alert(1)" in text or path != "/dashboard/fleet.json"
