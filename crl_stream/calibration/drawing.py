"""Draws the figures of the policies as an SVG that needs nothing else: no script, font or style sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import floor, log10
from typing import Final, NamedTuple

from crl_stream.calibration.measurement import Figures

_ROW: Final = 44
_TOP: Final = 92
_LABELS: Final = 204
_LONGEST: Final = 24
"""Number of characters of a policy's name that fit beside the panels."""
_PANEL: Final = 230
_GAP: Final = 34
_INK, _PALE, _ACCENT, _WARN = "#1f2933", "#9aa5b1", "#0b69a3", "#c23030"
_SHADES: Final = ("#0b69a3", "#4098d7", "#84c5f4")
"""Colours of the falls, the smallest first."""


class _Axis(NamedTuple):
    left: float
    title: str
    unit: str
    ticks: Sequence[float]
    place: Callable[[float], float]
    """Converts a figure to a share of the panel's width."""

    def x(self, value: float) -> float:
        return self.left + _PANEL * min(1.0, max(0.0, self.place(value)))


def draw(title: str, found: Sequence[Figures], budget: float, chosen: str | None) -> str:
    """Return an SVG with one row for each policy: false rollbacks, delays, and harm, with their intervals.

    ``chosen`` is the name of the recommended policy; its label is marked, as are those of policies above the budget.
    """
    width = _LABELS + 3 * (_PANEL + _GAP)
    height = _TOP + _ROW * len(found) + 64
    axes = _rates(found, budget), _delays(found), _harms(found)
    body = [
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(16, 30, title, size=17, weight="bold"),
        *(line for axis in axes for line in _drawn_axis(axis, len(found))),
        _line(axes[0].x(budget), _TOP - 8, axes[0].x(budget), _TOP + _ROW * len(found), _WARN, dashes="5 4"),
    ]
    for number, one in enumerate(found):
        body += _drawn_row(_TOP + _ROW * number + _ROW / 2, one, axes, budget, chosen)
    body += _legend(axes, budget, height - 18)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" role="img">\n<title>{escape(title)}</title>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _rates(found: Sequence[Figures], budget: float) -> _Axis:
    """Return a logarithmic axis; 0 is drawn at its left end."""
    positive = [x for one in found for x in one.false_rollbacks[:3] if x > 0.0]
    low, high = floor(log10(max(0.001, min([*positive, budget])))), log10(max([*positive, budget]) * 1.2)
    high = max(high, low + 1)
    ticks = [10.0**power for power in range(low, int(high) + 1)]
    return _Axis(
        _LABELS, "False rollbacks", "per 1,000 invocations", ticks, lambda x: (log10(max(x, 1e-9)) - low) / (high - low)
    )


def _delays(found: Sequence[Figures]) -> _Axis:
    most = max([10.0, *(float(fall.delay_p90 or 0) for one in found for fall in one.falls)]) * 1.05
    place = lambda x: x / most  # noqa: E731 - as for the other axes
    return _Axis(_LABELS + _PANEL + _GAP, "Delay", "outcomes, median to 90th percentile", _ticks(0, most), place)


def _harms(found: Sequence[Figures]) -> _Axis:
    low = min(0.0, *(one.harm.low for one in found))
    high = max(1.0, *(one.harm.high for one in found)) * 1.05
    place = lambda x: (x - low) / (high - low)  # noqa: E731
    return _Axis(
        _LABELS + 2 * (_PANEL + _GAP), "Expected harm", "good outcomes lost per 1,000", _ticks(low, high), place
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return about four round numbers from ``low`` to ``high``."""
    raw = (high - low) / 4
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [step * number for number in range(int(-(-low // step)), int(high // step) + 1)]


def _drawn_axis(axis: _Axis, rows: int) -> Iterator[str]:
    bottom = _TOP + _ROW * rows
    yield _text(axis.left, 58, axis.title, weight="bold")
    yield _text(axis.left, 74, axis.unit, size=11, fill="#52606d")
    for tick in axis.ticks:
        yield _line(axis.x(tick), _TOP - 8, axis.x(tick), bottom, "#e4e7eb")
        yield _text(axis.x(tick), bottom + 16, f"{tick:g}", size=11, anchor="middle", fill="#52606d")


def _drawn_row(
    y: float, one: Figures, axes: tuple[_Axis, _Axis, _Axis], budget: float, chosen: str | None
) -> Iterator[str]:
    rates, delays, harms = axes
    name, rate = one.alternative.name, one.false_rollbacks
    yield _text(
        16,
        y + 5,
        name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…",
        weight="bold" if name == chosen else "normal",
    )
    if name == chosen:
        yield _text(16, y + 19, "recommended", size=11, fill=_ACCENT)
    color = _WARN if rate.value > budget else _ACCENT
    yield _line(rates.x(rate.low), y, rates.x(rate.high), y, color, wide=2)
    yield _dot(rates.x(rate.value), y, color)
    for number, fall in enumerate(one.falls):
        if fall.delay_median is not None and fall.delay_p90 is not None:
            at = y + 9 * (number - 1)
            yield _line(delays.x(fall.delay_median), at, delays.x(fall.delay_p90), at, _SHADES[number], wide=2)
            yield _dot(delays.x(fall.delay_median), at, _SHADES[number], 3.5)
    yield _line(harms.x(one.harm.low), y, harms.x(one.harm.high), y, _INK, wide=2)
    yield _dot(harms.x(one.harm.value), y, _INK)


def _legend(axes: tuple[_Axis, _Axis, _Axis], budget: float, y: float) -> Iterator[str]:
    yield _text(axes[0].left, y, f"red line: budget of {budget:g}; bars: 95 % intervals", size=11, fill="#52606d")
    x = axes[1].left
    for shade, words in zip(_SHADES, ("to 3/4", "to 1/2", "to 0"), strict=True):
        yield _dot(x + 4, y - 4, shade, 3.5)
        yield _text(x + 12, y, f"falls {words}", size=11, fill="#52606d")
        x += 76
    yield _text(axes[2].left, y, "bars: 95 % intervals", size=11, fill="#52606d")


def _text(
    x: float, y: float, words: str, *, size: int = 13, weight: str = "normal", anchor: str = "start", fill: str = _INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{fill}">{escape(words)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str, *, wide: float = 1, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{wide}"{dashed}/>'


def _dot(x: float, y: float, color: str, radius: float = 5) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}"/>'
