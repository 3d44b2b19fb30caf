"""``crl status``: what is wrong with the system, the word for the whole of it, and every task at a glance.

It asks a worker and Kafka, and says what it can when either does not answer.
"""
# over 300 lines because asking, saying and the live screen are one command, over the same findings and task lines.

from __future__ import annotations

import asyncio
import signal
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer
from rich.cells import cell_len

from crl_stream.cli.talk import lay_out, say, show, show_json
from crl_stream.core.overview import Condition
from crl_stream.errors import CrlError, NotFound, Unavailable, UsageError
from crl_stream.worker_views import ask, views_url

COLUMNS: Final = ("task", "active", "epoch", "Q", "outcomes", "variants", "state")
EVERY_SECONDS: Final = 2.0
OVERVIEW_EVERY: Final = 5
"""Refreshes of the screen for one look at Kafka, which takes new connections."""
PATIENCE_SECONDS: Final = 1.0
"""How long the tasks wait for the word about the system: it is an extra, they are what was asked for."""
KAFKA_SECONDS: Final = 10.0
"""How long Kafka may take to say how the groups are."""
NARROW: Final = 80
TROUBLE: Final = 1


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and refresh every 2 s until Ctrl-C.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print only what is wrong, a line each; exit code 1 if anything is.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is wrong with the system, and every task: active variant, epoch, state."""
    if watch:
        _watch(context.obj, json=json or check)
    seen = look(context.obj)
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


class Health(NamedTuple):
    """What the overview says of the whole system."""

    word: str
    concerns: list[str]

    @property
    def line(self) -> str:
        """``system: STABLE (5 proposals are pending; ...)``."""
        return f"system: {self.word}" + (f" ({'; '.join(self.concerns)})" if self.concerns else "")


class Seen(NamedTuple):
    """Everything that was found out."""

    page: dict[str, Any]
    """The tasks, as ``/api/tasks`` has them."""
    findings: list[dict[str, Any]]
    health: Health | None
    source: str
    """Who told the tasks."""
    nothing_answers: CrlError | None
    """Why there is nothing to show: neither a worker nor Kafka has answered."""

    @property
    def trouble(self) -> list[str]:
        """What somebody has to see to, a line each."""
        found = [finding_line(finding) for finding in self.findings if finding["trouble"]]
        return found + [task_line(task) for task in self.page["tasks"] if _is_trouble(task)]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return self.page | {
            "healthy": not self.trouble,
            "trouble": self.trouble,
            "findings": self.findings,
            "health": self.health.word if self.health else None,
            "concerns": self.health.concerns if self.health else [],
        }


# -- asking --------------------------------------------------------------------------------------------
def look(session: Any) -> Seen:
    """Ask the worker and Kafka; never raises because one of them, or both, do not answer."""
    from crl_stream.cli.unsupervised import unsupervised
    from crl_stream.fleet_health import finding

    settings = session.settings
    page, findings, no_worker = None, unsupervised(settings), None
    try:
        page = ask(settings, "/api/tasks")
        findings += _findings_of_workers(settings) + _unreadable(page)
    except CrlError as error:
        no_worker = error
        findings.append(finding("worker", views_url(settings), error.message, error.hint or ""))
    told, health, of_kafka, no_kafka = list[dict[str, Any]](), None, list[dict[str, Any]](), None
    if not any(f["name"] == "kafka" for f in findings):  # what a worker has waited for need not be waited for again
        told, health, of_kafka, no_kafka = asyncio.run(_ask_kafka(session, with_tasks=page is None))
    if no_kafka is not None and not any(f["name"] == "kafka" for f in findings):
        findings.append(finding("kafka", settings.kafka.bootstrap_servers, no_kafka.message, no_kafka.hint or ""))
    known = {(f["name"], f["subject"]) for f in findings}
    findings += [f for f in of_kafka if (f["name"], f["subject"]) not in known]
    findings.sort(key=lambda f: not f["trouble"])
    nothing = None
    if no_worker is not None and no_kafka is not None:
        nothing = Unavailable(f"{no_worker.message} {no_kafka.message}", hint=no_kafka.hint or no_worker.hint)
    source = f"{views_url(settings)}/api/tasks" if page is not None else "the snapshots on crl.tasks"
    page = page or {"tasks": told, "partial": False, "silent": [], "unreadable": []}
    return Seen(page, findings, health, source, nothing)


def _findings_of_workers(settings: Any) -> list[dict[str, Any]]:
    from crl_stream.fleet_health import finding

    try:
        said = ask(settings, "/api/health")
    except NotFound:
        return []  # a worker of an earlier version
    found: list[dict[str, Any]] = said["findings"]
    action = "see whether it runs, and whether its worker.advertised_url is right"
    return found + [finding("worker", url, f"The worker at {url} does not answer.", action) for url in said["silent"]]


def _unreadable(page: dict[str, Any]) -> list[dict[str, Any]]:
    from crl_stream.fleet_health import finding

    action = "its outcomes become dead letters; see docs/troubleshooting.md, section A row cannot be read"
    return [finding("row", name, f"The row of {name} cannot be read.", action) for name in page.get("unreadable", [])]


async def _ask_kafka(
    session: Any, *, with_tasks: bool
) -> tuple[list[dict[str, Any]], Health | None, list[dict[str, Any]], CrlError | None]:
    """Tasks (where they are asked for), the system's health, findings, and why Kafka does not answer."""
    from crl_stream.fleet_health import inspect_kafka, tasks_as_told

    try:
        settings = session.connected
        async with asyncio.timeout(KAFKA_SECONDS):
            health, found = await asyncio.gather(_read_health(settings.kafka), inspect_kafka(settings))
            complete = not any(f["name"] == "topics" for f in found)
            return await tasks_as_told(settings) if with_tasks and complete else [], health, found, None
    except TimeoutError:
        where = session.settings.kafka.bootstrap_servers
        return [], None, [], Unavailable(f"Kafka answers too slowly at {where}.", hint="see how the broker is")
    except CrlError as error:
        return [], None, [], error


