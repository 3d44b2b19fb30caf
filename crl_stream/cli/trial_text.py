"""The report of a trial for people on a terminal."""

from __future__ import annotations

from typing import Any

from crl_stream.cli.talk import show, show_table
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.trial.comparison import CHANGES, Comparison, Side, TaskComparison
from crl_stream.trial.decisions import KINDS
from crl_stream.trial.estimate import ASSUMPTION
from crl_stream.trial.matching import Placed
from crl_stream.trial.sentences import (
    change_words,
    estimate_words,
    input_words,
    recorded_words,
    stretch_words,
    task_words,
    verdict_words,
)


def show_comparison(comparison: Comparison) -> None:
    """Print the settings that differ, every change, what it would have cost, and the verdict last."""
    one, other = comparison.against, comparison.policy
    show_table(
        ("", "policy", "from"),
        [("against", one.last.digest(), _origin(one)), ("policy", other.last.digest(), _origin(other))],
        empty="",
    )
    show("")
    settings = [(d.setting, _shown(d.one), _shown(d.other)) for d in comparison.settings]
    show_table(("setting", "against", "policy"), settings, empty="No setting differs.")
    if not comparison.is_same:
        show("")
        counts = [(KINDS[kind], *by_change.values()) for kind, by_change in comparison.counts().items()]
        show_table(("decisions that differ", *CHANGES), counts, empty="")
    for task in comparison.differing():
        _show_task(task)
    show("")
    if any(task.stretches for task in comparison.tasks):
        show(estimate_words(comparison.estimate))
        show(ASSUMPTION)
    show(input_words(comparison.source) + f" Engine {ENGINE_VERSION}.")
    if comparison.recorded is not None:
        show(recorded_words(comparison.recorded))
    show(verdict_words(comparison))


def _show_task(task: TaskComparison) -> None:
    """Print the changes of one task, with the numbers of the outcomes at which each policy decides."""
    show("")
    show(task_words(task))
    rows = [
        (change.decided.words, change_words(change), _number(change.against), _number(change.policy))
        for change in task.changes
    ]
    show_table(("decision", "change", "against: outcome", "policy: outcome"), rows, empty="The same is decided.")
    for stretch in task.stretches:
        show(stretch_words(stretch))


def _origin(side: Side) -> str:
    count = len(side.judged_by)
    return side.label if count < 2 else f"{side.label} (the last of {count} policies)"


def _number(placed: Placed | None) -> str:
    return "-" if placed is None else str(placed[0])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
