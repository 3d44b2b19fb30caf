"""A naive model of the scale of scores: the lists of all scores, in whole millionths.

It shares no code with the engine.  Its numbers are those of ADR 65.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

MILLION, ENOUGH, MEMORY, KNOWN = 1_000_000, 20, 200, 8


@dataclass
class Scores:
    """What one judge has said of one kind: its first scores, and what is added to the later ones."""

    first: list[int] = field(default_factory=list)
    shift: int | None = None


@dataclass
class Kind:
    """The scores of one kind, quality or reward: the task's, and those of each judge."""

    task: list[int] = field(default_factory=list)
    judges: dict[str, Scores] = field(default_factory=dict)

    def usual(self) -> int:
        """Return the fading mean of the task's scores: the sums are halved when they count 200; all is rounded down."""
        n = total = 0
        for score in self.task:
            n, total = n + 1, total + score
            if n >= MEMORY:
                n, total = n // 2, total // 2
        return total // n

    def shifted(self, judge: str, score: int) -> int:
        scores = self.judges.setdefault(judge, Scores())
        if scores.shift is None and not self.task:
            scores.shift = 0  # the first judge of this kind sets the scale
        if scores.shift is not None:
            self.task.append(score + scores.shift)
            return self.task[-1]
        scores.first.append(score)
        if len(scores.first) == ENOUGH:
            scores.shift = self.usual() - sum(scores.first) // ENOUGH
        return self.usual()


@dataclass
class Scale:
    """The scale of a task."""

    quality: Kind = field(default_factory=Kind)
    reward: Kind = field(default_factory=Kind)
    known: list[str] = field(default_factory=list)
    """The judges that are remembered, the last used one last."""

    def put(
        self, judge: str | None, quality: Fraction | None, reward: Fraction | None
    ) -> tuple[Fraction | None, Fraction | None]:
        """Return a quality and a reward on the scale of the task's first judge."""
        if judge is None or (quality is None and reward is None):
            return quality, reward
        self.known = [*(name for name in self.known if name != judge), judge]
        for name in self.known[:-KNOWN]:
            self.quality.judges.pop(name, None)
            self.reward.judges.pop(name, None)
        self.known = self.known[-KNOWN:]
        found = [
            None if score is None else Fraction(kind.shifted(judge, round(score * MILLION)), MILLION)
            for kind, score in ((self.quality, quality), (self.reward, reward))
        ]
        return _within(found[0], 0), _within(found[1], -1)

    def shifts(self) -> dict[str, tuple[int | None, int | None]]:
        """Return what is added to the quality and the reward of each judge."""
        none = Scores()
        return {
            name: (self.quality.judges.get(name, none).shift, self.reward.judges.get(name, none).shift)
            for name in self.known
        }


def _within(score: Fraction | None, least: int) -> Fraction | None:
    return None if score is None else min(max(score, Fraction(least)), Fraction(1))
