"""``crl status``: what is wrong with the system, its health in one word, and its tasks at a glance.

It asks a worker and Kafka, and reports what it can if either does not answer. For a large fleet it shows numbers and
the tasks that need attention, so the answer takes the same time for any number of tasks.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final, NoReturn

import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.drill.standing import last_drills
from crl_stream.cli.status_text import (
    EVERY_SECONDS,
    Health,
    Seen,
    screen_lines,
    silence_of,
    summary_line,
    system_lines,
    task_lines,
    tasks_in_words,
    together,
    wrapped,
)
from crl_stream.cli.talk import Terminal, say, show, show_json
from crl_stream.core.instant import readable
from crl_stream.core.overview import Condition
from crl_stream.dashboard.findings import finding_line
from crl_stream.dashboard.task_states import state_of
from crl_stream.errors import CrlError, NotFound, Unavailable, UsageError
from crl_stream.visible import visible
from crl_stream.worker_views import TIMEOUT_SECONDS, ask, views_url

__all__ = ["Health", "Seen", "finding_line", "look", "screen_lines", "state_of", "status", "task_lines"]

OVERVIEW_EVERY: Final = 5
"""Screen refreshes per check of Kafka, because each check opens new connections."""
PATIENCE_SECONDS: Final = 1.0
"""Seconds that the list of tasks waits for the system's health, because the list matters more."""
KAFKA_SECONDS: Final = 10.0
"""Seconds that Kafka may take to describe the consumer groups."""
LISTED: Final = 2_000
"""A fleet of up to this many tasks is listed in full."""
LONG_SECONDS: Final = 120.0
"""Seconds that a worker may take for a complete list that was requested."""
TROUBLE: Final = 1


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every 2 s until Ctrl-C.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Print one line for each thing that is wrong or held; exit code 1 if anything is wrong."
        ),
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="List every task, even in a fleet of many thousands.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is wrong with the system, and its tasks: active variant, epoch, state."""
    if watch:
        _watch(context.obj, json=json or check)
    seen = look(context.obj, every=every)
    if json:
        show_json(seen.as_json())
    elif check:
        _show_check(seen)
    else:
        if seen.nothing_answers is not None:
            raise seen.nothing_answers
        _show(seen, views_url(context.obj.settings))
    if check and seen.trouble:
        raise typer.Exit(TROUBLE)
    if silence_of(seen) is not None and not json:
        raise typer.Exit(Unavailable.exit_code)


# -- asking --------------------------------------------------------------------------------------------
def look(session: Any, *, every: bool = False) -> Seen:
    """Query the worker and Kafka; do not raise an error if they do not respond."""
    from crl_stream.cli.unsupervised import unsupervised
    from crl_stream.kafka.fleet_health import finding

    settings = session.settings
    page, findings, no_worker = None, unsupervised(settings), None
    try:
        with ThreadPoolExecutor(2) as asking:
            health = asking.submit(_findings_of_workers, settings)
            page = ask_tasks(settings, every=every)
            findings += health.result() + _unreadable(page)
    except CrlError as error:
        page, no_worker = None, error
        findings.append(finding("worker", views_url(settings), error.message, error.hint or ""))
    told, of_system, of_kafka, no_kafka = dict[str, Any](), None, list[dict[str, Any]](), None
    if not any(f["name"] == "kafka" for f in findings):  # the worker has already found that Kafka does not answer
        told, of_system, of_kafka, no_kafka = asyncio.run(_ask_kafka(session, with_tasks=page is None, every=every))
    if no_kafka is not None and not any(f["name"] == "kafka" for f in findings):
        findings.append(finding("kafka", settings.kafka.bootstrap_servers, no_kafka.message, no_kafka.hint or ""))
    known = {(f["name"], f["subject"]) for f in findings}
    findings += [f for f in of_kafka if (f["name"], f["subject"]) not in known]
    nothing = None
    if no_worker is not None and no_kafka is not None:
        nothing = Unavailable(f"{no_worker.message} {no_kafka.message}", hint=no_kafka.hint or no_worker.hint)
    view = "/api/summary" if page is not None and page.get("listed") == "attention" else "/api/tasks"
    source = f"{views_url(settings)}{view}" if page is not None else told.pop("source", "nothing")
    page = page or {"tasks": [], "partial": False, "silent": [], "unreadable": []} | told
    drills = last_drills(page, settings.kafka.partitions, now_ms())
    findings += drills.findings()
    findings.sort(key=lambda f: not f["trouble"])
    return Seen(page, findings, of_system, source, nothing, drills)


def ask_tasks(settings: Any, *, every: bool) -> dict[str, Any]:
    """Return every task if there are few or ``every`` is set, else numbers and the tasks that need attention."""
    try:
        summary: dict[str, Any] = ask(settings, "/api/summary")
    except NotFound:  # the worker runs an older release
        return dict(ask(settings, "/api/tasks", LONG_SECONDS if every else TIMEOUT_SECONDS))
    del summary["ranks"]
    number = summary["summary"].get("tasks", 0) + summary["unread"]
    if not every and number > LISTED:
        return summary | {"listed": "attention"}
    page = ask(settings, "/api/tasks", LONG_SECONDS if every else TIMEOUT_SECONDS)
    return {**page, "summary": summary["summary"], "drills": summary.get("drills"), "listed": "all"}


