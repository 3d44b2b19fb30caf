"""``crl dashboard`` prints the same page for people and for cron, wherever its output goes."""

from __future__ import annotations

import io
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from core.notes import NOON, Noted, a_proposal, a_rollback, a_task
from msgspec.structs import replace
from stages.test_overview import Worker, log_of, page_of

from crl_stream.cli import dashboard, main
from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.dashboard import findings
from crl_stream.dashboard.text import render
from crl_stream.dashboard.web import server
from crl_stream.errors import Unavailable
from crl_stream.kafka import overview_page
from crl_stream.kafka.fleet_health import finding
from crl_stream.kafka.reader import Received
from crl_stream.settings.model import Kafka
from crl_stream.wire.topics import OVERVIEW

AT = "2025-11-19T14:30:00Z"


@pytest.fixture
def page() -> m.Overview:
    told = [a_task(1), a_rollback(), a_proposal()]
    return page_of(Worker().fold(log_of([Noted(note, NOON) for note in told])).outputs)


def call(
    monkeypatch: pytest.MonkeyPatch, found: m.Overview | None, *arguments: str, encoding: str = "utf-8"
) -> tuple[int, bytes, str]:
    """Run the command with this page instead of Kafka; return exit code, stdout and stderr."""

    async def read(_kafka: Any) -> m.Overview | None:
        return found

    out, err = io.TextIOWrapper(io.BytesIO(), encoding=encoding), io.StringIO()
    monkeypatch.setattr(dashboard, "read_overview", read)
    monkeypatch.setenv("CRL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as left:
        main(["dashboard", *arguments])
    return int(left.value.code or 0), out.buffer.getvalue(), err.getvalue()


def test_the_page_is_all_on_stdout_and_nothing_on_stderr(monkeypatch: pytest.MonkeyPatch, page: m.Overview) -> None:
    assert call(monkeypatch, page, "--at", AT) == (0, render(page, from_text(AT)).encode(), "")


def test_a_locale_that_has_no_check_mark_changes_no_byte(monkeypatch: pytest.MonkeyPatch, page: m.Overview) -> None:
    code, out, _ = call(monkeypatch, page, "--at", AT, encoding="ascii")
    assert (code, out) == (0, render(page, from_text(AT)).encode())


def test_json_says_the_word_the_concerns_and_the_whole_page(monkeypatch: pytest.MonkeyPatch, page: m.Overview) -> None:
    code, out, _ = call(monkeypatch, page, "--json", "--at", AT)
    document = json.loads(out)
    assert code == 0
    assert (document["health"], document["concerns"]) == ("HEALTHY", [])
    assert (document["rollbacks_30_days"], document["pending_proposals"]) == (1, 1)
    assert document["overview"]["q_table_entries"] == 2


@pytest.mark.parametrize("json_wanted", [False, True])
def test_nothing_is_called_healthy_while_the_monitor_does_not_run(
    monkeypatch: pytest.MonkeyPatch, page: m.Overview, json_wanted: bool
) -> None:
    async def inspect(*_: Any) -> list[dict[str, Any]]:
        return [finding("not_running", "monitor", "The monitor is not running.", "start one", from_text(AT))]

    monkeypatch.setattr(findings, "inspect_kafka", inspect)
    _, out, err = call(monkeypatch, page, *(["--json"] if json_wanted else []))
    said = " ".join(out.decode().split())
    assert "not_running since 2025-11-19 14:30:00 UTC: The monitor is not running. Start one." in said
    assert "ATTENTION NEEDED" in said and "✓" not in said and '"health":"HEALTHY"' not in said
    assert err == ""


def test_a_kafka_that_cannot_say_what_runs_is_no_sign_of_health(
    monkeypatch: pytest.MonkeyPatch, page: m.Overview
) -> None:
    async def inspect(*_: Any) -> list[dict[str, Any]]:
        raise Unavailable("Kafka does not answer at 127.0.0.1:1.", hint="is it running?")

    monkeypatch.setattr(findings, "inspect_kafka", inspect)
    code, out, _ = call(monkeypatch, page)
    assert code == 0
    assert "- kafka: Kafka does not answer at 127.0.0.1:1." in out.decode() and "✓" not in out.decode()


def test_without_an_overview_it_says_who_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = call(monkeypatch, None)
    assert (code, out) == (4, b"")
    assert "crl worker --role overview" in err.splitlines()[-1]


@pytest.mark.parametrize("places", [[(0, 7), (0, 9), (0, 8)], [(0, 900), (1, 3), (0, 901)]])
async def test_of_the_last_records_the_page_with_the_highest_place_is_true(
    monkeypatch: pytest.MonkeyPatch, page: m.Overview, places: list[tuple[int, int]]
) -> None:
    """The last record may come from a worker that had already lost the partition."""
    pages = [replace(page, incarnation=i, as_of=m.Position(0, offset)) for i, offset in places]

    async def read_last(*_: Any) -> list[Received]:
        return [Received(OVERVIEW, None, None), *(Received(OVERVIEW, None, one) for one in pages)]

    monkeypatch.setattr(overview_page.TopicReader, "read_last", read_last)
    found = await overview_page.read_overview(Kafka())
    assert found is not None
    assert (found.incarnation, found.as_of.offset) == max(places)


def test_what_goes_wrong_while_serving_is_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.NullHandler()])  # as ``crl`` begins
    monkeypatch.setattr(server, "serve", lambda *_: logging.getLogger(server.__name__).error("the dashboard failed"))
    dashboard._for_browsers(SimpleNamespace(connected=None), serve_it=True)  # type: ignore[arg-type]
    assert "ERROR crl_stream.dashboard.web.server: the dashboard failed" in capsys.readouterr().err
