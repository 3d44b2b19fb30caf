"""How ``crl`` talks: data to stdout, everything else to stderr; colours and bars only where a person looks.

All that it prints passes here, so this is the border at which the texts of strangers become harmless (``visible``).
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
from crl_stream.visible import LINE, VisibleFormatter, escape_json, visible, visible_lines

if TYPE_CHECKING:  # the broker brings asyncio along
    from crl_stream.broker.jars import Progress

_FOLDED = 500
"""Rows up to which a table is folded to the width of the terminal."""


class Terminal(Console):
    """Where text is printed: as styled as we like, and no text can style or move anything itself."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of text without any character that a terminal acts on; rich's own controls stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible_lines(segment.text), segment.style)


class _Beside(Terminal):
    """Stderr, beside the data; the work goes on when nobody listens there any more."""

    def __init__(self, **options: Any) -> None:
        super().__init__(stderr=True, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Say the rest to nobody."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


_bars: Final[dict[str, tuple[Any, Any]]] = {}
"""Progress bars that are on the terminal, by what they are about."""
_shared: Final[set[str]] = set()
"""Not empty when other processes write to this terminal too."""


def share_terminal() -> None:
    """From now on other processes write to stderr too: a bar would be torn apart, so progress is said in lines."""
    _shared.add("stderr")


def end_bars() -> None:
    """Leave every bar where it is, and give the cursor back: what follows begins on a line of its own."""
    while _bars:
        _, (bar, _) = _bars.popitem()
        bar.stop()


class LogLines(logging.StreamHandler[Any]):
    """Log lines for people on stderr, above a progress bar that is drawn there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(VisibleFormatter(LINE))

    @property
    def stream(self) -> Any:
        """While a bar is drawn, rich has put something else here."""
        return sys.stderr


def say(text: str) -> None:
    """A line for people, beside the data; above a progress bar that is drawn there."""
    console = next((bar.console for bar, _ in _bars.values()), None) or _Beside()
    console.print(_for_people(console, text), soft_wrap=True, markup=False)


def complain(message: str, hint: str | None) -> None:
    """An error and what to do next; no progress bar goes on after it."""
    end_bars()
    console = _Beside(soft_wrap=True, markup=False)
    console.print(_for_people(console, f"crl: {message}"), style="red")
    if hint:
        console.print(_for_people(console, f"hint: {hint}"))


def show_json(value: Any) -> None:
    """One JSON document on one line of stdout."""
    import orjson

    sys.stdout.buffer.write(escape_json(orjson.dumps(value, default=_builtins)) + b"\n")
    sys.stdout.buffer.flush()


def show_file(data: bytes) -> None:
    """A file for other programs: JSON harmless for any reader, other text as it is unless a terminal is the reader."""
    if data[:1] in {b"{", b"["}:
        data = b"\n".join(map(escape_json, data.split(b"\n")))
    elif sys.stdout.isatty():
        data = visible_lines(data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")).encode()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Rows for people; a file or a pipe gets them at full width."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        show(empty)
        return
    console = Terminal(highlight=False, markup=False)
    lines = lay_out([list(columns), *cells])
    if console.is_terminal and len(cells) <= _FOLDED and max(map(cell_len, lines)) > console.width:
        # Before they are laid out: an escape is wider than what it stands for.
        plain = [[visible(cell) for cell in row] for row in cells]
        lines = fit(columns, plain, console.width)
    # Rich takes seconds for ten thousand rows, and only a header needs it here.
    console.print(Text(lines[0], style="bold"), soft_wrap=True)
    console.file.write("".join(f"{line}\n" for line in lines[1:]))
    console.file.flush()


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines, each column as wide as its widest cell; a cell is one line."""
    plain = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*plain, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in plain
    ]


def show(text: str) -> None:
    """A line of data."""
    console = Terminal(highlight=False, soft_wrap=True, markup=False)
    console.print(_for_people(console, text))


def _for_people(console: Console, text: str) -> str:
    """A terminal breaks a long line within a word or an id; a file or a pipe gets it whole."""
    lines = visible_lines(text)
    return folded(lines, console.width) if console.is_terminal else lines


def progress_bar() -> Progress:
    """A progress that shows itself on stderr: a bar on a terminal, else a line when it starts and ends."""
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
