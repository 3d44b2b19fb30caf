"""A comparison as one HTML file to attach to an incident: no script, and nothing is loaded from anywhere.

Equal comparisons give equal bytes. The content security policy allows only the style sheet inside the file.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import Any, Final

from crl_stream import __version__
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.trial.comparison import CHANGES, Comparison, TaskComparison
from crl_stream.trial.decisions import KINDS, Decided
from crl_stream.trial.drawing import close_ups, legend, timeline
from crl_stream.trial.estimate import ASSUMPTION, Stretch, total
from crl_stream.trial.markup import Markup, element, join, table
from crl_stream.trial.matching import Change, Placed
from crl_stream.trial.report import CUT
from crl_stream.trial.sentences import change_words, estimate_words, recorded_words, signed, task_counts, verdict_words
from crl_stream.trial.style import STYLE

DRAWN: Final = 30
"""Maximum number of tasks that are drawn; the others are only listed."""
ROWS: Final = 200
"""Maximum number of listed changes: for each drawn task, and for all other tasks together."""
CLOSE_UPS: Final = 2
_SHOWN: Final = 8
"""Maximum number of a task's changes that are visible at first; the others are folded away."""


def page(comparison: Comparison) -> bytes:
    """Return the HTML file of a comparison."""
    style = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    allowed = f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=allowed),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href="data:,"),
        element("title", f"Policy {comparison.policy.last.digest()[:8]} on {comparison.source.name}"),
        element("style", Markup(STYLE)),
    )
    main = element(
        "main",
        _top(comparison),
        _statistics(comparison),
        _settings(comparison),
        *_tasks(comparison),
        _reading(),
        _grounds(comparison),
    )
    return f"<!doctype html>\n{element('html', head, element('body', main), lang='en')}\n".encode()


def _top(comparison: Comparison) -> Markup:
    notes = []
    if comparison.source.is_cut:
        notes.append(element("p", CUT, class_="note"))
    if comparison.recorded is not None and not comparison.recorded.is_same:
        notes.append(element("p", recorded_words(comparison.recorded), class_="note"))
    one, other = comparison.against, comparison.policy
    return element(
        "div",
        element("p", f"Replay of {comparison.source.name}", class_="dim"),
        element("h1", verdict_words(comparison)),
        element(
            "p",
            join("Tried: ", element("b", other.label), " (", element("code", other.last.digest()), "). "),
            join("Against: ", element("b", one.label), " (", element("code", one.last.digest()), ")."),
            class_="lede",
        ),
        *notes,
        class_="top",
    )


def _statistics(comparison: Comparison) -> Markup:
    counts = comparison.counts()
    cells = [_statistic("Same", comparison.same, "decisions of both")]
    for change in CHANGES:
        listed = ", ".join(f"{KINDS[kind]} {by[change]}" for kind, by in counts.items() if by[change])
        cells.append(_statistic(change.capitalize(), sum(by[change] for by in counts.values()), listed))
    estimate = comparison.estimate
    words = [f"estimate: {signed(-estimate.high)} to {signed(-estimate.low)}"] if estimate.outcomes else []
    words += [f"unknown for {estimate.unknown} outcomes"] if estimate.unknown else []
    value = signed(-estimate.saved) if estimate.outcomes else ("unknown" if estimate.unknown else "0")
    cells.append(_statistic("Bad invocations", value, "; ".join(words) or "the same variants throughout"))
    return element("dl", *cells, class_="card stats")


def _statistic(name: str, value: object, words: str) -> Markup:
    zero = "zero" if value in {0, "0"} else None
    return element("div", element("dt", name), element("dd", value, class_=zero), element("dd", words))


def _settings(comparison: Comparison) -> Markup:
    rows: list[tuple[object, ...]] = [
        (element("code", _breakable(d.setting)), _value(d.one), _value(d.other)) for d in comparison.settings
    ]
    body = (
        element("div", table(("setting", "against", "policy"), rows), class_="diff")
        if rows
        else element("p", "No setting differs.", class_="dim")
    )
    several = [
        element("p", f"{name} changes during the log; this compares its last policy.", class_="small")
        for name, side in (("The log", comparison.against), ("The policy", comparison.policy))
        if len(side.judged_by) > 1
    ]
    return _card("Settings that differ", str(len(rows)), body, *several)


def _breakable(setting: str) -> Markup:
    """Return the name of a setting, which a narrow screen may break after a dot or an underscore."""
    return join(*(join(part, Markup("<wbr>")) if part in "._" else part for part in re.split(r"([._])", setting)))


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# -- tasks -----------------------------------------------------------------------------------------
def _tasks(comparison: Comparison) -> list[Markup]:
    differing = comparison.differing()
    cards = [_task(task) for task in differing[:DRAWN]]
    if rest := differing[DRAWN:]:
        rows = [(task.task, *_row(change)) for task in rest for change in task.changes]
        listed = _listed(("task", *_COLUMNS), rows)
        cards.append(_card("More tasks", f"{len(rest)} tasks, listed but not drawn", *listed))
    return cards


