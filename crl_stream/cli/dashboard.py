"""``crl dashboard``: the safety dashboard of the guide (its ``scripts/crl/safety_dashboard.py``)."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Annotated

import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.session import Session
from crl_stream.cli.talk import LogLines, say, show, show_json
from crl_stream.core.instant import from_text, readable, to_text
from crl_stream.core.messages import Overview
from crl_stream.core.overview import Condition
from crl_stream.dashboard.findings import troubles_of
from crl_stream.dashboard.text import render
from crl_stream.dashboard.web.doors import link
from crl_stream.errors import NotFound, UsageError
from crl_stream.kafka.commands import default_actor
from crl_stream.kafka.overview_page import read_overview
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import Settings
from crl_stream.visible import visible_lines
from crl_stream.worker_views import views_url


def dashboard(
    context: typer.Context,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="INSTANT", help="Count days back from this time, e.g. 2025-11-19T14:30:00Z."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Serve the dashboard for browsers until Ctrl-C, and print its address.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Print an address that opens the dashboard of the worker here once.")
    ] = False,
) -> None:
    """Print the safety dashboard, for a terminal, cron or mail; or serve it for browsers with --web.

    Needs no worker, and reports when none is running. With --at, days are counted back from that time; the page is
    still the latest one, and running processes are not checked.
    """
    if web or link:
        if json or at is not None or (web and link):
            raise UsageError("--web, --link, --at and --json exclude each other.", hint="give one of them")
        _for_browsers(context.obj, serve_it=web)
        return
    now = now_ms() if at is None else _instant(at)
    overview, troubles = asyncio.run(_look(context.obj.connected, with_troubles=at is None))
    if json:
        condition = Condition(overview, now)
        show_json(
            {
                "generated": to_text(now),
                "health": "ATTENTION NEEDED" if troubles else condition.word,
                "concerns": [*troubles, *condition.concerns],
                "rollbacks_30_days": condition.rollbacks_month,
                "rollbacks_7_days": condition.rollbacks_week,
                "pending_proposals": condition.pending,
                "overview": overview,
            }
        )
        return
    # Write bytes, so that a mail from cron is the same under any locale.
    sys.stdout.buffer.write(readable(visible_lines(render(overview, now, troubles))).encode())
    sys.stdout.buffer.flush()


def _for_browsers(session: Session, *, serve_it: bool) -> None:
    """Serve the dashboard, or print an address for the one that a worker on this machine serves."""
    if not serve_it:
        settings = session.settings
        show(link(settings, views_url(settings), default_actor()))
        return
    from crl_stream.dashboard.web.server import serve

    settings = session.connected
    # Without ``force``, nothing would be logged: ``crl`` has given the root logger a handler that drops everything.
    logging.basicConfig(level=logging.WARNING, handlers=[LogLines()], force=True)

    def announce(url: str) -> None:
        show(link(settings, url, default_actor()))
        say(f"the dashboard is at {url}; the address above opens it once, within 15 minutes; Ctrl-C ends it")

    serve(settings, announce)


async def _look(settings: Settings, *, with_troubles: bool) -> tuple[Overview, list[str]]:
    async with KafkaSession(settings.kafka) as kafka:
        overview = await read_overview(kafka)
        if overview is None:
            raise NotFound(
                "There is no overview yet.",
                hint="`crl up` or `crl worker --role overview` writes it once a task has an outcome",
            )
        return overview, await troubles_of(settings, kafka) if with_troubles else []


def _instant(text: str) -> int:
    try:
        moment = from_text(text) if text.endswith("Z") else None
    except ValueError:
        moment = None
    if moment is None:
        raise UsageError(f"--at {text} is not a valid time.", hint="write it in UTC, like 2025-11-19T14:30:00Z")
    return moment
