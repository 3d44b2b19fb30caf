"""Measures every alternative on the same simulated tasks, in several processes, and adds up the results."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from math import ceil
from multiprocessing import parent_process
from statistics import fmean, median
from threading import Thread
from typing import Final, NamedTuple, TypeVar

from crl_stream.calibration.alternatives import Alternative
from crl_stream.calibration.closed_loop import Life, Source, live
from crl_stream.calibration.estimates import Estimate, Events, mean, rate
from crl_stream.calibration.stock import FALLS, Supply
from crl_stream.core.policy import Policy

TASKS: Final = 120
"""Number of simulated tasks per policy that draw from the history; as many again draw from resampled histories."""
QUICK_TASKS: Final = 40
PER_GROUP: Final = 8
"""Number of simulated tasks for each resampled history."""
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
"""The signals with which people and supervisors end a command."""
_NICE: Final = 10
"""Niceness of the processes: other programs take precedence, because a calibration may run next to a worker."""

T = TypeVar("T")
Group = list[Life]
"""Simulated tasks that draw their outcomes from the same source."""


class Sample(NamedTuple):
    """The simulated tasks of one policy."""

    tasks: Group
    """Simulated tasks that draw their outcomes from the history itself."""
    groups: list[Group]
    """Tasks that draw from resampled histories, one group for each history."""


Harms = tuple[list[float], list[list[float]]]
"""The harm of each task of a ``Sample``, and of each task in its groups."""


class FallFigures(NamedTuple):
    """How reliably and how soon falls of one size are found."""

    left: float
    """Share of the active variant's successes that remains after the fall."""
    caught: Estimate
    """Share of the tasks in which the fallen variant was replaced in time."""
    delay_median: float | None
    """Median number of outcomes until the fallen variant was replaced, where that was in time; None if it never was."""
    delay_p90: int | None
    lost: Estimate
    """Good outcomes lost for each fall."""
    pays: bool
    """Whether another variant is better than the fallen one, so that replacing it is right."""


class Figures(NamedTuple):
    """What a policy costs."""

    alternative: Alternative
    false_rollbacks: Estimate
    """Per 1,000 invocations."""
    healthy_loss: Estimate
    """Good outcomes lost per 1,000 while nothing changes, compared with never replacing the active variant."""
    falls: tuple[FallFigures, ...]
    harm: Estimate
    """Good outcomes lost per 1,000, while nothing changes and in falls."""
    gain: Estimate
    """The harm of the first alternative minus the harm of this policy."""
    harms: Harms
    """The harm of each simulated task."""

    def excess_over(self, other: Figures) -> Estimate:
        """Return by how much the harm is more than that of another policy for the same tasks."""
        return mean(*_less(self.harms, other.harms))


class Simulation(NamedTuple):
    """Everything that determines a measurement."""

    supply: Supply
    policies: tuple[Policy, ...]
    seed: str
    tasks: int = TASKS
    """Simulated tasks for each policy that draw from the history; rounded up to a multiple of ``PER_GROUP``."""


