"""``crl export``: outcomes, events or proposals of a range of times, as csv or jsonl."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.export.exporting import cluster_of, to_file, to_stdout
from crl_stream.cli.export.lines import FORMATS, KINDS
from crl_stream.cli.export.span import moment
from crl_stream.cli.export.unfinished import Asked, Note, Unfinished
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import say, show_json
from crl_stream.core.identity import is_identifier
from crl_stream.errors import UsageError
from crl_stream.settings.model import Kafka


def export(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"One of {', '.join(KINDS)}.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}. Default: as the file ends, or jsonl."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. Default: stdout.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Export what was stored from this time on: 2026-11-01, 2026-11-01T14:30:00Z, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Export only what was stored before this time.")] = None,
    agent: Annotated[str | None, typer.Option(help="Export only what is about this agent.")] = None,
    task: Annotated[str | None, typer.Option(metavar="AGENT/TASK", help="Export only what is about this task.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again, even if an earlier export to this file is unfinished.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Report what was written as JSON; needs --output.")] = False,
) -> None:
    """Export outcomes, events or proposals (every revision) as csv or jsonl, as far as the topics still have them.

    With --output, an interrupted export goes on if the same command is run again. Records are in order within each
    partition. Texts that a spreadsheet would run as formulas are made harmless.
    """
    if what not in KINDS:
        raise UsageError(f"There is nothing called {what} to export.", hint=f"one of {', '.join(KINDS)}")
    format_ = _format(format_, output)
    if output is None and (json or restart):
        raise UsageError(f"--{'json' if json else 'restart'} needs an output file.", hint="name a file with --output")
    if task is not None and agent is not None:
        raise UsageError("--task already names an agent.", hint="leave out --agent")
    if agent is not None and not is_identifier(agent):
        raise UsageError(f"{agent!r} is not the name of an agent.", hint="--task AGENT/TASK exports one task")
    key = None if task is None else str(task_key(task))
    now = now_ms()
    times = moment(since, "since", now), moment(until, "until", now)
    if None not in times and times[0] >= times[1]:  # type: ignore[operator]
        raise UsageError("--since is not before --until.", hint="exchange them")
    kafka = context.obj.kafka
    asked = Asked(what, format_, since, until, agent, key, asyncio.run(cluster_of(kafka)), kafka.topic_prefix)
    if output is None:
        _tell("stdout", asyncio.run(to_stdout(kafka, asked, times)))
        return
    note = _to_file(kafka, asked, times, output, restart=restart)
    if json:
        figures = {name: getattr(note, name) for name in ("lines", "bytes", "unreadable", "deleted")}
        show_json({"file": str(output), "what": what, "format": format_} | figures)
    else:
        _tell(str(output), note)


def _format(asked: str | None, output: Path | None) -> str:
    """Return the format that is asked for, or that the output file's name ends with; raise if they contradict."""
    if asked is not None and asked not in FORMATS:
        raise UsageError(f"There is no format {asked}.", hint=f"one of {', '.join(FORMATS)}")
    ending = "" if output is None else output.suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        return asked or "jsonl"
    if asked not in {None, ending}:
        raise UsageError(f"{output} ends with .{ending}, but --format is {asked}.", hint="leave out --format")
    return ending


def _to_file(kafka: Kafka, asked: Asked, times: tuple[int | None, int | None], output: Path, *, restart: bool) -> Note:
    file = Unfinished(output)
    with file:
        if restart:
            file.forget()
        try:
            return asyncio.run(to_file(kafka, asked, times, file))
        except BaseException:
            if file.note() is not None:
                say(f"unfinished: {file.part} has what was written; the same command goes on from there")
            raise


def _tell(where: str, note: Note) -> None:
    lines = f"{note.lines} line{'' if note.lines == 1 else 's'}"
    say(f"{where}: {lines}")
    if note.unreadable:
        why = "; crl dead-letters list shows why" if note.asked.what == "outcomes" else ""
        say(f"records that cannot be read and are left out: {note.unreadable}{why}")
    if note.deleted:
        say(f"records that the broker deleted (retention) before they could be read: {note.deleted}")
