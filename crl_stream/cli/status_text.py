"""Formats what ``crl status`` has found: findings, notes, a line per task, and a full screen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from rich.cells import cell_len

from crl_stream.cli.adoption import adoption_note, fleet_adoption
from crl_stream.cli.drill.standing import LastDrills
from crl_stream.cli.scorecards import fleet_scorecard, scorecard_note
from crl_stream.cli.talk import lay_out
from crl_stream.core.instant import readable
from crl_stream.dashboard.findings import finding_line
from crl_stream.dashboard.task_states import is_held_with_fleet, is_trouble, state_of, wrongs
from crl_stream.errors import CrlError
from crl_stream.visible import visible

COLUMNS: Final = ("task", "active", "epoch", "Q", "outcomes", "variants", "state")
NARROW: Final = 80
NAMED: Final = 5
"""Maximum number of held tasks that a note names."""
EVERY_SECONDS: Final = 2.0
"""Seconds between two refreshes of the screen."""


class Health(NamedTuple):
    """The overview's judgement of the whole system."""

    word: str
    concerns: list[str]

    @property
    def line(self) -> str:
        """The line about the system's health, such as ``system: STABLE (5 proposals are pending; ...)``."""
        return f"system: {self.word}" + (f" ({'; '.join(self.concerns)})" if self.concerns else "")


class Seen(NamedTuple):
    """Everything that ``crl status`` has found."""

    page: dict[str, Any]
    """The tasks as in ``/api/tasks``; for a large fleet only those that need attention, plus its ``summary``."""
    findings: list[dict[str, Any]]
    health: Health | None
    source: str
    """Where the tasks come from."""
    nothing_answers: CrlError | None
    """Why there is nothing to show, if neither a worker nor Kafka has answered."""
    drills: LastDrills = LastDrills([], None)

    @property
    def summary(self) -> dict[str, int]:
        """Return the fleet's numbers; empty if all tasks are listed."""
        found: dict[str, int] = self.page.get("summary") or {}
        return found

    @property
    def is_whole(self) -> bool:
        """Return whether every task is listed."""
        return bool(self.page.get("listed", "all") == "all")

    @property
    def n_tasks(self) -> int:
        """Return the number of tasks, as far as it is known."""
        return len(self.page["tasks"]) if self.is_whole else self.summary.get("tasks", 0) + self.page.get("unread", 0)

    @property
    def trouble(self) -> list[str]:
        """Return one line for each thing that needs attention."""
        found = [finding_line(finding) for finding in together(self.findings) if finding["trouble"]]
        listed = [task_line(task) for task in self.page["tasks"] if is_trouble(task)]
        more = 0 if self.is_whole else self.summary.get("trouble", 0) - len(listed)
        rest = [f"tasks: {more} more {'is' if more == 1 else 'are'} in trouble; crl status --all"] if more > 0 else []
        return found + listed + rest

    @property
    def notes(self) -> list[str]:
        """Return one line for each state that is notable but not wrong: holds, and tasks where nothing is enforced."""
        found = [finding_line(finding) for finding in together(self.findings) if not finding["trouble"]]
        return found + [
            f"note {note}"
            for note in (
                self._held(),
                self._not_enforced(),
                adoption_note(self.adoption),
                scorecard_note(self.scorecard),
            )
            if note
        ]

    def _held(self) -> str:
        """Return a note about tasks with their own hold; a task in trouble has its own line for that."""
        held = [t for t in self.page["tasks"] if t["held"] and not is_held_with_fleet(t)]
        number = len(held) if self.is_whole else max(len(held), self.summary.get("held", 0))
        named = [f"{name_of(task)}{_by(task)}" for task in held if not is_trouble(task)][:NAMED]
        if not named and (self.is_whole or not number):
            return ""
        more = f" and {number - len(named)} more" if number > len(named) else ""
        listed = f": {', '.join(named)}{more}" if named else ""
        are = "1 task is" if number == 1 else f"{number} tasks are"
        return f"held: {are} held and will not be rolled back{listed}; crl window TASK shows when a hold ends"

    def _not_enforced(self) -> str:
        by_mode = []
        for mode, what in (("shadow", "reported but not done"), ("observe", "not even reported; only alerts are sent")):
            if self.is_whole:
                number = sum(task.get("mode") == mode for task in self.page["tasks"])
            else:
                number = self.summary.get(mode, 0)
            if number:
                by_mode.append(f"{number} of {tasks_in_words(self.n_tasks)} in {mode} mode: a rollback is {what}")
        return f"mode: {'; '.join(by_mode)}" if by_mode else ""

    @property
    def adoption(self) -> dict[str, int] | None:
        """How the runtimes of the fleet followed the latest change of their task; None if none was expected to."""
        return fleet_adoption(self.page["tasks"] if self.is_whole else None, self.summary)

    @property
    def scorecard(self) -> dict[str, int] | None:
        """Return how often the rollbacks that shadow mode reported were right, over all tasks."""
        return fleet_scorecard(self.page["tasks"] if self.is_whole else None, self.summary)

    def as_json(self) -> dict[str, Any]:
        """Return the findings as a JSON object."""
        return (
            self.page
            | self.drills.as_json()
            | {
                "healthy": not self.trouble,
                "trouble": self.trouble,
                "notes": self.notes,
                "findings": self.findings,
                "health": self.health.word if self.health else None,
                "concerns": self.health.concerns if self.health else [],
                "n_tasks": self.n_tasks,
                "scorecard": self.scorecard,
                "adoption": self.adoption,
            }
        )


