"""``crl dashboard``: the safety dashboard of the guide (its ``scripts/crl/safety_dashboard.py``)."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Annotated

import typer

from crl_stream.cli.talk import show_json
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.overview import Condition
from crl_stream.dashboard.text import render
from crl_stream.errors import NotFound, UsageError
from crl_stream.overview_page import read_overview
from crl_stream.visible import visible_lines


def dashboard(
    context: typer.Context,
    at: Annotated[
        str | None, typer.Option("--at", metavar="INSTANT", help="Read it at this hour, e.g. 2025-11-19T14:30:00Z.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the safety dashboard, for a terminal, cron or mail.  Reads one record; needs no worker.

    --at sets the hour that days are counted back from; the page itself is always the latest one.
    """
    now = round(time.time() * 1_000) if at is None else _instant(at)
    overview = asyncio.run(read_overview(context.obj.kafka))
    if overview is None:
        raise NotFound(
            "There is no overview yet.",
            hint="`crl up` or `crl worker --role overview` writes it, as soon as a task has had an outcome",
        )
    if json:
        condition = Condition(overview, now)
        show_json(
            {
                "generated": to_text(now),
                "health": condition.word,
                "concerns": condition.concerns,
                "rollbacks_30_days": condition.rollbacks_month,
                "rollbacks_7_days": condition.rollbacks_week,
                "pending_proposals": condition.pending,
                "overview": overview,
            }
        )
        return
    # Bytes, so that a mail of cron's has the same ones whatever the locale is.
    sys.stdout.buffer.write(visible_lines(render(overview, now)).encode())
    sys.stdout.buffer.flush()


def _instant(text: str) -> int:
    try:
        moment = from_text(text) if text.endswith("Z") else None
    except ValueError:
        moment = None
    if moment is None:
        raise UsageError(f"--at {text} is no instant.", hint="write it in UTC, like 2025-11-19T14:30:00Z")
    return moment
