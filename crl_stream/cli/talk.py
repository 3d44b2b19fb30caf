"""How ``crl`` talks: data to stdout, everything else to stderr; colours and bars only where a person looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from crl_stream.broker.jars import Progress
from crl_stream.cli.layout import fit

_FOLDED = 500
"""Rows up to which a table is folded to the width of the terminal."""


class _Beside(Console):
    """Stderr, beside the data; the work goes on when nobody listens there any more."""

    def __init__(self, **options: Any) -> None:
        super().__init__(stderr=True, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Say the rest to nobody."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def say(text: str) -> None:
    """A line for people, beside the data."""
    _Beside(soft_wrap=True, markup=False).print(text)


def complain(message: str, hint: str | None) -> None:
    """An error and what to do next."""
    console = _Beside(soft_wrap=True, markup=False)
    console.print(f"crl: {message}", style="red")
    if hint:
        console.print(f"hint: {hint}")


def show_json(value: Any) -> None:
    """One JSON document on one line of stdout."""
    sys.stdout.buffer.write(orjson.dumps(value, default=_builtins) + b"\n")
    sys.stdout.buffer.flush()


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Rows for people; a file or a pipe gets them at full width."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        show(empty)
        return
    console = Console(highlight=False, markup=False)
    lines = lay_out([list(columns), *cells])
    if console.is_terminal and len(cells) <= _FOLDED and max(map(cell_len, lines)) > console.width:
        plain = [["".join(c if c.isprintable() else " " for c in cell) for cell in row] for row in cells]
        lines = fit(columns, plain, console.width)
    # Rich takes seconds for ten thousand rows, and only a header needs it here.
    console.print(Text(lines[0], style="bold"), soft_wrap=True)
    console.file.write("".join(f"{line}\n" for line in lines[1:]))
    console.file.flush()


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines, each column as wide as its widest cell; a cell is one line."""
    plain = [["".join(c if c.isprintable() else " " for c in cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*plain, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in plain
    ]


def show(text: str) -> None:
    """A line of data."""
    Console(highlight=False, soft_wrap=True, markup=False).print(text)


def progress_bar() -> Progress:
    """A progress that shows itself on stderr: a bar on a terminal, else a line when it starts and ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = _Beside()
    bars: dict[str, tuple[Any, Any]] = {}

    def progress(what: str, done: int, total: int) -> None:
        if not console.is_terminal:
            if done == 0:
                say(f"{what} ...")
            return
        if what not in bars:
            bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console)
            bar.start()
            bars[what] = bar, bar.add_task(what, total=total)
        bar, task = bars[what]
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()
            del bars[what]

    return progress


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
