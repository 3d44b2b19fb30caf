"""One seed: its traffic, its processes, and a schedule that keeps causing faults until everything is sent."""

from __future__ import annotations

import random
from typing import Final

from campaign.simulated.broker import Broker
from campaign.simulated.figures import Figures
from campaign.simulated.oracle import examine
from campaign.simulated.outlet import Point
from campaign.simulated.processes import POSITION_OF, SOURCE_OF, Died, Kind, Process
from campaign.simulated.traffic import Traffic
from crl_stream.wire.topics import OVERVIEW_EVENTS

START: Final = 1_763_562_600_000
_TICKS: Final = (1, 200, 1_000, 60_000, 3_600_000)
_MAX_STEPS: Final = 60_000
"""Limit of steps: a seed takes a few thousand, and one that never settles has failed."""


class Simulation:
    """The run of one seed.  The same seed always gives the same run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = self.rng = random.Random(seed)
        self.broker = Broker(rng.randint(1, 4), start=START, tick=rng.choice(_TICKS))
        self.traffic = Traffic(self.broker, rng)
        self.figures = Figures(seeds=1)
        self.pace = rng.choice((0.02, 0.05, 0.1))
        self.crash, self.stall = rng.choice((0.03, 0.08, 0.15)), rng.choice((0.0, 0.02, 0.06))
        self.wake = rng.choice((0.0, 0.02, 0.15))
        self.largest_batch = rng.choice((1, 4, 16, 64))
        self.owners: dict[tuple[Kind, int], Process] = {}
        self.zombies: list[Process] = []
        self._read_to: dict[tuple[Kind, int], int] = {}
        self._watched: dict[tuple[Kind, int], bool] = {}
        """For each partition whose process has died: whether anything has been reread since."""
        self._went_back: list[str] = []

    def run(self) -> None:
        """Send everything, then let the processes finish."""
        for _ in range(_MAX_STEPS):
            if self.traffic.left and self.rng.random() < self.pace:
                for _ in range(self.rng.randint(1, 6)):
                    if self.traffic.left:
                        self.traffic.send()
            elif self.zombies and self.rng.random() < self.wake:
                self._wake()
            elif self.rng.random() < 0.02:
                self._tick(self.rng.choice([*self.owners.values(), *self.zombies, None]))
            elif not self._step() and not self.traffic.left:
                if self.zombies:
                    self._wake()
                elif not self._look_everywhere() and not self._tick_everywhere():
                    break
        else:
            raise AssertionError(f"seed {self.seed} never settles")
        for key in list(self._watched):
            self._judge_crash(key)

    def examine(self) -> Figures:
        """Compare the result with what the oracle expects, and return the figures."""
        examine(self.broker, self.traffic, self.figures)
        self.figures.complaints += self._went_back
        if not self.figures.engaged:
            self.figures.inconclusive = 1
        return self.figures

    # -- who is next -------------------------------------------------------------------------------
    def _step(self) -> bool:
        """Let one process continue; return False if nothing is waiting."""
        busy = [key for key, owner in self.owners.items() if owner.is_busy]
        if busy and self.rng.random() < 0.85:
            self._advance(self.rng.choice(busy))
            return True
        waiting = [
            (kind, partition)
            for kind, source in SOURCE_OF.items()
            for partition, log in enumerate(self.broker.topics[source])
            if log and self._has_work(kind, partition, len(log))
        ]
        if not waiting:
            if busy:
                self._advance(self.rng.choice(busy))
            return bool(busy)
        key = kind, _ = self.rng.choice(waiting)
        owner = self.owners.get(key) or self._assign(key)
        if kind in POSITION_OF and self.rng.random() < 0.05:
            owner.look()
            self.figures.looks += 1
        elif self.traffic.left and self.rng.random() < self.crash / 2:
            self._die(key, Point.IDLE)
        elif owner.waiting > 0:
            self._begin(key, owner)
        return True

    def _tick(self, process: Process | None) -> None:
        """Append a tick when a row is due, and sometimes when none is."""
        if process is None or process.kind is not Kind.MONITOR:
            return
        due = process.wakes_at
        if (due is not None and due <= self.broker.clock) or self.rng.random() < 0.1:
            process.tick()
            self.figures.ticks += 1

    def _tick_everywhere(self) -> bool:
        """Advance the clock until the next waiting row is due, and tick; return False if no row is waiting."""
        wakes = {}
        for partition, log in enumerate(self.broker.topics[SOURCE_OF[Kind.MONITOR]]):
            if log:
                owner = self.owners.get((Kind.MONITOR, partition)) or self._assign((Kind.MONITOR, partition))
                if (wake := owner.wakes_at) is not None:
                    wakes[wake, partition] = owner
        if not wakes:
            return False
        first = min(wakes)
        self.broker.clock = max(self.broker.clock, first[0])
        self._tick(wakes[first])
        return True

    def _look_everywhere(self) -> bool:
        """Let every owner check its compacted topics once more; return whether any of them rewrote a record."""
        before = self.figures.mended
        for kind in POSITION_OF:
            for partition, log in enumerate(self.broker.topics[SOURCE_OF[kind]]):
                if log and (kind is not Kind.OVERVIEW or not partition):
                    owner = self.owners.get((kind, partition)) or self._assign((kind, partition))
                    owner.look()
                    self.figures.looks += 1
                    while self._go_on(owner) not in {Point.IDLE, None}:
                        pass
                    self._note(owner)
        return self.figures.mended > before

    def _has_work(self, kind: Kind, partition: int, end: int) -> bool:
        if SOURCE_OF[kind] == OVERVIEW_EVENTS and partition:
            return False
        owner = self.owners.get((kind, partition))
        return owner is None or (not owner.is_busy and owner.next_offset < end)

    def _assign(self, key: tuple[Kind, int]) -> Process:
        kind, partition = key
        if kind in POSITION_OF and self.rng.random() < 0.3:
            self.figures.compacted += self.broker.changelogs[kind.value, partition].compact()
        owner = self.owners[key] = Process(kind, partition, self.broker, self.rng)
        if not owner.waiting:
            self._judge_crash(key)
        return owner

    def _begin(self, key: tuple[Kind, int], owner: Process) -> None:
        first, end = owner.take(self.rng.randint(1, self.largest_batch))
        self.figures.batches += 1
        again = max(0, min(self._read_to.get(key, 0), end) - first)
        if again:
            self.figures.replayed += again
            if key in self._watched:
                self._watched[key] = True
        self._judge_crash(key)
        self._read_to[key] = max(self._read_to.get(key, 0), end)

    # -- what happens to a process -----------------------------------------------------------------
    def _advance(self, key: tuple[Kind, int]) -> None:
        owner = self.owners[key]
        point = self._go_on(owner)
        if point is None:
            self._end(key)
            self.figures.refused_writers += 1
        elif point is Point.IDLE:
            if self.rng.random() < 0.7:
                owner.commit()
            owner.settle()
        elif self.traffic.left:
            roll = self.rng.random()
            if roll < self.crash:
                self._die(key, point)
            elif roll < self.crash + self.stall:
                owner.is_zombie = True
                self.zombies.append(owner)
                self.figures.zombies += 1
                self._end(key)

    def _go_on(self, process: Process) -> Point | None:
        try:
            return process.advance()
        except Died:
            return None

    def _die(self, key: tuple[Kind, int], point: Point) -> None:
        self.figures.crashes_with_orders += self.owners[key].holds_order
        self.owners[key].kill()
        self.figures.crashes[point] += 1
        self._judge_crash(key)
        self._watched[key] = False
        self._end(key)

    def _end(self, key: tuple[Kind, int]) -> None:
        owner = self.owners.pop(key)
        self._note(owner)

    def _note(self, process: Process) -> None:
        self.figures.skipped += process.counters.skipped
        process.counters.skipped = 0
        self.figures.mended += process.counters.mended
        process.counters.mended = 0
        if process.went_back:
            process.went_back = False
            self._went_back.append(f"{process.kind.value} {process.partition}: the partition row went back")

    def _judge_crash(self, key: tuple[Kind, int]) -> None:
        """Count a crash as engaged if any record was reread after it, otherwise as idle."""
        if (engaged := self._watched.pop(key, None)) is not None:
            self.figures.engaged += engaged
            self.figures.idle_crashes += not engaged

    def _wake(self) -> None:
        """Let a stalled process continue its batch.  Its writes are late, and it may end if it finds another writer."""
        zombie = self.rng.choice(self.zombies)
        point = self._go_on(zombie)
        ended = point is None or point is Point.IDLE or self.rng.random() < 0.1
        if zombie.kind in POSITION_OF and point is Point.AFTER_ROWS:
            self.figures.late_rows += 1
        if ended:
            zombie.kill()
            self._note(zombie)
            self.zombies.remove(zombie)

    def close(self) -> None:
        """Close the remaining processes, and compact the changelogs."""
        for owner in self.owners.values():
            self._note(owner)
        for changelog in self.broker.changelogs.values():
            self.figures.compacted += changelog.compact()


def run_seed(seed: int) -> Simulation:
    """Play a seed to its end, and return the run before anything is compared."""
    simulation = Simulation(seed)
    simulation.run()
    simulation.close()
    return simulation
