"""Sentences about a comparison of two folds, the same on a terminal and on a page."""

from __future__ import annotations

from crl_stream.trial.comparison import CHANGES, Comparison, Input, TaskComparison
from crl_stream.trial.estimate import Estimate, Stretch
from crl_stream.trial.matching import Change
from crl_stream.trial.record import Recorded


def verdict_words(comparison: Comparison) -> str:
    """Return the result of a comparison in one sentence."""
    same = comparison.same
    if comparison.is_same:
        if not same:
            return "No decision differs: neither policy decides anything about this log."
        return f"No decision differs: both policies make the same {_decisions(same)}."
    counts = comparison.counts()
    total = {change: sum(by_kind[change] for by_kind in counts.values()) for change in CHANGES}
    listed = ", ".join(f"{count} {change}" for change, count in total.items() if count)
    differ = sum(total.values())
    verb = "differs" if differ == 1 else "differ"
    return f"{_decisions(differ)} {verb}: {listed}. {same or 'None'} {'is' if same == 1 else 'are'} the same."


def change_words(change: Change) -> str:
    """Return what the policy changes about a decision, such as ``later by 6``."""
    return f"{change.change} by {change.outcomes}" if change.outcomes else change.change


def estimate_words(estimate: Estimate) -> str:
    """Return the bad invocations saved or lost, with both limits and what is unknown."""
    found = []
    if estimate.outcomes:
        said = fewer_words(estimate.saved, estimate.low, estimate.high)
        found.append(f"Change in bad invocations under the policy, over {estimate.outcomes} outcomes: about {said}.")
    if estimate.unknown:
        found.append(
            f"For {estimate.unknown} outcomes there is no estimate, because one of the variants has no outcomes."
        )
    return " ".join(found) or "Both policies use the same variants throughout, so no invocation is saved or lost."


def task_words(task: TaskComparison) -> str:
    """Return a task's name, and how many of its decisions differ."""
    return f"{task.task}: {task_counts(task)}"


def task_counts(task: TaskComparison) -> str:
    """Return how many decisions about a task differ, without the task's name."""
    count = len(task.changes)
    return f"{count} {'differs' if count == 1 else 'differ'}, {task.same} the same; {len(task.traffic)} outcomes"


def stretch_words(stretch: Stretch) -> str:
    """Return what was recorded while the active variants of the folds differ, and what is estimated from it."""
    used, other = stretch.against, stretch.policy
    if stretch.used == "policy":
        used, other = other, used
    said = (
        f"Outcomes {stretch.first} to {stretch.last}: {stretch.policy} is active under the policy, instead of "
        f"{stretch.against}. {stretch.bad} of {stretch.outcomes} of {used} were bad"
    )
    if stretch.rate is None or stretch.saved is None or stretch.low is None or stretch.high is None:
        return f"{said}; {other} has no outcomes to compare with."
    expected = stretch.outcomes * stretch.rate
    return f"{said}; {expected:.1f} are expected of {other}: {fewer_words(stretch.saved, stretch.low, stretch.high)}."


def recorded_words(recorded: Recorded) -> str:
    """Return a sentence that says whether a fold repeats what was published."""
    if recorded.is_same:
        if not recorded.compared:
            return "No decision was published about these records, and the replay makes none."
        return f"The replay repeats what was recorded: {_decisions(recorded.compared)}, all the same."
    return (
        "The replay does not repeat what was recorded. Published, but not decided again: "
        f"{len(recorded.missing)} of {recorded.compared}. Decided, but never published: {len(recorded.extra)}."
    )


def input_words(source: Input) -> str:
    """Return a sentence about the records that were folded."""
    if not source.records:
        return f"{source.name} holds no records."
    first, last = (time[:16].replace("T", " ") for time in (source.first_time, source.last_time))
    return f"{source.records} records of {source.name}, {first} to {last} UTC, SHA-256 {source.sha256[:16]}."


def fewer_words(saved: float, low: float, high: float) -> str:
    """Return how many bad invocations are saved or lost, with the limits in the same direction."""
    limits = (low, high) if saved >= 0 else (high, low)
    return f"{_fewer(saved)} ({_fewer(limits[0])} to {_fewer(limits[1])})"


def signed(value: float) -> str:
    """Return a figure with its sign; a figure that rounds to zero has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in {"+0.0", "-0.0"} else text


def _fewer(saved: float) -> str:
    return f"{abs(saved):.1f} {'fewer' if saved >= 0 else 'more'}"


def _decisions(count: int) -> str:
    return "1 decision" if count == 1 else f"{count} decisions"
