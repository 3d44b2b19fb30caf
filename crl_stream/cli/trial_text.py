"""The report of a trial for people on a terminal."""

from __future__ import annotations

from typing import Any

from crl_stream.cli.talk import show, show_table
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.trial.comparison import CHANGES, Comparison
from crl_stream.trial.decisions import KINDS
from crl_stream.trial.estimate import ASSUMPTION, Stretch
from crl_stream.trial.matching import Placed
from crl_stream.trial.sentences import change_words, estimate_words, input_words, recorded_words, verdict_words


def show_comparison(comparison: Comparison) -> None:
    """Print the settings that differ, every change, what it would have cost, and the verdict last."""
    one, other = comparison.against, comparison.policy
    show_table(
        ("", "policy", "from"),
        [("against", one.last.digest(), one.label), ("policy", other.last.digest(), other.label)],
        empty="",
    )
    show("")
    settings = [(d.setting, _shown(d.one), _shown(d.other)) for d in comparison.settings]
    show_table(("setting", "against", "policy"), settings, empty="No setting differs.")
    changes = [
        (task.task, change.decided.words, change_words(change), _number(change.against), _number(change.policy))
        for task in comparison.differing()
        for change in task.changes
    ]
    if changes:
        show("")
        counts = [(KINDS[kind], *by_change.values()) for kind, by_change in comparison.counts().items()]
        show_table(("decisions that differ", *CHANGES), counts, empty="")
        show("")
        show_table(("task", "decision", "change", "against", "policy"), changes, empty="")
        show("The last two columns number the outcomes of the task at which each policy decides.")
    _show_stretches(comparison)
    show("")
    show(input_words(comparison.source) + f" Engine {ENGINE_VERSION}.")
    if comparison.recorded is not None:
        show(recorded_words(comparison.recorded))
    show(verdict_words(comparison))


def _show_stretches(comparison: Comparison) -> None:
    rows = [(task.task, *_cells(stretch)) for task in comparison.differing() for stretch in task.stretches]
    if not rows:
        return
    show("")
    columns = ("task", "outcomes", "against uses", "policy uses", "bad", "expected", "saved")
    show_table(columns, rows, empty="")
    show(estimate_words(comparison.estimate))
    show(ASSUMPTION)


def _cells(stretch: Stretch) -> tuple[str, ...]:
    bad, expected = f"{stretch.bad} of {stretch.outcomes}", "unknown"
    saved = "unknown"
    if stretch.rate is not None and stretch.saved is not None:
        expected = f"{stretch.outcomes * stretch.rate:.1f}"
        saved = f"{stretch.saved:+.1f} ({stretch.low:+.1f} to {stretch.high:+.1f})"
    return f"{stretch.first}-{stretch.last}", stretch.against, stretch.policy, bad, expected, saved


def _number(placed: Placed | None) -> str:
    return "-" if placed is None else str(placed[0])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
