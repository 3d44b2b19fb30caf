"""What a message touches and what happened last time, in words: one wording for pages, terminals and notices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from crl_stream.core.messages import LastTime, Touches

_FATES: Final = {
    "confirmed": "confirmed by {actor}",
    "undone": "undone by {actor}",
    "taken_back": "taken back by the monitor",
    "rolled_back": "rolled back later",
}
_FINDINGS: Final = {
    "helped": "it helped",
    "hurt": "it hurt",
    "no_change": "it made no clear difference",
    "open": "too few outcomes to tell whether it helped",
}


def touches_words(touches: Touches | None) -> str:
    """Return what a message touches; empty if that is not known.

    >>> touches_words(Touches(runtimes=4, outcomes_an_hour=1200))
    '1 task, 4 runtimes, about 1,200 outcomes an hour'
    >>> touches_words(Touches(tasks=None)), touches_words(None)
    ('every task of the fleet', '')
    >>> touches_words(Touches(tasks=3, runtimes=9))  # a runtime may run several of the tasks
    '3 tasks, up to 9 runtimes'
    """
    if touches is None:
        return ""
    words = ["every task of the fleet" if touches.tasks is None else _count(touches.tasks, "task")]
    if touches.runtimes is not None:
        words.append(f"{'' if touches.tasks == 1 else 'up to '}{_count(touches.runtimes, 'runtime')}")
    if touches.outcomes_an_hour is not None:
        words.append(f"about {_count(touches.outcomes_an_hour, 'outcome')} an hour")
    return ", ".join(words)


def together(several: Iterable[Touches | None], *, fleet: bool = False) -> Touches:
    """Return what several tasks touch together; with ``fleet``, they are all tasks, and more may come.

    A figure is absent if no task knows it.  The number of runtimes is also absent if one task does not know its own:
    it says how many there are at most.

    >>> together([Touches(runtimes=2, outcomes_an_hour=60), Touches(runtimes=3)])
    Touches(tasks=2, runtimes=5, outcomes_an_hour=60)
    """
    found = list(several)
    runtimes = [None if one is None else one.runtimes for one in found]
    outcomes = [one.outcomes_an_hour for one in found if one is not None and one.outcomes_an_hour is not None]
    return Touches(
        tasks=None if fleet else len(found),
        runtimes=sum(one for one in runtimes if one is not None) if None not in runtimes and runtimes else None,
        outcomes_an_hour=sum(outcomes) if outcomes else None,
    )


def last_time_words(last: LastTime | None) -> str:
    """Return ``past_words`` as a part of a sentence, which begins with ``last time, ``; empty if none is known."""
    return "" if last is None else f"last time, {past_words(last)}"


def past_words(last: LastTime | None) -> str:
    """Return what happened last time, beginning with the day and without a full stop; empty if none is known.

    >>> past_words(LastTime(change="rollback", timestamp="2026-11-28T10:00:00Z", from_variant="v2",
    ...     to_variant="v1", id="rb-1", fate="undone", actor="ada", finding="hurt"))
    '2026-11-28: v2 was rolled back to v1, undone by ada, it hurt'
    """
    if last is None:
        return ""
    done = {
        "rollback": f"{last.from_variant} was rolled back to {last.to_variant}",
        "promotion": f"{last.to_variant} replaced {last.from_variant}",
        "registration": f"{last.to_variant} was registered",
        "retirement": f"{last.to_variant} was retired",
    }[last.change]
    words = [done]
    if last.fate is not None:
        words.append(_FATES[last.fate].format(actor=last.actor or "a person"))
    elif last.change == "rollback":
        words.append("not reviewed")
    if last.finding is not None:
        words.append(_FINDINGS[last.finding])
    return f"{last.timestamp[:10]}: {', '.join(words)}"


def sentence(words: str) -> str:
    """Return the words as a sentence; empty words stay empty."""
    return f"{words[0].upper()}{words[1:]}." if words else ""


def touched(words: str) -> str:
    """Return what a command touches as a sentence; ``words`` are those of ``touches_words``.

    >>> touched(touches_words(Touches(runtimes=4))), touched("")
    ('It touches 1 task, 4 runtimes.', 'What it touches is not known.')
    """
    return f"It touches {words}." if words else "What it touches is not known."


def reach_parts(message: Any) -> list[str]:
    """Return what a message touches, and what happened last time, as far as it says so.

    ``message`` is anything with the fields ``touches`` and ``last_time``.
    """
    touched, last = touches_words(message.touches), last_time_words(message.last_time)
    return [part for part in (f"touches {touched}" if touched else "", last) if part]


def with_reach(text: str, message: Any) -> str:
    """Return one line about a message, followed by what it touches and what happened last time."""
    return "; ".join([text, *reach_parts(message)])


def reach_fields(message: Any) -> list[tuple[str, str]]:
    """Return the same for a list of named facts: ``Touches`` and ``Last time``, as far as the message says so."""
    fields = [("Touches", touches_words(message.touches)), ("Last time", past_words(message.last_time))]
    return [(name, words) for name, words in fields if words]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
