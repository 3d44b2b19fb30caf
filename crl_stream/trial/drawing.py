"""The timeline of a task as SVG: its outcomes, the active variants and the decisions of both policies.

The lane and the marks above the outcomes belong to the policy of ``--against``, those below to the tried policy. A line
joins the two marks of a decision that is earlier or later. No state is shown by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

from crl_stream.trial.comparison import TaskComparison
from crl_stream.trial.markup import Markup, element, join
from crl_stream.trial.matching import Change, Placed
from crl_stream.trial.traffic import ERROR, SUCCESS

_WIDTH: Final = 1_000
"""Maximum width of a drawing in pixels."""
_GUTTER: Final = 64
_RIGHT: Final = 8
_LANE: Final = 18
_TOP: Final = {"against": 2, "policy": 108}
"""Top of the lane of each policy, in pixels."""
_MARK: Final = {"against": 30, "policy": 98}
"""Middle of each policy's row of marks, in pixels from the top."""
_STRIP: Final = (40, 88)
"""Top and bottom of the strip of outcomes, in pixels."""
_HEIGHT: Final = 146
_CELLS: Final = 160
"""Maximum number of outcomes that are drawn one by one; more are drawn as columns of shares."""
_BIN: Final = 6
"""Width of a column of shares, in pixels."""
_LETTER: Final = 6.6
"""Width of a letter in a lane, in pixels, rounded up."""
_MARKS: Final = 200
"""With more decisions than this, those that are the same in both folds are not drawn."""
CLOSE: Final = 150
"""Maximum number of outcomes in a close-up."""
_BEFORE: Final = 24
_AFTER: Final = 8


class _Scale:
    """Maps the numbers of outcomes to pixels."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, max(first, last)
        self.step = (_WIDTH - _GUTTER - _RIGHT) / (self.last - self.first + 1)
        if self.step > 7:
            self.step = 7.0 if self.last - self.first + 1 > 40 else min(self.step, 12.0)

    def left(self, number: int) -> float:
        """Return where the cell of an outcome begins, in pixels."""
        return _GUTTER + (number - self.first) * self.step

    def middle(self, number: int) -> float:
        """Return the middle of an outcome's cell, in pixels."""
        return self.left(number) + self.step / 2

    @property
    def end(self) -> float:
        """Where the cell of the last outcome ends, in pixels."""
        return self.left(self.last + 1)


def timeline(task: TaskComparison) -> Markup:
    """Return the whole timeline of a task."""
    scale = _Scale(1, len(task.traffic))
    return _drawing(task, scale, f"Timeline of {task.task}: {len(task.traffic)} outcomes")


def close_ups(task: TaskComparison, most: int) -> Iterator[tuple[Change, Markup]]:
    """Yield at most ``most`` changes, each with the outcomes around it; none if the timeline shows every outcome.

    No outcome is shown twice. Alerts are shown only if no change of the active variant differs.
    """
    if len(task.traffic) <= _CELLS:
        return
    shown: list[tuple[int, int]] = []
    moves = [change for change in task.changes if change.moves]
    for change in moves or task.changes:
        numbers = [placed[0] for placed in (change.against, change.policy) if placed is not None]
        first, last = max(1, min(numbers) - _BEFORE), min(len(task.traffic), max(numbers) + _AFTER)
        overlaps = any(first <= end and start <= last for start, end in shown)
        if change.decided.kind == "decision" or last - first + 1 > CLOSE or overlaps:
            continue
        scale = _Scale(first, last)
        yield change, _drawing(task, scale, f"Outcomes {first} to {last} of {task.task}")
        shown.append((first, last))
        if len(shown) == most:
            return


def _drawing(task: TaskComparison, scale: _Scale, title: str) -> Markup:
    width = ceil(scale.end) + _RIGHT
    marks = [*_links(task.changes, scale), *_marks(task, scale)]
    return element(
        "svg",
        element("title", title),
        *_lane("against", task.active[0], scale),
        *_lane("policy", task.active[1], scale),
        *_outcomes(task, scale),
        *marks,
        *_axis(scale),
        viewBox=f"0 0 {width} {_HEIGHT}",
        width=width,
        height=_HEIGHT,
        role="img",
        class_="time",
    )


def _lane(side: str, spans: Sequence[tuple[int, str]], scale: _Scale) -> Iterator[Markup]:
    """Yield the active variants; neighbours differ in shade, and each is named where there is room."""
    top = _TOP[side]
    yield element("text", side, x=0, y=top + 13, class_="side")
    ends = [*(start for start, _ in spans[1:]), scale.last + 1]
    for place, ((start, variant), end) in enumerate(zip(spans, ends, strict=True)):
        first, last = max(start, scale.first), min(end, scale.last + 1)
        if first >= last:
            continue
        x, width = scale.left(first), (last - first) * scale.step
        yield element(
            "g",
            element("title", f"{variant} is active from outcome {start} on"),
            element(
                "rect", x=_px(x), y=top, width=_px(max(width - 1, 0.5)), height=_LANE, rx=3, class_=f"v{place % 2}"
            ),
        )
        room = int((width - 10) / _LETTER)
        if room >= 3:
            name = variant if len(variant) <= room else variant[: room - 1] + "…"
            yield element("text", name, x=_px(x + 5), y=top + 13, class_="var")


