"""Scores of different judges on one scale: a new version of a judge says nothing about the variants.

The first judge (``evaluator``) that gives a task a quality sets the scale of quality, and likewise for the reward.  The
first scores of another judge count as the usual level of
the task, so they change nothing.  After ``ENOUGH`` of them, the difference between that level and their mean is added
to every later score of this judge.  Outcomes that name no judge are taken as they are.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.row import MICRO, Judge, Scores, TaskRow

ENOUGH: Final = 20
"""How many scores of a new judge are compared with the level of the task."""
MEMORY: Final = 200
"""At how many scores the sums of the task's level are halved, so that old scores fade."""
MOST: Final = 8
"""How many judges of a task are remembered; the one that was used longest ago is forgotten first."""


def on_scale(
    row: TaskRow, evaluator: str | None, quality: int | None, reward: int | None
) -> tuple[int | None, int | None]:
    """Return a quality (0 to 1) and a reward (-1 to 1), both in millionths, on the scale of the task's first judge."""
    if evaluator is None or (quality is None and reward is None):
        return quality, reward
    judge = _judge(row, evaluator)
    if quality is not None:
        quality = min(max(_shifted(judge.quality, row.level.quality, quality), 0), MICRO)
    if reward is not None:
        reward = min(max(_shifted(judge.reward, row.level.reward, reward), -MICRO), MICRO)
    return quality, reward


def as_known(row: TaskRow, evaluator: str, quality: int | None, reward: int | None) -> tuple[int | None, int | None]:
    """Like ``on_scale``, but learn nothing: if the shift of a judge is not known yet, its scores stay as they are."""
    judge = row.judges.get(evaluator, Judge())
    if quality is not None:
        quality = min(max(quality + (judge.quality.shift or 0), 0), MICRO)
    if reward is not None:
        reward = min(max(reward + (judge.reward.shift or 0), -MICRO), MICRO)
    return quality, reward


def _judge(row: TaskRow, evaluator: str) -> Judge:
    """Return the judge with this name, after noting that it was used last."""
    judges = row.judges
    judge = judges.pop(evaluator, None)
    if judge is None:
        if not judges:
            row.judges, row.level = {}, Judge()
            judges = row.judges
        elif len(judges) >= MOST:
            del judges[next(iter(judges))]
        judge = Judge()
    judges[evaluator] = judge
    return judge


def _shifted(own: Scores, level: Scores, value: int) -> int:
    """Return a score on the task's scale; ``own`` are the judge's first scores, ``level`` those of the task."""
    if own.shift is None and not level.n:
        own.shift = 0  # the task has no such score yet, so this judge sets the scale
    if own.shift is not None:
        value += own.shift
        level.n, level.total = level.n + 1, level.total + value
        if level.n >= MEMORY:
            level.n, level.total = level.n >> 1, level.total >> 1
        return value
    own.n, own.total = own.n + 1, own.total + value
    usual = level.total // level.n
    if own.n >= ENOUGH:
        own.shift = usual - own.total // own.n
    return usual
