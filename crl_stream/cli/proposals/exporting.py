"""``crl proposals export``: proposals as a file for other tools."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.proposals.source import read_all, wanted_statuses
from crl_stream.cli.talk import say, show_file, show_json
from crl_stream.cli.whole_file import WholeFile
from crl_stream.errors import UsageError
from crl_stream.proposals.export import FORMATS
from crl_stream.proposals.standing import select


def export(
    context: typer.Context,
    format_: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. Default: stdout.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Statuses to export: open, all, or one status; may be repeated. Default: all."),
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Export only proposals for this agent.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Report what was written as JSON; needs --output.")] = False,
) -> None:
    """Export proposals: csv or xlsx for spreadsheets, jsonl for programs, tracker for the proposal tracker."""
    if format_ not in FORMATS:
        raise UsageError(f"There is no format {format_}.", hint=f"one of {', '.join(FORMATS)}")
    chosen = FORMATS[format_]
    if output is None and (json or (chosen.binary and sys.stdout.isatty())):
        raise UsageError("This export needs an output file.", hint="name a file with --output")
    statuses = wanted_statuses(status, "all")
    now = now_ms()
    found = select(asyncio.run(read_all(context.obj.kafka)), now, statuses, agent)
    data = chosen.write(found, now)
    if output is None:
        if chosen.binary:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            show_file(data)
        return
    _write_whole(output, data)
    if json:
        show_json({"file": str(output), "format": format_, "proposals": len(found), "bytes": len(data)})
    else:
        say(f"{output}: {len(found)} proposals")


def _write_whole(path: Path, data: bytes) -> None:
    try:
        WholeFile(path).replace(data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="name another file") from error
