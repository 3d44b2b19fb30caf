"""``crl status``: the word for the whole system, and every task at a glance; with ``--watch`` live."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer

from crl_stream.cli.talk import lay_out, say, show_json, show_table
from crl_stream.core.overview import Condition
from crl_stream.errors import CrlError, UsageError
from crl_stream.worker_views import ask, views_url

COLUMNS: Final = ("task", "active", "epoch", "Q", "outcomes", "variants", "state")
EVERY_SECONDS: Final = 2.0
OVERVIEW_EVERY: Final = 5
"""Refreshes of the screen for one look at the overview, which takes a new connection to Kafka."""
PATIENCE_SECONDS: Final = 1.0
"""How long the tasks wait for the word about the system: it is an extra, they are what was asked for."""


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and refresh every 2 s until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the system's health and every task: active variant, epoch, what is wrong.  Asks a worker."""
    if watch:
        _watch(context.obj, json=json)
    page, health = ask(context.obj.settings, "/api/tasks"), _read_health(context.obj)
    if json:
        show_json(page | {"health": health.word if health else None, "concerns": health.concerns if health else []})
        return
    if health:
        say(health.line)
    show_table(COLUMNS, [row_of(task) for task in page["tasks"]], empty="No task yet: nothing was published.")
    if page["partial"]:
        say(f"incomplete: no answer from {', '.join(page['silent'])}")
    say(f"from {views_url(context.obj.settings)}/api/tasks")


class Health(NamedTuple):
    """What the overview says of the whole system."""

    word: str
    concerns: list[str]

    @property
    def line(self) -> str:
        """``system: STABLE (5 proposals are pending; ...)``."""
        return f"system: {self.word}" + (f" ({'; '.join(self.concerns)})" if self.concerns else "")


def _read_health(session: Any) -> Health | None:
    """None when there is no overview, or no Kafka that could be asked for it in time."""
    from crl_stream.overview_page import read_overview

    try:
        overview = asyncio.run(asyncio.wait_for(read_overview(session.kafka), PATIENCE_SECONDS))
    except (CrlError, TimeoutError):
        return None
    if overview is None:
        return None
    condition = Condition(overview, round(time.time() * 1_000))
    return Health(condition.word, condition.concerns)


def row_of(task: dict[str, Any]) -> tuple[Any, ...]:
    """A task as a row of the table."""
    return (
        f"{task['agent_name']}/{task['task_type']}",
        task["active_variant"],
        task["epoch"],
        "" if task["q_value"] is None else f"{task['q_value']:.2f}",
        task["n_outcomes"],
        task["variants"],
        "; ".join(_wrongs(task)) or ("healthy" if task["n_outcomes"] else "no outcome yet"),
    )


def _wrongs(task: dict[str, Any]) -> list[str]:
    words = []
    if task["active_variant"] in task["degraded"]:
        words.append("DEGRADED, no target" if task["no_target"] else "DEGRADED")
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
    page, health, trouble = ask(settings, "/api/tasks"), _read_health(session), ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the screen is given back
    with Live(console=console, screen=True, auto_refresh=False) as live:
        refreshes = 0
        while True:
            lines = screen_lines(page, health, trouble, views_url(settings), console.height - 1)
            drawn = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
            live.update(drawn, refresh=True)
            time.sleep(EVERY_SECONDS)
            refreshes += 1
            try:
                page, trouble = ask(settings, "/api/tasks"), ""
            except CrlError as error:
                trouble = error.message
            if refreshes % OVERVIEW_EVERY == 0:
                health = _read_health(session) or health


def screen_lines(page: dict[str, Any], health: Health | None, trouble: str, source: str, height: int) -> Sequence[str]:
    """What fits on ``height`` lines: what is wrong first, and how much there is beside it."""
    tasks = sorted(page["tasks"], key=lambda task: not _wrongs(task))
    wrong = sum(bool(_wrongs(task)) for task in tasks)
    head = [health.line] if health else []
    head += [f"{len(tasks)} tasks, {wrong} with something to say; {source}, every {EVERY_SECONDS:g} s, Ctrl-C ends", ""]
    tail = [f"no answer from {', '.join(page['silent'])}"] if page["partial"] else []
    tail += [f"the tasks as they were: {trouble}"] if trouble else []
    room = max(1, height - len(head) - len(tail) - 1)
    if len(tasks) > room:
        room = max(1, room - 1)
        tail.insert(0, f"... and {len(tasks) - room} more; crl status lists all")
    rows = [[str(cell if cell is not None else "") for cell in row_of(task)] for task in tasks[:room]]
    return [*head, *lay_out([list(COLUMNS), *rows]), *tail]
