"""The figures of a run as tables, for a terminal of 80 columns or as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from textwrap import wrap
from typing import Any, NamedTuple

WIDTH = 80
"""Columns of a terminal."""

Page = Mapping[str, Any]
Cell = Mapping[str, Any]
SUMMARY = {
    "healthy: mean loss per 1,000": "lost",
    "healthy: worst loss per 1,000": "worst",
    "healthy: rollbacks to a worse variant per 1,000": "worse",
    "only worse alternatives: mean loss per 1,000": "none",
    "collapse: share of the oracle's gain": "gain",
    "collapse: least share of the oracle's gain": "least",
    "newcomer: share of the oracle's gain": "new",
    "outage: mean loss per 1,000": "outage",
    "outage: ends on the best variant": "ends",
    "alone: worst false alarms per 1,000 days": "alarms",
}
"""The figures of the first table, with their column headings."""
ERRORS = {
    "healthy: mean loss per 1,000": "healthy: standard error of the mean loss",
    "collapse: share of the oracle's gain": "collapse: standard error of the share",
}
"""The standard errors that the first table shows."""
OF_SUMMARY = (
    "lost, worst: good outcomes lost per 1,000 in healthy worlds, on average and in the worst world; worse: rollbacks "
    "to a worse variant there, per 1,000. none: lost where every alternative is worse. gain, least, new: share of the "
    "oracle's gain after a collapse, on average and in the worst world, and after a bad newcomer. outage: lost in an "
    "outage of all variants; ends: share of tasks that end on the best variant. alarms: false alarms per 1,000 days "
    "of a variant that is alone, in the worst world. ±: standard error."
)
OF_LOSSES = (
    "Good outcomes lost per 1,000, against never changing the variant; negative if the decisions gained something."
)
OF_ROLLOUTS = (
    "A new variant is rolled out in stages (guide, production) or activated at once (the others): good "
    "outcomes lost per task, against the better of the two variants; in brackets, how often it is in use at the end."
)
OF_LIMIT = (
    "Share of the oracle's gain after a collapse. delay: outcomes that any test needs on average to find the fall if "
    "it may raise one false alarm in 5,000 outcomes (Lorden's bound); most: the share with that delay. A contestant "
    "with more either raises more false alarms or was lucky."
)
OF_ALARMS = "False alarms of a variant that is alone, per 1,000 days of 100 outcomes."
OF_DELAYS = (
    "Outcomes from the fall of a variant that is alone to the next alarm: median/90th percentile; in brackets, the "
    "share of tasks with an alarm, unless all have one. A false alarm that is still open at the fall hides the next."
)
OF_COST_ALARMS = (
    "False alarms about the cost, per 1,000 days of 100 outcomes. Costs are lognormal; spread: their standard "
    "deviation, in means. Contestants that do not watch costs raise none."
)
OF_COST_DELAYS = (
    "Outcomes from the rise of the cost to the next alarm: median/90th percentile; in brackets, the share of tasks "
    "with an alarm, unless all have one."
)
OF_DETAILS = (
    "lost: per 1,000 outcomes. false, worse: rollbacks of a variant that had not become worse, and rollbacks to a "
    "worse variant, per 1,000. promoted: promotions (to a worse variant). caught, delay: share of tasks in which the "
    "fallen variant was left, and after how many outcomes (median/90th percentile)."
)
OF_COST = (
    "ns: CPU time per outcome, everything included: median (least to most) of rounds in which all took turns. ratio: "
    "to production, round by round. detector: ns of the detector alone, without the actuator. bytes: state of a task "
    "with two variants, as a table stores it (the product's row; the rivals' pickles)."
)


class Table(NamedTuple):
    """Rows under a title; the first row is the header."""

    title: str
    remark: str
    rows: list[Sequence[str]]


def text(page: Page) -> str:
    """Return all tables, aligned for a terminal."""
    parts = []
    for title, remark, rows in tables(page):
        parts.append("\n".join([title, *wrap(remark, WIDTH - 1), *_aligned(rows)]))
    return "\n\n".join(parts)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return aligned rows; if there are two columns, the second is prose and is wrapped."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if len(widths) > 2:
        for row in rows:
            yield " ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        return
    for name, prose in rows:
        first, *more = wrap(prose, WIDTH - 2 - widths[0])
        yield f"{name.ljust(widths[0])} {first}"
        yield from (" " * (widths[0] + 1) + line for line in more)


def markdown(page: Page) -> str:
    """Return all tables, each under a heading."""
    parts = []
    for title, remark, (head, *body) in tables(page):
        ruler = ["---", *["---:"] * (len(head) - 1)] if len(head) > 2 else ["---"] * len(head)
        lines = [f"| {' | '.join(row)} |" for row in (head, ruler, *body)]
        parts.append("\n".join([f"### {title}", "", *([*wrap(remark, 120), ""] if remark else []), *lines]))
    return "\n\n".join(parts)


def tables(page: Page) -> Iterator[Table]:
    """Return the tables of a run; those without a row are left out."""
    cells, said = page["cells"], page["contestants"]
    loops = [cell for cell in cells if cell["kind"] not in {"alone", "guardrail", "rollout"}]
    rollouts = [cell for cell in cells if cell["kind"] == "rollout"]
    yield Table("Contestants", "", [("code", "contestant"), *_who(page)])
    for table in (
        Table("All worlds", OF_SUMMARY, _summary(page)),
        Table("Closed loop: losses", OF_LOSSES, _matrix(page, loops, _lost)),
        Table("Collapse: the limit", OF_LIMIT, _limits(page, cells)),
        Table("Rollouts", OF_ROLLOUTS, _matrix(page, rollouts, _rolled_out)),
        Table("Alone: false alarms", OF_ALARMS, _matrix(page, _with(cells, "alarms_per_1000_days"), _alarms)),
        *_delays(page, cells),
        Table(
            "Guardrails: false alarms",
            OF_COST_ALARMS,
            _matrix(page, _with(cells, "alarms_per_1000_days", "guardrail"), _alarms),
        ),
        Table("Guardrails: delay", OF_COST_DELAYS, _matrix(page, _with(cells, "caught", "guardrail"), _delay)),
        *(
            Table(f"Closed loop in detail: {name}", OF_DETAILS, _details(loops, name))
            for name in said
            if said[name]["is_policy"]
        ),
        Table("Cost", OF_COST, _cost(page)),
    ):
        if len(table.rows) > 1:
            yield table


def _who(page: Page) -> Iterator[Sequence[str]]:
    for name, said in page["contestants"].items():
        missing = page["missing"].get(name)
        yield said["code"], f"{name}: {said['says']}" + (f"; NOT PLAYED: {missing}" if missing else "")


def _with(cells: Sequence[Cell], figure: str, kind: str = "alone") -> list[Cell]:
    return [cell for cell in cells if cell["kind"] == kind and figure in cell["figures"]]


def _summary(page: Page) -> list[Sequence[str]]:
    summed, said = page["summary"], page["contestants"]
    known = [figure for figure in SUMMARY if any(figure in found for found in summed.values())]
    rows: list[Sequence[str]] = [("", *(SUMMARY[figure] for figure in known))]
    for name, found in summed.items():
        rows.append((said[name]["code"], *(_with_error(found, figure) for figure in known)))
    return rows if known else []


def _with_error(found: Mapping[str, Any], figure: str) -> str:
    error = found.get(ERRORS.get(figure, ""))
    shown = _short(found[figure]) if figure in found else ""
    return shown if error is None else f"{shown}±{error:.1g}"


def _matrix(page: Page, cells: Sequence[Cell], shown: Callable[[Cell], str]) -> list[Sequence[str]]:
    """Return a line per world and a column per contestant."""
    names = list(dict.fromkeys(cell["contestant"] for cell in cells))
    by_place = {(cell["world"], cell["contestant"]): shown(cell["figures"]) for cell in cells}
    worlds = dict.fromkeys(cell["world"] for cell in cells)
    head = ("", *(page["contestants"][name]["code"] for name in names))
    return [head, *((world, *(by_place.get((world, name), "") for name in names)) for world in worlds)]


def _limits(page: Page, cells: Sequence[Cell]) -> list[Sequence[str]]:
    known = [cell for cell in cells if "greatest_gain" in cell["figures"]]
    head, *rows = _matrix(page, known, lambda figures: f"{figures['gain_of_oracle']:.2f}")
    best = {cell["world"]: cell["figures"] for cell in known}
    found: list[Sequence[str]] = [(head[0], "delay", "most", *head[1:])]
    for world, *shares in rows:
        found.append((world, f"{best[world]['least_delay']:.0f}", f"{best[world]['greatest_gain']:.2f}", *shares))
    if rows:
        whole = [_mean_gain(known, name) for name in dict.fromkeys(cell["contestant"] for cell in known)]
        found.append(("mean", "", f"{fmean(each['greatest_gain'] for each in best.values()):.2f}", *whole))
    return found


def _mean_gain(cells: Sequence[Cell], name: str) -> str:
    return f"{fmean(cell['figures']['gain_of_oracle'] for cell in cells if cell['contestant'] == name):.2f}"


def _lost(figures: Cell) -> str:
    lost = figures["lost_per_1000"]
    return f"{lost:.1f}" if 0.05 <= abs(lost) < 9.95 else f"{round(lost)}"


def _rolled_out(figures: Cell) -> str:
    return f"{figures['lost_per_task']:.0f} ({figures['completed']:.2g})"


def _alarms(figures: Cell) -> str:
    return _short(figures["alarms_per_1000_days"])


def _short(value: float) -> str:
    """Return a number with two significant digits, or with all digits before the decimal point."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _delays(page: Page, cells: Sequence[Cell]) -> list[Table]:
    """Return a table with a line per contestant and a column per fall."""
    falls = _with(cells, "caught")
    worlds = dict.fromkeys(cell["world"] for cell in falls)
    by_place = {(cell["contestant"], cell["world"]): _delay(cell["figures"]) for cell in falls}
    rows: list[Sequence[str]] = [("", *(world.removesuffix(" alone") for world in worlds))]
    for name in dict.fromkeys(cell["contestant"] for cell in falls):
        code = page["contestants"][name]["code"]
        rows.append((code, *(by_place.get((name, world), "") for world in worlds)))
    return [Table("Alone: delay", OF_DELAYS, rows)]