def _findings_of_workers(settings: Any) -> list[dict[str, Any]]:
    from crl_stream.kafka.fleet_health import finding

    try:
        said = ask(settings, "/api/health")
    except NotFound:
        return []  # the worker runs an older release
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for one in said["findings"]:  # every worker reports problems of the whole fleet; keep one of each
        found.setdefault((one["name"], one["subject"], one["text"]), one)
    action = "check that it is running and that its worker.advertised_url is right"
    return [
        *found.values(),
        *(finding("worker", url, f"The worker at {url} does not answer.", action) for url in said["silent"]),
    ]


def _unreadable(page: dict[str, Any]) -> list[dict[str, Any]]:
    from crl_stream.kafka.fleet_health import finding

    action = "its outcomes become dead letters; see docs/troubleshooting.md, section 'A row cannot be read'"
    return [finding("row", name, f"The row of {name} cannot be read.", action) for name in page.get("unreadable", [])]


async def _ask_kafka(
    session: Any, *, with_tasks: bool, every: bool
) -> tuple[dict[str, Any], Health | None, list[dict[str, Any]], CrlError | None]:
    """Return the tasks (if requested), the system's health, findings, and why Kafka does not answer."""
    from crl_stream.cli.told_tasks import held_as_told, tasks_as_told
    from crl_stream.kafka.fleet_health import inspect_kafka
    from crl_stream.kafka.session import KafkaSession

    try:
        settings, seconds = session.connected, LONG_SECONDS if every and with_tasks else KAFKA_SECONDS
        async with asyncio.timeout(seconds), KafkaSession(settings.kafka) as kafka:
            overview, found = await asyncio.gather(_read_overview(kafka), inspect_kafka(settings, kafka))
            complete = not any(f["name"] == "topics" for f in found)
            told = await tasks_as_told(settings, overview, kafka, every=every) if with_tasks and complete else {}
            if with_tasks:
                found += held_as_told(overview, told)
            return told, _health_of(overview), found, None
    except TimeoutError:
        where = session.settings.kafka.bootstrap_servers
        return {}, None, [], Unavailable(f"Kafka answers too slowly at {where}.", hint="check the broker")
    except CrlError as error:
        return {}, None, [], error


async def _read_overview(kafka: Any) -> Any:
    """Return the overview page; None if there is none or it does not arrive in time."""
    from crl_stream.kafka.overview_page import read_overview

    try:
        return await asyncio.wait_for(read_overview(kafka), PATIENCE_SECONDS)
    except (CrlError, TimeoutError):
        return None


def _health_of(overview: Any) -> Health | None:
    if overview is None:
        return None
    condition = Condition(overview, now_ms())
    return Health(condition.word, condition.concerns)


# -- saying --------------------------------------------------------------------------------------------
def _show(seen: Seen, url: str) -> None:
    console = Terminal()
    width = console.width if console.is_terminal else None
    for line in system_lines(seen):
        say(visible(line))
    if seen.drills.line:
        say(visible(seen.drills.line))
    for text in [finding_line(finding) for finding in together(seen.findings) if finding["trouble"]] + seen.notes:
        show("\n".join(wrapped(text, width, "  ", "")) if width else text)
    if not seen.is_whole:
        show(summary_line(seen))
    elif not seen.page["tasks"]:
        say("No tasks yet: nothing has been published.")
    # Rich takes seconds to format ten thousand lines.
    sys.stdout.write("".join(f"{line}\n" for line in task_lines(seen.page["tasks"], width)))
    sys.stdout.flush()
    if not seen.is_whole:
        say(_not_listed(seen))
    if seen.page["silent"]:
        say(f"incomplete: no answer from {', '.join(seen.page['silent'])}")
    say(f"from {seen.source}" if seen.source.startswith(url) else f"from {seen.source}: no worker answers")


def _not_listed(seen: Seen) -> str:
    """Return a line that says which tasks are not listed and how to see them."""
    more = seen.summary.get("attention", 0) - len(seen.page["tasks"])
    left = f"{more:,} more of them are not listed; " if more > 0 else ""
    return f"listed: tasks that need attention; {left}crl status --all lists every task"


def _show_check(seen: Seen) -> None:
    for line in seen.trouble:
        show(line)
    if not seen.trouble:
        show(f"well: {tasks_in_words(seen.n_tasks)}, nothing is wrong")
    for line in seen.notes:
        show(line)


# -- live ----------------------------------------------------------------------------------------------
def _watch(session: Any, *, json: bool) -> NoReturn:
    from rich.live import Live
    from rich.text import Text

    console = Terminal(highlight=False, markup=False)
    if json or not console.is_terminal:
        raise UsageError(
            "crl status --watch needs a terminal.",
            hint="`crl status` and `crl status --json` print once and need no terminal",
        )
    settings = session.settings
    # Get the first answer before taking over the screen, so that an error appears where errors usually do.
    seen, trouble = look(session), ""
    if seen.nothing_answers is not None:
        raise seen.nothing_answers
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends the full screen, as Ctrl-C does
    with Live(console=console, screen=True, auto_refresh=False) as live:
        refreshes = 0
        while True:
            lines = screen_lines(seen, trouble, views_url(settings), console.height - 1, console.width)
            drawn = Text("\n".join(map(readable, lines)), no_wrap=False, overflow="fold")
            live.update(drawn, refresh=True)
            time.sleep(EVERY_SECONDS)
            refreshes += 1
            if refreshes % OVERVIEW_EVERY == 0:
                now = look(session)
                trouble = "" if now.nothing_answers is None else now.nothing_answers.message
                seen = now if now.nothing_answers is None else seen._replace(findings=now.findings)
                continue
            try:
                seen, trouble = seen._replace(page=ask_tasks(settings, every=False)), ""
            except CrlError as error:
                trouble = error.message
