"""The scorecards of shadow mode in words: how many of the rollbacks that it reported were right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crl_stream.core.monitor.scorecard import in_words
from crl_stream.stages.fleet_summary import ON_CARD, fleet_sums


def fleet_scorecard(tasks: Iterable[Mapping[str, Any]] | None, summary: Mapping[str, int]) -> dict[str, int] | None:
    """Return the sums of all scorecards; None if nothing has been judged yet.

    ``tasks`` are all tasks as in ``/api/tasks``, or None if not all are listed; the figures then come from ``summary``.
    """
    total = fleet_sums(tasks, "scorecard", ON_CARD, summary, "shadow_")
    return total if total["right"] or total["wrong"] or total["open"] else None


def scorecard_note(card: Mapping[str, int] | None) -> str:
    """Return the note of ``crl status`` on the fleet's scorecard; empty if there is none."""
    return "" if card is None else f"scorecard: {_line(card)}"


def task_scorecard(found: Mapping[str, Any]) -> Iterator[str]:
    """Return lines about a task's scorecard, given its snapshot: the figures, and the rollback that is being judged."""
    card = found.get("scorecard")
    if card is None:
        return
    if card["judged"] or card["open"]:
        yield _line(card)
    if card["watched"] is not None:
        so_far = f"{card['watched_outcomes']} of {card['outcomes_needed']} outcomes"
        yield f"{card['watched']} (only reported) is being judged: {so_far}"


def _line(card: Mapping[str, int]) -> str:
    words = in_words(card["right"], card["right"] + card["wrong"], card["avoidable"], card["caused"])
    opened = f"; {card['open']} more had too few outcomes to tell" if card["open"] else ""
    return f"rollbacks in shadow mode: {words}{opened}"
