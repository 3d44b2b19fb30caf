"""``crl archive``: move old telemetry into compressed monthly files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.talk import progress_bar, show, show_json
from crl_stream.errors import UsageError
from crl_stream.telemetry.archive import archive as archive_files

_SPAN: Final = re.compile(r"([0-9]{1,6})([hdwy])")
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}


def archive(
    context: typer.Context,
    older_than: Annotated[str, typer.Option(help="Move events older than this: 90d, 26w, 1y.")] = "365d",
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the telemetry. Default: the setting telemetry.folder.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be moved.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Move telemetry events older than a year into compressed monthly files; workers can keep writing meanwhile."""
    age, now = milliseconds(older_than), now_ms()
    where = folder or context.obj.settings.telemetry.folder
    moved = archive_files(where, age, now, dry_run=dry_run, progress=progress_bar())
    if json:
        show_json({"folder": str(where), "dry_run": dry_run, "files": [file._asdict() for file in moved]})
        return
    for file in moved:
        would = "would move" if dry_run else "moved"
        show(f"{file.file}: {sum(file.months.values())} {would}, {file.kept} kept")
        for month, count in file.months.items():
            show(f"  {month}: {count}")
    if not any(file.months for file in moved):
        show(f"nothing in {where} is older than {older_than}")


def milliseconds(span: str) -> int:
    """Convert a span like ``365d`` to milliseconds; raises ``UsageError`` for anything else."""
    found = _SPAN.fullmatch(span.strip())
    if found is None:
        raise UsageError(f"`{span}` is not a valid time span.", hint="write 12h, 365d, 26w or 1y")
    return int(found[1]) * _HOURS[found[2]] * 3_600_000