async def _read_health(kafka: Any) -> Health | None:
    """None when there is no overview, or none that comes in time."""
    from crl_stream.overview_page import read_overview

    try:
        overview = await asyncio.wait_for(read_overview(kafka), PATIENCE_SECONDS)
    except (CrlError, TimeoutError):
        return None
    if overview is None:
        return None
    condition = Condition(overview, round(time.time() * 1_000))
    return Health(condition.word, condition.concerns)


# -- saying --------------------------------------------------------------------------------------------
def _show(seen: Seen, url: str) -> None:
    from rich.console import Console

    console = Console()
    width = console.width if console.is_terminal else None
    if seen.health:
        say(_system(seen))
    for finding in seen.findings:
        text = finding_line(finding)
        show("\n".join(_wrapped(text, width, "  ", "")) if width else text)
    if not seen.page["tasks"]:
        say("No task yet: nothing was published.")
    # Rich takes seconds for ten thousand lines.
    sys.stdout.write("".join(f"{line}\n" for line in task_lines(seen.page["tasks"], width)))
    sys.stdout.flush()
    if seen.page["partial"]:
        say(f"incomplete: no answer from {', '.join(seen.page['silent'])}")
    say(f"from {seen.source}" if seen.source.startswith(url) else f"from {seen.source}: no worker answers")


def _show_check(seen: Seen) -> None:
    for line in seen.trouble:
        show(line)
    if not seen.trouble:
        show(f"well: {_tasks(len(seen.page['tasks']))}, nothing is wrong")


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number} tasks"


def _system(seen: Seen) -> str:
    """The word for the system, which is about rollbacks and alerts: not while something does not work."""
    assert seen.health is not None
    if any(finding["trouble"] for finding in seen.findings):
        return f"system: TROUBLE, see below (rollbacks and alerts: {seen.health.word})"
    return seen.health.line


def finding_line(finding: dict[str, Any]) -> str:
    """A finding as one line: its name, since when, what it is and what to do."""
    since = finding["since"]
    told = f" since {since[:19].replace('T', ' ')} UTC" if since else ""
    head = finding["name"] if finding["trouble"] else f"note {finding['name']}"
    action = finding["action"]
    return f"{head}{told}: {finding['text']}" + (f" {action[:1].upper()}{action[1:]}." if action else "")


def row_of(task: dict[str, Any]) -> tuple[Any, ...]:
    """A task as a row of the table."""
    return (
        f"{task['agent_name']}/{task['task_type']}",
        task["active_variant"],
        task["epoch"],
        "" if task["q_value"] is None else f"{task['q_value']:.2f}",
        task["n_outcomes"],
        task["variants"],
        state_of(task),
    )


def state_of(task: dict[str, Any]) -> str:
    """The verdict on the active variant, and what else is to be said of the task; healthy is what was judged so."""
    verdict = task.get("verdict")
    if not task["n_outcomes"]:
        first = ["no outcome yet"]
    elif verdict == "HEALTHY" and not _is_trouble(task):
        first = ["healthy"] if not _wrongs(task) else []
    else:
        first = [] if _is_trouble(task) else [verdict or "not judged"]
    return "; ".join(first + _wrongs(task))


def task_line(task: dict[str, Any]) -> str:
    """A task that is in trouble, as one line."""
    name = f"{task['agent_name']}/{task['task_type']}"
    return f"task {name}: {state_of(task)} (active {task['active_variant']}, epoch {task['epoch']}); crl window {name}"