def simulate(
    simulation: Simulation, processes: int, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> list[Sample]:
    """Simulate all tasks of each policy; the result is the same for any number of ``processes``.

    ``progress`` is called with the number of finished groups and the number of all groups.
    """
    groups = max(2, ceil(simulation.tasks / PER_GROUP))
    cells = [
        _Cell(policy, number, resampled)
        for number in range(groups)
        for resampled in (False, True)
        for policy in range(len(simulation.policies))
    ]
    found = [Sample([], []) for _ in simulation.policies]
    progress(0, len(cells))
    for done, (cell, group) in enumerate(zip(cells, _played(simulation, cells, processes), strict=True), 1):
        sample = found[cell.policy]
        if cell.resampled:
            sample.groups.append(group)
        else:
            sample.tasks.extend(group)
        progress(done, len(cells))
    return found


class _Cell(NamedTuple):
    policy: int
    number: int
    resampled: bool


def _played(simulation: Simulation, cells: Sequence[_Cell], processes: int) -> Iterator[Group]:
    if processes == 1:
        yield from (_play(simulation, cell) for cell in cells)
        return
    pool = ProcessPoolExecutor(min(processes, len(cells)), initializer=_begin, initargs=(simulation,))
    try:
        # Python loses an exception that a signal raises while it forks, so signals wait until the processes run.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            groups = pool.map(_play_here, cells)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        yield from groups
    finally:
        pool.shutdown(cancel_futures=True)


_here: list[Simulation] = []
"""The simulation that one process of the pool runs."""


def _begin(simulation: Simulation) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    with suppress(OSError, AttributeError):  # os.nice does not exist on every system
        os.nice(_NICE)
    # As in `crl replay`: nothing here forms reference cycles, and searching for them would take time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    Thread(target=_end_with_parent, daemon=True).start()
    _here[:] = [simulation]


def _end_with_parent() -> None:
    """End this process when its parent has ended, even if the parent was killed and could not stop it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _play_here(cell: _Cell) -> Group:
    return _play(_here[0], cell)


def _play(simulation: Simulation, cell: _Cell) -> Group:
    seed = f"{simulation.seed} {cell.number} {cell.resampled}"
    source = Source(simulation.supply, seed if cell.resampled else None)
    return [live(source, simulation.policies[cell.policy], f"{seed} {task}") for task in range(PER_GROUP)]


def figures(
    alternatives: Sequence[Alternative], samples: Sequence[Sample], supply: Supply, falls: float
) -> list[Figures]:
    """Add up the simulated tasks and return the figures of each policy.

    Args:
        alternatives: The present one first.
        samples: What ``simulate`` returned for each of them.
        supply: What the simulation drew from.
        falls: Expected falls in 10,000 outcomes; each size is equally likely.
    """

    def harm(task: Life) -> float:
        return 1_000 * task.healthy_loss + falls / 10 * fmean(fall.lost for fall in task.falls)

    best = max(fmean(stock.values) for stock in supply.others)
    pays = [best > fmean(supply.fallen(left)) for left in FALLS]
    harms = [_each(sample, harm) for sample in samples]
    return [
        Figures(
            one,
            rate(*_each(sample, lambda task: Events(task.false_rollbacks, task.at_risk / 1_000))),
            mean(*_each(sample, lambda task: 1_000 * task.healthy_loss)),
            tuple(_of_fall(index, sample, pays=pays[index]) for index in range(len(FALLS))),
            mean(*own),
            mean(*_less(harms[0], own), max(1, len(alternatives) - 1)),
            own,
        )
        for one, sample, own in zip(alternatives, samples, harms, strict=True)
    ]


def _each(sample: Sample, figure: Callable[[Life], T]) -> tuple[list[T], list[list[T]]]:
    return [figure(task) for task in sample.tasks], [[figure(task) for task in group] for group in sample.groups]


def _less(one: Harms, other: Harms) -> Harms:
    """Subtract task by task: the same tasks were simulated under both policies."""
    return (
        [a - b for a, b in zip(one[0], other[0], strict=True)],
        [[a - b for a, b in zip(*both, strict=True)] for both in zip(one[1], other[1], strict=True)],
    )


def _of_fall(index: int, sample: Sample, *, pays: bool) -> FallFigures:
    delays = sorted(delay for task in sample.tasks if (delay := task.falls[index].delay) is not None)
    caught = mean(*_each(sample, lambda task: float(task.falls[index].delay is not None)))
    return FallFigures(
        FALLS[index],
        caught._replace(low=max(0.0, caught.low), high=min(1.0, caught.high)),
        median(delays) if delays else None,
        delays[min(len(delays) - 1, int(len(delays) * 0.9))] if delays else None,
        mean(*_each(sample, lambda task: task.falls[index].lost)),
        pays,
    )