def _outcomes(task: TaskComparison, scale: _Scale) -> Iterator[Markup]:
    top, bottom = _STRIP
    traffic = task.traffic
    if not len(traffic):
        return
    yield element("text", "outcomes", x=0, y=(top + bottom) // 2 + 4, class_="side")
    if scale.last - scale.first + 1 <= _CELLS:
        for number in range(scale.first, scale.last + 1):
            status = traffic.status(number)
            x, width = scale.left(number) + 0.5, scale.step - 1.5
            if status == SUCCESS:
                yield element("rect", x=_px(x), y=bottom - 10, width=_px(width), height=10, class_="s")
            elif status == ERROR:
                yield element(
                    "rect", x=_px(x + 0.75), y=top + 0.75, width=_px(width - 1.5), height=bottom - top - 1.5, class_="e"
                )
            else:
                yield element("rect", x=_px(x), y=top, width=_px(width), height=bottom - top, class_="f")
        return
    yield from _shares(task, scale)


def _shares(task: TaskComparison, scale: _Scale) -> Iterator[Markup]:
    """Yield the shares of bad outcomes, each over as many outcomes as fit into its width."""
    top, bottom = _STRIP
    size = max(1, round(_BIN / scale.step))
    yield element("rect", x=_GUTTER, y=bottom - 2, width=_px(scale.end - _GUTTER), height=2, class_="s")
    for first in range(scale.first, scale.last + 1, size):
        last = min(first + size - 1, scale.last)
        bad = sum(task.traffic.status(number) != SUCCESS for number in range(first, last + 1))
        if bad:
            height = (bottom - top - 2) * bad / (last - first + 1)
            x, width = scale.left(first), (last - first + 1) * scale.step
            yield element(
                "rect", x=_px(x), y=_px(bottom - 2 - height), width=_px(width - 0.8), height=_px(height), class_="f"
            )


def _links(changes: Sequence[Change], scale: _Scale) -> Iterator[Markup]:
    """Yield a line for each decision that is earlier or later."""
    for change in changes:
        if change.against is not None and change.policy is not None:
            one, other = change.against[0], change.policy[0]
            if scale.first <= min(one, other) and max(one, other) <= scale.last:
                yield element(
                    "line",
                    x1=_px(_at(one, scale)),
                    y1=_MARK["against"],
                    x2=_px(_at(other, scale)),
                    y2=_MARK["policy"],
                    class_="link",
                )


def _marks(task: TaskComparison, scale: _Scale) -> Iterator[Markup]:
    differing: dict[str, set[int]] = {"against": set(), "policy": set()}
    for change in task.changes:
        for side, placed in (("against", change.against), ("policy", change.policy)):
            if placed is not None:
                differing[side].add(id(placed))
    for side, decided in (("against", task.against), ("policy", task.policy)):
        crowded = len(decided) > _MARKS
        for placed in decided:
            if crowded and id(placed) not in differing[side]:
                continue
            if scale.first <= placed[0] <= scale.last:
                yield _mark(placed, _at(placed[0], scale), _MARK[side], same=id(placed) not in differing[side])


def _mark(placed: Placed, x: float, y: int, *, same: bool) -> Markup:
    """Return the mark of a decision: its shape says what kind it is."""
    number, one = placed
    kind = one.kind
    shape: Markup
    if kind == "rollback":
        shape = element("path", d=f"M{_px(x - 6)} {y - 5}h12l-6 10z")
    elif kind in {"promotion", "rollout", "activation"}:
        shape = element("path", d=f"M{_px(x - 6)} {y + 5}h12l-6 -10z")
    elif kind == "alert":
        shape = element("path", d=f"M{_px(x)} {y - 5}l5 5l-5 5l-5 -5z")
    elif kind == "refusal":
        shape = element("path", d=f"M{_px(x - 4)} {y - 4}l8 8m0 -8l-8 8")
    else:
        shape = element("circle", cx=_px(x), cy=y, r=3.5)
    words = element("title", f"{one.words}, outcome {number}: {one.reason}")
    return element("g", words, shape, class_=f"m {kind}" + (" same" if same else ""))


def _axis(scale: _Scale) -> Iterator[Markup]:
    """Yield the numbers of the outcomes below the lanes."""
    span = scale.last - scale.first
    step = max(1, 10 ** (len(str(max(span, 1))) - 1))
    while span / step < 4 and step > 1:
        step = step // 2 if step % 2 == 0 else step // 5
    number = -(-scale.first // step) * step
    shown = [scale.first, *range(number, scale.last + 1, step)]
    before = -100.0
    for one in shown:
        x = scale.middle(one)
        if x - before >= 48:
            yield element("text", one, x=_px(x), y=_HEIGHT - 4, class_="tick")
            before = x


def _at(number: int, scale: _Scale) -> float:
    return scale.middle(max(number, scale.first))


def _px(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def legend() -> Markup:
    """Return the legend: what the marks and the outcomes mean."""
    marks = (
        ("rollback", element("path", d="M2 3h12l-6 10z"), "m rollback"),
        ("promotion, activation", element("path", d="M2 13h12l-6 -10z"), "m promotion"),
        ("alert", element("path", d="M8 3l5 5l-5 5l-5 -5z"), "m alert"),
        ("level reached", element("circle", cx=8, cy=8, r=3.5), "m decision"),
        ("refused command", element("path", d="M4 4l8 8m0 -8l-8 8"), "m refusal"),
        ("success", element("rect", x=5, y=10, width=6, height=5, class_="s"), None),
        ("failure", element("rect", x=5, y=2, width=6, height=13, class_="f"), None),
        ("error", element("rect", x=5.75, y=2.75, width=4.5, height=11.5, class_="e"), None),
    )
    return join(
        *(
            element(
                "li",
                element(
                    "svg", element("g", shape, class_=name), viewBox="0 0 16 16", width=16, height=16, class_="time"
                ),
                " " + words,
            )
            for words, shape, name in marks
        )
    )
