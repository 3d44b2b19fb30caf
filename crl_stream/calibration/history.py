"""The history of a task: the outcomes of each of its variants, in order, with the scores that came late."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final, NamedTuple

from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import Feedback, Invocation
from crl_stream.core.monitor.learning import Formula, reward_of, speed_of
from crl_stream.core.monitor.row import ABSENT, MICRO
from crl_stream.core.policy import Learning

FIELDS: Final = ("status", "reward", "quality", "error_count", "duration_seconds", "complexity")
"""The fields of an ``Invocation`` that decisions depend on."""


class Late(NamedTuple):
    """A score that became known after its outcome."""

    lag: int
    """Number of outcomes of the task between the outcome and its score."""
    reward: float | None
    quality: float | None


class Outcome(NamedTuple):
    """One outcome of a variant, in a form that can be simulated again."""

    fields: dict[str, Any]
    """The values of those ``FIELDS`` that the outcome contains."""
    late: tuple[Late, ...] = ()

    @property
    def success(self) -> bool:
        """Whether the outcome is a success."""
        return bool(self.fields["status"] == "success")

    @property
    def error(self) -> bool:
        """Whether the outcome counts as an error for the error rate."""
        return bool(self.fields["status"] == "error" or self.fields.get("error_count"))


class History(NamedTuple):
    """The known history of one task."""

    key: TaskKey
    variants: dict[str, list[Outcome]]
    """The outcomes of each variant, oldest first."""
    newest: str | None
    """The variant of the newest outcome that was not exploration: most likely the active one."""
    outcomes: int
    """Number of kept outcomes; the counts that follow cover all messages that were read."""
    read: int
    older: int
    """Number of outcomes that were left out because newer ones were enough."""
    duplicates: int
    shadow: int
    scores: int
    """Number of late scores that amend an outcome."""


class _Entry:
    __slots__ = ("fields", "id", "late", "number", "variant")

    def __init__(self, number: int, message: Invocation) -> None:
        given = {name: getattr(message, name) for name in FIELDS}
        self.number, self.id, self.variant = number, message.invocation_id, message.variant_id
        self.fields = {name: value for name, value in given.items() if value is not None}
        self.late: list[Late] = []


class HistoryReader:
    """Collects the newest ``most`` outcomes of one task from the messages of its log, or of a file, in order."""

    def __init__(self, key: TaskKey, most: int) -> None:
        self._key, self._most = key, most
        self._entries: deque[_Entry] = deque()
        self._by_id: dict[str, _Entry] = {}
        self._waiting: dict[str, list[Feedback]] = {}
        self._newest: str | None = None
        self._counts: Counter[str] = Counter()
        self.others: set[str] = set()
        """Other tasks in the messages; a hint names them."""

    def take(self, message: Any) -> None:
        """Add a message to the history; messages about other tasks are ignored."""
        kind = type(message)
        if kind is not Invocation and kind is not Feedback:
            return
        if (message.agent_name, message.task_type) != self._key:
            if len(self.others) < 1_000:
                self.others.add(f"{message.agent_name}/{message.task_type}")
            return
        if kind is Invocation:
            self._take_outcome(message)
        elif (entry := self._by_id.get(message.invocation_id)) is not None:
            self._amend(entry, message)
        elif len(self._waiting) < self._most:
            self._waiting.setdefault(message.invocation_id, []).append(message)

    def _take_outcome(self, message: Invocation) -> None:
        if message.role == "shadow":
            self._counts["shadow"] += 1
            return
        if message.invocation_id in self._by_id:
            self._counts["duplicates"] += 1
            return
        entry = _Entry(self._counts["read"], message)
        self._counts["read"] += 1
        self._entries.append(entry)
        self._by_id[entry.id] = entry
        for feedback in self._waiting.pop(entry.id, ()):
            self._amend(entry, feedback)
        if message.variant_source != "explore":
            self._newest = entry.variant
        if len(self._entries) > self._most:
            del self._by_id[self._entries.popleft().id]

    def _amend(self, entry: _Entry, feedback: Feedback) -> None:
        self._counts["scores"] += 1
        entry.late.append(Late(self._counts["read"] - 1 - entry.number, feedback.reward, feedback.quality))

    def history(self) -> History:
        """Return the history collected so far."""
        variants: dict[str, list[Outcome]] = {}
        for entry in self._entries:
            variants.setdefault(entry.variant, []).append(Outcome(entry.fields, tuple(entry.late)))
        count, kept = self._counts, len(self._entries)
        return History(
            self._key,
            variants,
            self._newest if self._newest in variants else None,
            kept,
            count["read"],
            count["read"] - kept,
            count["duplicates"],
            count["shadow"],
            count["scores"],
        )


class Scale:
    """Measures how good an outcome is, from 0 to 1.

    A success counts 1, anything else 0.  Only if nothing ever fails does an outcome count ``(reward + 1) / 2``, with
    the reward that the engine would compute under ``learning``, because then variants differ only in their rewards.
    """

    def __init__(self, history: History, learning: Learning) -> None:
        self._formula = Formula(learning)
        self.by_success = not all(one.success for found in history.variants.values() for one in found)

    def reward(self, outcome: Outcome) -> float:
        """Return the reward of an outcome, -1 to 1, after its late scores."""
        fields = dict(outcome.fields)
        for late in outcome.late:
            fields |= {name: given for name in ("reward", "quality") if (given := getattr(late, name)) is not None}
        if (given := fields.get("reward")) is not None:
            return float(given)
        quality = fields.get("quality")
        found = reward_of(
            outcome.success,
            ABSENT if quality is None else round(quality * MICRO),
            speed_of(_invocation(fields), self._formula),
            min(255, fields.get("error_count", 0)),
            self._formula,
        )
        return found / MICRO

    def value(self, outcome: Outcome) -> float:
        """Return how good the outcome is, from 0 (bad) to 1 (good)."""
        return float(outcome.success) if self.by_success else (self.reward(outcome) + 1.0) / 2.0


def _invocation(fields: dict[str, Any]) -> Invocation:
    return Invocation(
        schema_version=1,
        invocation_id="i",
        timestamp="2026-01-05T10:00:00Z",
        agent_name="agent",
        task_type="task",
        variant_id="variant",
        **fields,
    )