def together(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings, with those that say the same of several partitions as one, the oldest, with their number."""
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in findings:
        subject = one["subject"]
        alike.setdefault(
            (one["name"], one["trouble"], one["action"], "" if one["name"] == "snapshots" else subject), []
        ).append(one)
    found = []
    for several in alike.values():
        oldest = min(several, key=lambda one: one["since"] or "~")
        more = len(several) - 1
        extra = f" (and {more} more {'partition' if more == 1 else 'partitions'})" if more else ""
        found.append(oldest | {"text": f"{oldest['text']}{extra}"})
    return found


def tasks_in_words(number: int) -> str:
    """``1 task``, ``12,000 tasks``."""
    return "1 task" if number == 1 else f"{number:,} tasks"


def name_of(task: dict[str, Any]) -> str:
    """Return ``agent_name/task_type``."""
    return f"{task['agent_name']}/{task['task_type']}"


def _by(task: dict[str, Any]) -> str:
    return f" (by {task['held_by']})" if task.get("held_by") else ""


def system_line(seen: Seen) -> str:
    """Return the system's health, as judged from rollbacks and alerts; it says TROUBLE if something is not working."""
    if seen.health is None:
        return f"system: not known, {_why_not_known(seen)}"
    if any(finding["trouble"] for finding in seen.findings):
        return f"system: TROUBLE, see below (rollbacks and alerts: {seen.health.word})"
    return seen.health.line


def _why_not_known(seen: Seen) -> str:
    """Return why the health of the system is not known."""
    silent = silence_of(seen)
    if silent is not None:
        since = f" since {silent['since']}" if silent["since"] else ""
        return readable(f"because Kafka does not answer{since}")
    if not seen.n_tasks:
        return "because nothing has been published"
    return "because the overview has not been written yet"


def silence_of(seen: Seen) -> dict[str, Any] | None:
    """Return the finding that Kafka does not answer; None if it does."""
    return next((one for one in seen.findings if one["name"] == "kafka" and one["trouble"]), None)


def system_lines(seen: Seen) -> list[str]:
    """Return the system's health as one line, or as a line for each reason if there are several."""
    line = system_line(seen)
    if seen.health is None or len(seen.health.concerns) < 2 or line != seen.health.line:
        return [line]
    return [f"system: {seen.health.word}", *(f"- {concern}" for concern in seen.health.concerns)]


def summary_line(seen: Seen) -> str:
    """Return one sentence about a large fleet."""
    sums = seen.summary
    words = [
        f"{sums.get(name, 0):,} {word}"
        for name, word in (
            ("HEALTHY", "healthy"),
            ("INCONCLUSIVE", "INCONCLUSIVE"),
            ("trouble", "in trouble"),
            ("held", "held"),
            ("pinned", "pinned"),
            ("quarantined", "with a quarantine"),
        )
        if sums.get(name, 0) or (name == "HEALTHY" and name in sums)
    ]
    late = [
        f"{seen.page.get(name, 0):,} {what}"
        for name, what in (("unread", "not counted yet"), ("behind", "changed since they were counted"))
        if seen.page.get(name)
    ]
    said = f": {', '.join(words)}" if words else ""
    return f"{tasks_in_words(seen.n_tasks)}{said}" + (f" ({', '.join(late)})" if late else "")


def row_of(task: dict[str, Any]) -> tuple[Any, ...]:
    """Return a task as a row of the table."""
    return (
        name_of(task),
        task["active_variant"],
        task["epoch"],
        "" if task["q_value"] is None else f"{task['q_value']:.2f}",
        task["n_outcomes"],
        task["variants"],
        state_of(task),
    )


def task_line(task: dict[str, Any]) -> str:
    """Format a task in trouble as one line: its state, the text of the current verdict, and when it began."""
    name = name_of(task)
    since = f", since {task['degraded_since'][:19].replace('T', ' ')} UTC" if task.get("degraded_since") else ""
    why = f": {task['reason']}" if task.get("reason") else ""
    held = f"; not rolled back: {task['no_rollback']}" if task.get("no_rollback") else ""
    reach = f"; touches {task['touches']}" if task.get("touches") else ""
    reach += f"; {task['last_time']}" if task.get("last_time") else ""
    where = f"active {task['active_variant']}, epoch {task['epoch']}{since}"
    return visible(f"task {name}: {state_of(task)}{why} ({where}){held}{reach}; crl window {name}")


def task_lines(tasks: Sequence[dict[str, Any]], width: int | None) -> list[str]:
    """Return a table, or two or more lines per task if it does not fit into ``width``; nothing is cut."""
    if not tasks:
        return []
    rows = [["" if cell is None else visible(str(cell)) for cell in row_of(task)] for task in tasks]
    lines = lay_out([list(COLUMNS), *rows])
    if width is None or max(map(cell_len, lines)) <= width:
        return lines
    found = []
    for row in rows:
        found.append(row[0])
        words = [f"{name} {cell}" for name, cell in zip(COLUMNS[1:], row[1:], strict=True) if cell]
        # The state of a task comes first, because people look for it.
        found += wrapped(", ".join([words[-1], *words[:-1]]), width, "    ")
    return found


def wrapped(text: str, width: int, indent: str = "", first: str | None = None) -> list[str]:
    """Wrap ``text`` to ``width`` characters; a word that is longer stays whole.

    ``indent`` starts every line except the first, which starts with ``first``.
    """
    return textwrap.wrap(
        readable(text),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def screen_lines(seen: Seen, trouble: str, source: str, height: int, width: int = NARROW) -> Sequence[str]:
    """Return the lines that fit on a screen, problems first.

    ``seen`` is the newest state, and ``trouble`` says why a newer one could not be read (empty if none failed).
    ``source`` names where the state comes from; ``height`` and ``width`` are the size of the screen in characters.
    """
    page = seen.page
    tasks = sorted(page["tasks"], key=lambda task: not wrongs(task))
    wrong = sum(bool(wrongs(task)) for task in tasks) if seen.is_whole else seen.summary.get("attention", 0)
    head = wrapped(visible(system_line(seen)), width)[:2]
    for finding in together(seen.findings):
        head += wrapped(finding_line(finding), width, "  ", "")
    head = head[: max(1, height // 2)]
    need = "needs" if wrong == 1 else "need"
    number = tasks_in_words(seen.n_tasks)
    said = f"{number}, {wrong} {need} attention; {source}, every {EVERY_SECONDS:g} s; Ctrl-C exits"
    head += [*wrapped(said, width), ""]
    tail = [f"no answer from {', '.join(page['silent'])}"] if page["silent"] else []
    tail += wrapped(visible(f"the last known state: {trouble}"), width) if trouble else []
    room = max(1, height - len(head) - len(tail) - 1)
    table = task_lines(tasks[:room], width)
    if seen.n_tasks > room or len(table) > room + 1:
        room = max(1, room - 1)
        while tasks[:room] and len(table := task_lines(tasks[:room], width)) > height - len(head) - len(tail) - 1:
            room -= 1
        left = seen.n_tasks - min(room, len(tasks))
        tail.insert(0, f"... and {left} more; crl status{'' if seen.is_whole else ' --all'} lists all")
    return [*head, *table, *tail]
