"""Output of ``crl``: data to stdout, everything else to stderr; colours and progress bars only on a terminal.

Everything printed passes through here, so this is where texts from topics and files are made harmless (``visible``).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from crl_stream.cli.layout import fit, folded
from crl_stream.core.instant import readable
from crl_stream.visible import LINE, VisibleFormatter, escape_json, visible, visible_lines

if TYPE_CHECKING:  # not imported at run time, because the broker imports asyncio
    from crl_stream.broker.jars import Progress

_FOLDED = 500
"""Maximum number of rows of a table that is fitted to the width of the terminal."""


class Terminal(Console):
    """A console on which only our own styles apply: printed text cannot change colours or move the cursor."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments with control characters in their text made visible; rich's own controls stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible_lines(segment.text), segment.style)


class _Beside(Terminal):
    """Stderr; a command continues its work even if the reader of stderr has gone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(stderr=True, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Discard further output."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


_bars: Final[dict[str, tuple[Any, Any]]] = {}
"""Progress bars on the terminal, by label."""
_shared: Final[set[str]] = set()
"""Not empty if other processes write to this terminal too."""


def share_terminal() -> None:
    """Show progress as lines from now on, because other processes writing to stderr would break up a bar."""
    _shared.add("stderr")


def end_bars() -> None:
    """Leave every bar where it is, restore the cursor, and start a new line."""
    while _bars:
        _, (bar, _) = _bars.popitem()
        bar.stop()


class LogLines(logging.StreamHandler[Any]):
    """Log lines on stderr, printed above any progress bar."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(VisibleFormatter(LINE))

    @property
    def stream(self) -> Any:
        """Return the current stderr, which rich replaces while a bar is drawn."""
        return sys.stderr


def say(text: str) -> None:
    """Print a line on stderr, above any progress bar."""
    console = next((bar.console for bar, _ in _bars.values()), None) or _Beside()
    console.print(_for_people(console, text), soft_wrap=True, markup=False)


def complain(message: str, hint: str | None) -> None:
    """Print an error and what to do next, and end all progress bars."""
    end_bars()
    console = _Beside(soft_wrap=True, markup=False)
    console.print(_for_people(console, f"crl: {message}"), style="red")
    if hint:
        console.print(_for_people(console, f"hint: {hint}"))


def show_json(value: Any) -> None:
    """Print one JSON document as one line on stdout."""
    import orjson

    sys.stdout.buffer.write(escape_json(orjson.dumps(value, default=_builtins)) + b"\n")
    sys.stdout.buffer.flush()


def show_file(data: bytes) -> None:
    """Print an exported file: JSON is escaped, so that any program can read it; other text only on a terminal."""
    if data[:1] in {b"{", b"["}:
        data = b"\n".join(map(escape_json, data.split(b"\n")))
    elif sys.stdout.isatty():
        data = visible_lines(data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")).encode()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print a table; a file or a pipe gets it at full width.

    ``columns`` are the headers; ``empty`` is printed if there are no rows.
    """
    cells = [["" if cell is None else readable(str(cell)) for cell in row] for row in rows]
    if not cells:
        show(empty)
        return
    console = Terminal(highlight=False, markup=False)
    lines = lay_out([list(columns), *cells])
    if console.is_terminal and len(cells) <= _FOLDED and max(map(cell_len, lines)) > console.width:
        # Escape before the layout, because an escape is wider than the character it replaces.
        plain = [[visible(cell) for cell in row] for row in cells]
        lines = fit(columns, plain, console.width)
    # Rich takes seconds for ten thousand rows, and only the header needs it here.
    console.print(Text(lines[0], style="bold"), soft_wrap=True)
    console.file.write("".join(f"{line}\n" for line in lines[1:]))
    console.file.flush()


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as lines, each column as wide as its widest cell. Every row has the same number of one-line cells."""
    plain = [[readable(visible(cell)) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*plain, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in plain
    ]


def show(text: str) -> None:
    """Print a line of data."""
    console = Terminal(highlight=False, soft_wrap=True, markup=False)
    console.print(_for_people(console, text))


def _for_people(console: Console, text: str) -> str:
    """Break long lines between words on a terminal; a file or a pipe gets them whole."""
    lines = readable(visible_lines(text))
    return folded(lines, console.width) if console.is_terminal else lines


def progress_bar() -> Progress:
    """Return a function that shows progress on stderr: a bar on a terminal, else one line at the start."""
    console = _Beside()

    def progress(what: str, done: int, total: int) -> None:
        if not console.is_terminal or _shared:
            if done == 0:
                say(f"{what} ...")
            return
        if what not in _bars:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console)
            bar.start()
            _bars[what] = bar, bar.add_task(what, total=total)
        bar, task = _bars[what]
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()
            del _bars[what]

    return progress


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
