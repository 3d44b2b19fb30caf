"""Plots a run: ``plots.py FILE FOLDER``, with the Python of ``.venv-bench``; imports none of our code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "crl-stream", "font.size": 9, "axes.axisbelow": True})

from matplotlib import pyplot as plt  # noqa: E402 - after the backend is chosen

OURS, OURS_BEHIND, THEIRS = "#3465a4", "#729fcf", "#888888"
FALL = "0.90>0.60 alone"


def main(words: list[str]) -> int:
    """Plot all figures of the run."""
    page = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    folder = Path(words[1])
    folder.mkdir(parents=True, exist_ok=True)
    kind = words[2] if len(words) > 2 else "svg"
    for name, figure in (("frontier", _frontier(page)), ("delay", _delay(page))):
        path = folder / f"{name}.{kind}"
        figure.savefig(path, metadata={"Date": None} if kind == "svg" else None, bbox_inches="tight", dpi=110)
        plt.close(figure)
        print(path, file=sys.stderr)
    return 0


def _frontier(page: dict[str, Any]) -> Any:
    """Plot the loss in healthy worlds against the gain after a variant has become worse, with standard errors."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True, layout="constrained")
    for axis, kind, title in ((axes[0], "collapse", "after a collapse"), (axes[1], "newcomer", "after a bad newcomer")):
        gain = f"{kind}: share of the oracle's gain"
        errors = ("healthy: standard error of the mean loss", f"{kind}: standard error of the share")
        points = {
            name: (found["healthy: mean loss per 1,000"], 100 * found[gain])
            for name, found in page["summary"].items()
            if "healthy: mean loss per 1,000" in found and gain in found
        }
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xlim(-0.1, 300)
        axis.set_ylim(-12, 105)
        axis.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        axis.set_xlabel("good outcomes lost per 1,000 in healthy worlds")
        axis.set_ylabel(f"% of the oracle's gain {title}")
        for name, (x, y) in points.items():
            across, up = (page["summary"][name].get(error) or 0.0 for error in errors)
            axis.errorbar(x, y, 100 * up, across, color=THEIRS, linewidth=0.8)
        _scatter(axis, page, points)
    return figure


def _delay(page: dict[str, Any]) -> Any:
    """Plot the delay until a fall is found against the rate of false alarms."""
    figure, axis = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
    delays = {
        cell["contestant"]: cell["figures"]["delay_median"]
        for cell in page["cells"]
        if cell["world"] == FALL and cell["figures"]["delay_median"] is not None
    }
    alarms = "alone: worst false alarms per 1,000 days"
    points = {
        name: (found[alarms], delays[name])
        for name, found in page["summary"].items()
        if alarms in found and name in delays and not name.startswith("evidence")  # the same as production here
    }
    axis.set_xscale("symlog", linthresh=1)
    axis.set_yscale("log")
    axis.set_xlim(-0.1, 5_000)
    axis.set_ylim(4, 400)
    axis.set_xticks([0, 1, 10, 100, 1_000], ["0", "1", "10", "100", "1,000"])
    axis.set_yticks([5, 10, 20, 50, 100, 200], ["5", "10", "20", "50", "100", "200"])
    axis.minorticks_off()
    axis.set_xlabel("false alarms per 1,000 variant-days, in the worst world")
    axis.set_ylabel("outcomes until .90 > .60 is found (median)")
    _scatter(axis, page, points)
    return figure


PLACES = ((8, 0), (7, 10), (7, -10), (-8, 0), (-7, 10), (-7, -10), (0, 13), (0, -13), (7, 20), (7, -20))
"""Offsets of a label from its data point that may be tried, in points, best first."""


def _scatter(axis: Any, page: dict[str, Any], points: dict[str, tuple[float, float]]) -> None:
    """Draw a labelled point per contestant; scales and limits of the axis must be set."""
    axis.figure.canvas.draw()  # labels can only be placed once the layout is final
    scale = axis.figure.dpi / 72
    at = {name: axis.transData.transform(point) for name, point in points.items()}
    taken = [(x - 5, x + 5, y - 5, y + 5) for x, y in at.values()]
    for name, (x, y) in sorted(points.items(), key=lambda point: (-point[1][1], point[1][0])):
        said = page["contestants"][name]
        color = OURS if said["is_policy"] else OURS_BEHIND if name.startswith("evidence") else THEIRS
        label = said["code"] if "," in name else name
        axis.plot(x, y, "o", color=color, markersize=6, clip_on=False, zorder=3)
        boxes = [_box(at[name], place, len(label), scale) for place in PLACES]
        free = [
            number
            for number, box in enumerate(boxes)
            if box[0] > axis.bbox.x0 and box[1] < axis.bbox.x1 and not any(_meet(box, other) for other in taken)
        ]
        best = free[0] if free else 0
        taken.append(boxes[best])
        side = {0: "center", 1: "left", -1: "right"}[(PLACES[best][0] > 0) - (PLACES[best][0] < 0)]
        place = {"xytext": PLACES[best], "textcoords": "offset points", "ha": side, "va": "center"}
        axis.annotate(label, (x, y), color=color, fontsize=8, **place)
    axis.grid(alpha=0.4)


def _box(at: Any, place: tuple[int, int], letters: int, scale: float) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of a label, in pixels."""
    width, x, y = 5.0 * letters * scale, at[0] + place[0] * scale, at[1] + place[1] * scale
    left = x if place[0] > 0 else x - width if place[0] < 0 else x - width / 2
    return left, left + width, y - 4.5 * scale, y + 4.5 * scale


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
