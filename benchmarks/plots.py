"""Plots a run: ``plots.py FILE FOLDER``, with the Python of ``.venv-bench``; imports none of our code."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "crl-stream", "font.size": 9, "axes.axisbelow": True})

from matplotlib import pyplot as plt  # noqa: E402 - after the backend is chosen

RATE = "warm_events_per_second"
TROUBLE = {"missing", "failed", "wrong"}
OURS = {"ours": "#3465a4", "compiled": "#729fcf"}


def main(words: list[str]) -> int:
    """Plot everything the file contains."""
    page = json.loads(Path(words[0]).read_text(encoding="utf-8"))["sections"]
    folder = Path(words[1])
    folder.mkdir(parents=True, exist_ok=True)
    races = [page[name] for name in ("race1", "race5", "race20") if name in page]
    if races:
        _save(_throughput(races), folder / "throughput.svg")
    if page.get("latency", {}).get("ours"):
        _save(_latency(page["latency"]["ours"]), folder / "latency.svg")
    stages = {name: found for name, found in page.get("stages", {}).items() if "shares" in found}
    if stages:
        _save(_stages(stages), folder / "stages.svg")
    return 0


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    print(path, file=sys.stderr)


def _throughput(races: list[dict[str, Any]]) -> Any:
    figure, axes = plt.subplots(1, len(races), figsize=(3.6 * len(races), 2.8), sharey=True, squeeze=False)
    for axis, race in zip(axes[0], races, strict=True):
        names = list(race["results"])
        for place, name in enumerate(names):
            rates = [result[RATE] / 1_000 for result in race["results"][name] if not result.keys() & TROUBLE]
            if not rates:
                continue
            middle = statistics.median(rates)
            error = [[middle - min(rates)], [max(rates) - middle]]
            axis.barh(place, middle, xerr=error, color=OURS.get(name, "#aaaaaa"), capsize=2)
        axis.set_yticks(range(len(names)), [race["contestants"][name]["title"].split(",")[0] for name in names])
        axis.invert_yaxis()
        axis.set_title(f"{race['length']} events per touched row")
        axis.set_xlabel("thousand events/s, one worker")
        axis.grid(axis="x", alpha=0.4)
    return figure


def _latency(ours: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(1, len(ours), figsize=(3.6 * len(ours), 2.8), sharey=True, squeeze=False)
    for axis, (partitions, rates) in zip(axes[0], ours.items(), strict=True):
        loads = [int(rate.removesuffix("/s")) for rate in rates]
        for path, color in (("publish to Resolver", "#3465a4"), ("bare produce to consume", "#888888")):
            for share, style in (("p50", "-"), ("p99", "--")):
                times = [statistics.median(cell["paths"][path][share] for cell in cells) for cells in rates.values()]
                axis.plot(loads, times, style, color=color, marker="o", markersize=3, label=f"{path}, {share}")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(partitions)
        axis.set_xlabel("events/s")
        axis.grid(alpha=0.4)
    axes[0][0].set_ylabel("milliseconds")
    axes[0][0].legend(fontsize=7)
    return figure


def _stages(stages: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(1, len(stages), figsize=(4.4 * len(stages), 3.2), squeeze=False, layout="constrained")
    for axis, (name, found) in zip(axes[0], stages.items(), strict=True):
        axis.barh(list(found["shares"]), [100 * share for share in found["shares"].values()], color="#3465a4")
        axis.invert_yaxis()
        axis.set_title(f"{name} and batch")
        axis.set_xlabel("% of the worker's busy time")
        axis.grid(axis="x", alpha=0.4)
    return figure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
