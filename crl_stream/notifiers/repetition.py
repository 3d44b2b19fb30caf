"""Limits how often a channel repeats itself: a change is sent at once, repetitions at growing intervals.

While nothing improves, the monitor repeats an alert at intervals counted in outcomes. For a busy task, that can be many
times a second. People need the alert once, and then an occasional reminder with the number of repetitions.

A *change* opens, ends or alters the state of a subject; it is never withheld.  A *repetition* reports the same state of
the same subject: the same kind, severity and cause. Alerts about broken input have a new cause for each record, so
their cause is ignored.

Pure: the caller passes the time, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from crl_stream.notifiers.notice import MAX_TEXT, Notice

LONGEST_SECONDS: Final = 86_400.0
"""The longest interval between two reminders, unless the first one is longer."""
REMEMBERED: Final = 8_192
"""How many subjects are remembered; the one that has been quiet longest is forgotten first."""
FLAPPING: Final = 3
"""Number of times that a state must open within a day before its notices say how often it has opened."""
ONE_STATE: Final = frozenset({"clock_skew", "fold_failure", "rollback_stuck", "variant_limit"})
"""Kinds in which every record has its own cause; for these, the state of a subject does not depend on the cause."""


@dataclass(slots=True)
class _State:
    """What a channel has sent and withheld about a subject."""

    told: tuple[str, str] | None = None
    """Severity and cause of the open state; None if it is over."""
    interval: float = 0.0
    due: float = 0.0
    withheld: int = 0
    since: str = ""
    """Timestamp of the last notice that was sent."""
    openings: deque[float] = field(default_factory=lambda: deque(maxlen=100))


class Repetitions:
    """What one channel has sent; ``minutes`` is the time until the first reminder, and 0 sends every repetition."""

    def __init__(self, minutes: float) -> None:
        self._first = minutes * 60.0
        self._states: OrderedDict[tuple[str, str], _State] = OrderedDict()
        self.withheld = 0
        """Number of repetitions withheld since the start."""

    def admit(self, notice: Notice, now: float) -> Notice | None:
        """Return the notice to send, with the number withheld before it; None for a repetition that is not due."""
        if not self._first or not notice.subject:
            return notice
        state = self._state_of(notice)
        cause = "" if notice.kind in ONE_STATE else str(notice.data.get("cause_id", notice.id))
        ours = (notice.severity, cause)
        if notice.resolved:
            words = _not_told(state)
            state.told, state.withheld = None, 0
            return _with(notice, words)
        if state.told != ours:
            words = [*_not_told(state), *self._flaps(state, now)]
            state.told, state.withheld, state.interval = ours, 0, self._first
        elif now < state.due:
            state.withheld += 1
            self.withheld += 1
            return None
        else:
            words = [f"reminder: {state.withheld + 1} times since {state.since}"]
            state.interval = max(self._first, min(2.0 * state.interval, LONGEST_SECONDS))
            state.withheld = 0
        state.due, state.since = now + state.interval, notice.timestamp
        return _with(notice, words)

    def settle(self, notice: Notice, now: float, *, delivered: bool) -> None:
        """Record that a notice was sent at ``now``; if it was not ``delivered``, send its next repetition at once."""
        state = self._states.get((notice.kind, notice.subject))
        if state is None:
            return
        state.due = now + state.interval
        if not delivered:
            state.told = None

    def untold(self) -> Iterator[tuple[str, str, int]]:
        """Return the kind, subject and number of repetitions that no later notice has counted."""
        for (kind, subject), state in self._states.items():
            if state.withheld:
                yield kind, subject, state.withheld

    def _state_of(self, notice: Notice) -> _State:
        key = notice.kind, notice.subject
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State()
            if len(self._states) > REMEMBERED:
                self._states.popitem(last=False)
        self._states.move_to_end(key)
        return state

    def _flaps(self, state: _State, now: float) -> list[str]:
        state.openings.append(now)
        recent = sum(at > now - LONGEST_SECONDS for at in state.openings)
        return [f"{recent} times within a day"] if recent >= FLAPPING else []


def _not_told(state: _State) -> list[str]:
    if not state.withheld:
        return []
    times = "1 repetition was" if state.withheld == 1 else f"{state.withheld} repetitions were"
    return [f"{times} not sent since {state.since}"]


def _with(notice: Notice, words: list[str]) -> Notice:
    if not words:
        return notice
    said = f" ({'; '.join(words)})"
    text = notice.text if len(notice.text) + len(said) <= MAX_TEXT else f"{notice.text[: MAX_TEXT - len(said) - 1]}…"
    return notice._replace(text=text + said)