def task_lines(tasks: Sequence[dict[str, Any]], width: int | None) -> list[str]:
    """A table, or where it does not fit into ``width`` two or more lines for each task: nothing is cut."""
    if not tasks:
        return []
    rows = [["" if cell is None else str(cell) for cell in row_of(task)] for task in tasks]
    lines = lay_out([list(COLUMNS), *rows])
    if width is None or max(map(cell_len, lines)) <= width:
        return lines
    found = []
    for row in rows:
        found.append(row[0])
        words = [f"{name} {cell}" for name, cell in zip(COLUMNS[1:], row[1:], strict=True) if cell]
        # State first: it is what one looks for.
        found += _wrapped(", ".join([words[-1], *words[:-1]]), width, "    ")
    return found


def _wrapped(text: str, width: int, indent: str = "", first: str | None = None) -> list[str]:
    """``text`` on as few lines as it needs; a name that is longer than a line stays whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _is_trouble(task: dict[str, Any]) -> bool:
    """Whether the active variant is known to be bad: degraded, or without a single success."""
    return task["active_variant"] in task["degraded"] or task.get("verdict") == "DEGRADED" or _never_succeeds(task)


def _never_succeeds(task: dict[str, Any]) -> bool:
    return bool(task.get("judged", 0) >= 10 and not task.get("successes", 1))


def _wrongs(task: dict[str, Any]) -> list[str]:
    words = []
    if task["active_variant"] in task["degraded"] or task.get("verdict") == "DEGRADED":
        words.append("DEGRADED, no target" if task["no_target"] else "DEGRADED")
    if _never_succeeds(task):
        words.append(f"no success in {task['judged']} outcomes")
    words += [word for word in ("held", "pinned") if task[word]]
    if task["quarantined"]:
        words.append(f"quarantine: {', '.join(task['quarantined'])}")
    return words


# -- live ----------------------------------------------------------------------------------------------
def _watch(session: Any, *, json: bool) -> NoReturn:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    if json or not console.is_terminal:
        raise UsageError(
            "crl status --watch draws on a terminal.", hint="`crl status` and `crl status --json` print once, anywhere"
        )
    settings = session.settings
    # The first answer before the screen is taken, so that an error is read where errors are.
    seen, trouble = look(session), ""
    if seen.nothing_answers is not None:
        raise seen.nothing_answers
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the screen is given back
    with Live(console=console, screen=True, auto_refresh=False) as live:
        refreshes = 0
        while True:
            lines = screen_lines(seen, trouble, views_url(settings), console.height - 1, console.width)
            drawn = Text("\n".join(lines), no_wrap=False, overflow="fold")
            live.update(drawn, refresh=True)
            time.sleep(EVERY_SECONDS)
            refreshes += 1
            if refreshes % OVERVIEW_EVERY == 0:
                now = look(session)
                trouble = "" if now.nothing_answers is None else now.nothing_answers.message
                seen = now if now.nothing_answers is None else seen._replace(findings=now.findings)
                continue
            try:
                seen, trouble = seen._replace(page=ask(settings, "/api/tasks")), ""
            except CrlError as error:
                trouble = error.message


def screen_lines(seen: Seen, trouble: str, source: str, height: int, width: int = NARROW) -> Sequence[str]:
    """What fits on ``height`` lines: what is wrong first, and how much there is beside it."""
    page = seen.page
    tasks = sorted(page["tasks"], key=lambda task: not _wrongs(task))
    wrong = sum(bool(_wrongs(task)) for task in tasks)
    head = _wrapped(_system(seen), width)[:2] if seen.health else []
    for finding in seen.findings:
        head += _wrapped(finding_line(finding), width, "  ", "")
    head = head[: max(1, height // 2)]
    need = "needs" if wrong == 1 else "need"
    said = f"{_tasks(len(tasks))}, {wrong} {need} attention; {source}, every {EVERY_SECONDS:g} s, Ctrl-C ends"
    head += [*_wrapped(said, width), ""]
    tail = [f"no answer from {', '.join(page['silent'])}"] if page["partial"] else []
    tail += _wrapped(f"the tasks as they were: {trouble}", width) if trouble else []
    room = max(1, height - len(head) - len(tail) - 1)
    table = task_lines(tasks[:room], width)
    if len(tasks) > room or len(table) > room + 1:
        room = max(1, room - 1)
        while tasks[:room] and len(table := task_lines(tasks[:room], width)) > height - len(head) - len(tail) - 1:
            room -= 1
        tail.insert(0, f"... and {len(tasks) - room} more; crl status lists all")
    return [*head, *table, *tail]