def _task(task: TaskComparison) -> Markup:
    agent, _, kind = task.task.partition("/")
    title = join(element("span", f"{agent}/", class_="dim"), kind)
    parts = [_scroll(timeline(task), f"Timeline of {task.task}")]
    for change, drawing in close_ups(task, CLOSE_UPS):
        decided = change.decided
        parts.append(element("h3", f"{decided.words}: {change_words(change)}"))
        parts.append(_scroll(drawing, f"Outcomes around {decided.words}"))
    if task.changes:
        parts += _listed(_COLUMNS, [_row(change) for change in task.changes])
    if task.stretches:
        parts.append(_stretches(task.stretches))
        parts.append(element("p", estimate_words(total([task.stretches])), class_="small"))
    return _card(title, task_counts(task), *parts)


_COLUMNS: Final = ("decision", "change", "against: outcome", "policy: outcome")


def _row(change: Change) -> tuple[object, ...]:
    decided = change.decided
    words = element("b", decided.words) if change.moves else decided.words
    what = join(words, element("span", decided.reason, class_="why") if decided.reason else "")
    said = element("span", change_words(change), class_=f"chg {change.change}")
    return what, said, _outcome(change.against), _outcome(change.policy)


def _outcome(placed: Placed | None) -> Markup:
    if placed is None:
        return Markup("-")
    number, one = placed
    return join(number, " ", element("span", f"at {one.partition}:{one.offset}", class_="why"))


def _listed(columns: tuple[str, ...], rows: list[tuple[object, ...]], *, numbers: int = 2) -> list[Markup]:
    """Return the rows as a table, with all but the first folded away, and say how many are left out.

    The last ``numbers`` columns hold numbers.
    """
    kept, parts = rows[:ROWS], list[Markup]()
    parts.append(element("div", table(columns, kept[:_SHOWN], numbers=numbers), class_="cards"))
    if more := kept[_SHOWN:]:
        folded = element("div", table(columns, more, numbers=numbers), class_="cards")
        parts.append(element("details", element("summary", f"{len(more)} more"), folded))
    if left := len(rows) - len(kept):
        parts.append(element("p", f"{left} further rows are left out here; --json lists them all.", class_="small"))
    return parts


def _stretches(stretches: list[Stretch]) -> Markup:
    rows: list[tuple[object, ...]] = []
    for one in stretches:
        expected = fewer = "unknown"
        if one.rate is not None and one.saved is not None and one.low is not None and one.high is not None:
            expected = f"{one.outcomes * one.rate:.1f}"
            fewer = f"{signed(-one.saved)} ({signed(-one.high)} to {signed(-one.low)})"
        used, other = (one.against, one.policy) if one.used == "against" else (one.policy, one.against)
        rows.append(
            (
                f"{one.first} to {one.last}",
                one.against,
                one.policy,
                f"{one.bad} of {one.outcomes} of {used}",
                f"{expected} with {other} (sample {one.sample})",
                fewer,
            )
        )
    columns = ("outcomes", "against has active", "policy has active", "recorded bad", "expected bad", "policy")
    return element("div", table(columns, rows, numbers=1), class_="cards")


# -- the rest --------------------------------------------------------------------------------------
def _reading() -> Markup:
    return _card(
        "How to read this",
        "",
        element("ul", legend(), class_="legend"),
        element(
            "p",
            "Above the outcomes: the active variants and decisions under the policy of --against. Below: those under "
            "the policy that is tried. A dashed line joins a decision that is earlier or later. Faint marks are the "
            "same in both. Where there are too many outcomes to draw each, columns show the share of bad ones.",
            class_="dim",
        ),
        element("p", ASSUMPTION, class_="dim"),
    )


def _grounds(comparison: Comparison) -> Markup:
    source = comparison.source
    facts: list[tuple[str, object]] = [
        ("Input", f"{source.name} ({source.kind})"),
        ("Records", source.records),
        ("First and last", f"{source.first_time} to {source.last_time}" if source.records else "none"),
        ("SHA-256", element("code", source.sha256)),
        ("Engine", f"{ENGINE_VERSION} (crl {__version__})"),
        ("Policies against", element("code", ", ".join(comparison.against.judged_by) or "none")),
        ("Policies tried", element("code", ", ".join(comparison.policy.judged_by) or "none")),
    ]
    parts = [element("dl", *(join(element("dt", k), element("dd", v)) for k, v in facts), class_="facts")]
    if source.partitions:
        rows: list[tuple[object, ...]] = [
            (one.partition, one.first, one.end, element("code", one.sha256[:16])) for one in source.partitions
        ]
        parts.append(table(("partition", "first offset", "end offset", "SHA-256"), rows))
    if comparison.recorded is not None:
        parts.append(element("p", recorded_words(comparison.recorded)))
        missing, extra = comparison.recorded.missing, comparison.recorded.extra
        parts += _published("Published, but not in the replay", missing)
        parts += _published("In the replay, but never published", extra)
    return _card("What this rests on", "", *parts)


def _published(title: str, found: list[tuple[str, Decided]]) -> list[Markup]:
    if not found:
        return []
    rows: list[tuple[object, ...]] = [(task, one.words, f"{one.partition}:{one.offset}") for task, one in found]
    return [element("h3", title), *_listed(("task", "decision", "position"), rows, numbers=1)]


def _card(title: object, said: str, *parts: Markup) -> Markup:
    header = element("header", element("h2", title), element("span", said, class_="small") if said else "")
    return element("section", header, element("div", *parts, class_="pad"), class_="card")


def _scroll(drawing: Markup, label: str) -> Markup:
    """Return a drawing that scrolls sideways on a narrow screen; the keyboard reaches it too."""
    return element("div", drawing, class_="scroll", tabindex=0, role="group", aria_label=label)