def _delay(figures: Cell) -> str:
    if figures.get("delay_median") is None:
        return "(0 %)" if "caught" in figures else ""
    share = "" if figures["caught"] == 1 else f" ({100 * figures['caught']:.0f} %)"
    return f"{figures['delay_median']:.0f}/{figures['delay_p90']}{share}"


def _details(cells: Sequence[Cell], name: str) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("", "got", "lost", "false", "worse", "promoted", "caught", "delay")]
    for cell in cells:
        found = cell["figures"]
        if cell["contestant"] == name:
            rates = (found["false_rollbacks_per_1000"], found["rollbacks_to_worse_per_1000"])
            caught = f"{100 * found['caught']:.0f} %" if "caught" in found else ""
            late = "" if found.get("delay_median") is None else f"{found['delay_median']:.0f}/{found['delay_p90']}"
            promoted = f"{found['promotions']} ({found['promotions_to_worse']})"
            got = f"{found['got']:.3f}"
            rows.append((cell["world"], got, _lost(found), *(f"{r:.2f}" for r in rates), promoted, caught, late))
    return rows


def _cost(page: Page) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("", "ns", "ratio", "detector", "bytes")]
    for name, found in page.get("cost", {}).items():
        ns, ratio = found["ns"], found["ratio"]
        detector = f"{found['detector_ns']['median']:,.0f}" if "detector_ns" in found else ""
        rows.append(
            (
                page["contestants"][name]["code"],
                f"{ns['median']:,.0f} ({ns['min']:,.0f} to {ns['max']:,.0f})",
                f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
                detector,
                f"{found['bytes']:,}",
            )
        )
    return rows
