"""The small drawings: the window strip, the course of the success rate, the pips of runtimes.

``app.js`` draws the rows of other pages of the table with the same marks; a browser test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from crl_stream.core import messages as m
from crl_stream.core.figures import counted

CELLS: Final = 20
"""How many outcomes a strip shows: the newest ones of the window."""
POINTS: Final = 24
"""How many points of the success rate a spark shows."""
_STEP: Final = 9
_WIDTH: Final = CELLS * _STEP - 2
_LOWEST: Final = 0.5
"""The success rate at the bottom of a spark."""
_SPARK_WIDTH: Final = 92
_SPARK_HEIGHT: Final = 26
_PIPS: Final = 6
_BAR: Final = "a1 1 0 0 1 1-1h5a1 1 0 0 1 1 1v{0}a1 1 0 0 1-1 1h-5a1 1 0 0 1-1-1z"
"""The outline of a bar with round corners, from its left side."""
_SHAPES: Final = {
    "s": "M{x} 12" + _BAR.format(4),
    "f": "M{x} 1" + _BAR.format(15),
    "e": "M{x}.75 1.75a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1v13.5a1 1 0 0 1-1 1h-3.5a1 1 0 0 1-1-1z",
    "n": "M{x} 15h7v2h-7z",
}
"""Success is low, failure is high, an error is high and hollow, and no outcome is a line."""
_DRAWN: Final = {name: [shape.format(x=number * _STEP) for number in range(CELLS)] for name, shape in _SHAPES.items()}
"""Every cell of a strip, drawn once."""
_STRIP: Final = Markup(
    '<svg class="strip" role="img" aria-label="{0}" width="{1}" height="20" viewBox="0 0 {1} 20">{2}</svg>'
)


def icon(name: str, css: str = "") -> Markup:
    """Return an icon of the sprite; it says nothing to a screen reader, because a word stands beside it."""
    more = f" {css}" if css else ""
    return Markup('<svg class="i{}" aria-hidden="true"><use href="#i-{}"/></svg>').format(more, name)


def cells_of(window: m.WindowSnapshot) -> tuple[str, str]:
    """Return the newest outcomes of a window and which of them are judged, each as one character per outcome."""
    judged = window.judged_outcomes
    if judged is None:  # a snapshot of an older engine
        judged = ("-" * (len(window.outcomes) - window.judged)) + "J" * window.judged
    return window.outcomes[-CELLS:], judged[-CELLS:]


def strip(outcomes: str, judged: str) -> Markup:
    """Draw outcomes, oldest first: what went wrong sticks up, and what is judged is underlined.

    Cells that look the same are one path: a browser needs several times as long for a thousand elements.
    """
    missing = CELLS - len(outcomes)
    paths: dict[str, list[str]] = {"n": _DRAWN["n"][:missing]} if missing else {}
    for number, (outcome, verdict) in enumerate(zip(outcomes, judged, strict=False), start=missing):
        name = outcome.lower()
        paths.setdefault(name if verdict == "J" else f"{name} old", []).append(_DRAWN[name][number])
    if lines := [
        f"M{(found.start() + missing) * _STEP} 18.5h{(found.end() - found.start()) * _STEP - 2}v1.2h-"
        f"{(found.end() - found.start()) * _STEP - 2}z"
        for found in re.finditer("J+", judged)
    ]:
        paths["u"] = lines
    marks = [f'<path class="{css}" d="{"".join(drawn)}"></path>' for css, drawn in paths.items()]
    # Nothing here is from strangers: other letters than those of the shapes have no drawing.
    return _STRIP.format(_spoken(outcomes, judged), _WIDTH, Markup("".join(marks)))  # noqa: S704


def _spoken(outcomes: str, judged: str) -> str:
    if not outcomes:
        return "No outcomes yet"
    errors = outcomes.count("E")
    return (
        f"Last {counted(len(outcomes), 'outcome')}: {outcomes.count('S')} succeeded, {outcomes.count('F')} failed, "
        f"{counted(errors, 'error')}; {judged.count('J')} judged"
    )


def codes_of(rates: Sequence[float]) -> str:
    """Return success rates as letters, ``a`` for 0 to ``u`` for 1: small enough for a thousand rows in a page."""
    return "".join(chr(97 + round(min(1.0, max(0.0, rate)) * 20)) for rate in rates[-POINTS:])


def spark(codes: str, baseline: int, *, low: bool) -> Markup:
    """Draw the course of the success rate against its baseline, in whole percent; ``low`` marks the newest point."""
    if not codes:
        return Markup('<svg class="spark" aria-hidden="true" viewBox="0 0 {} {}"></svg>').format(
            _SPARK_WIDTH, _SPARK_HEIGHT
        )
    step = (_SPARK_WIDTH - 4) / (len(codes) - 1) if len(codes) > 1 else 0.0
    places = [(2 + number * step, _height((ord(code) - 97) / 20)) for number, code in enumerate(codes)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    level = _height(baseline / 100)
    return Markup(
        '<svg class="spark" aria-hidden="true" viewBox="0 0 {0} {1}">'
        '<line class="b" x1="0" x2="{0}" y1="{2:.1f}" y2="{2:.1f}"></line>'
        '<polyline class="l" points="{3}"></polyline>'
        '<circle class="d{4}" cx="{5:.1f}" cy="{6:.1f}" r="2.4"></circle></svg>'
    ).format(_SPARK_WIDTH, _SPARK_HEIGHT, level, points, " low" if low else "", x, y)


def _height(rate: float) -> float:
    inside = min(1.0, max(_LOWEST, rate))
    return _SPARK_HEIGHT - 2 - (inside - _LOWEST) / (1 - _LOWEST) * (_SPARK_HEIGHT - 4)


def pips(moved: int, runtimes: int) -> Markup:
    """Draw how many of the runtimes use the current epoch: filled pips have moved."""
    if not runtimes:
        return Markup('<span class="faint">none named</span>')
    shown = min(runtimes, _PIPS)
    filled = moved if runtimes <= _PIPS else moved * _PIPS // runtimes
    marks = Markup("<i></i>") * min(filled, shown) + Markup('<i class="no"></i>') * (shown - min(filled, shown))
    return Markup('<span class="pips" aria-hidden="true">{}</span>{}/{}').format(marks, moved, runtimes)


def onset(times: Sequence[int]) -> Markup:
    """Draw how many variants fell in each of twenty equal spans between the first and the last time."""
    if not times:
        return Markup()
    first, last = min(times), max(times)
    counts = [0] * CELLS
    for time in times:
        counts[min(CELLS - 1, (time - first) * CELLS // max(1, last - first))] += 1
    bars = [
        Markup('<rect class="{}" x="{}" y="{:.1f}" width="12" height="{:.1f}" rx="1"/>').format(
            "" if count else "z", number * 16, 44 - height, height
        )
        for number, count in enumerate(counts)
        for height in [42 * count / max(counts) if count else 1.5]
    ]
    return Markup(
        '<svg class="onset" viewBox="0 0 320 46" preserveAspectRatio="xMinYMid meet" role="img" '
        'aria-label="When variants became degraded: {} between the first and the last">{}</svg>'
    ).format(len(times), Markup().join(bars))
