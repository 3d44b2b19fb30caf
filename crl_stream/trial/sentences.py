"""What a comparison says in words, the same on a terminal and on a page."""

from __future__ import annotations

from crl_stream.trial.comparison import CHANGES, Comparison, Input
from crl_stream.trial.estimate import Estimate
from crl_stream.trial.matching import Change
from crl_stream.trial.record import Recorded


def verdict_words(comparison: Comparison) -> str:
    """Return the result in one sentence."""
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
        limits = estimate.low, estimate.high
        # In words, the smaller figure comes first, whichever way the difference goes.
        low, high = map(_fewer, limits if estimate.saved >= 0 else reversed(limits))
        found.append(
            f"Over {estimate.outcomes} outcomes, the policy would have had about {_fewer(estimate.saved)} bad "
            f"invocations ({low} to {high})."
        )
    if estimate.unknown:
        found.append(
            f"For {estimate.unknown} outcomes there is no estimate, because one of the variants has none of its own."
        )
    return " ".join(found) or "Both policies use the same variants throughout, so no invocation is saved or lost."


def recorded_words(recorded: Recorded) -> str:
    """Return whether a fold repeats what was published."""
    if recorded.is_same:
        if not recorded.compared:
            return "No decision was published about these records, and the replay makes none."
        return f"The replay repeats what was recorded: {_decisions(recorded.compared)}, all the same."
    return (
        f"The replay does not repeat what was recorded: of {_decisions(recorded.compared)}, {len(recorded.missing)} "
        f"are missing, and {len(recorded.extra)} were never published."
    )


def input_words(source: Input) -> str:
    """Return what was folded."""
    if not source.records:
        return f"{source.name} holds no records."
    first, last = (time[:16].replace("T", " ") for time in (source.first_time, source.last_time))
    return f"{source.records} records of {source.name}, {first} to {last} UTC, SHA-256 {source.sha256[:16]}."


def _fewer(saved: float) -> str:
    return f"{abs(saved):.1f} {'fewer' if saved >= 0 else 'more'}"


def _decisions(count: int) -> str:
    return "1 decision" if count == 1 else f"{count} decisions"
