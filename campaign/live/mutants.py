"""The guards of the live worker, each with the scenario that reveals its loss."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final, NamedTuple

from campaign.live.brokers import Broker
from campaign.live.scenarios import (
    Scenario,
    batch_lost_on_its_way,
    commit_ahead_of_the_rows,
    death_after_the_rows,
    death_before_the_rows,
    load_with_repeated_ids,
    output_topic_that_refuses,
    partition_taken_amid_a_batch,
    partition_that_stays,
    stop_in_order,
    storm,
    zombie,
    zombie_that_does_not_look,
)
from campaign.live.world import Plan, World


class Mutant(NamedTuple):
    """A guard, and the scenario that reveals its loss."""

    guard: str
    scenario: Scenario
    what: str
    unseen: str = ""
    """Why no scenario reveals the loss of this guard on its own; empty if one does."""


MUTANTS: Final = (
    Mutant("id_ring", load_with_repeated_ids, "ring of invocation ids"),
    Mutant("outputs_first", death_after_the_rows, "outputs before rows"),
    Mutant("origins", death_before_the_rows, "origins of forwarded records"),
    Mutant("awaited_outputs", output_topic_that_refuses, "waiting for outputs to be acknowledged (flush barrier)"),
    Mutant("contiguity", batch_lost_on_its_way, "check that no batch is missing"),
    Mutant("partition_row", commit_ahead_of_the_rows, "reading starts where the partition row says"),
    Mutant("pulse", zombie, "check of the worker's own heartbeat (pulse)"),
    Mutant("other_writer", zombie_that_does_not_look, "detection of another writer"),
    Mutant("commit_when_leaving", stop_in_order, "a commit before partitions are given up"),
    Mutant("settling", partition_taken_amid_a_batch, "a batch in flight is finished before its partition is given up"),
    Mutant(
        "lane_of_a_batch",
        storm,
        "a batch belongs to the assignment it was polled for (generation)",
        "a batch of an old assignment rarely arrives late; if it does, it does not fit the lane, and the worker exits",
    ),
    Mutant(
        "no_poll_while_moving",
        storm,
        "sources are not polled while partitions move",
        "records polled at that time find no open lane, and the next assignment seeks back",
    ),
    Mutant("persisted_offset", partition_that_stays, "a partition that stays is not reread"),
)


class Judged(NamedTuple):
    """The result of playing a guard's scenario with and without the guard."""

    guard: str
    scenario: str
    control: str | None
    """Description of what went wrong with the guard in place; None is expected."""
    complaint: str | None
    """Description of what went wrong without the guard, or None."""
    unseen: str = ""
    """Why no scenario is expected to reveal the loss of this guard."""

    @property
    def caught(self) -> bool:
        """Whether the scenario passes with the guard and fails without it."""
        return self.control is None and self.complaint is not None

    @property
    def right(self) -> bool:
        """Whether the scenario passes with the guard, and the guard's loss was revealed or is known to be masked."""
        return self.caught or (self.control is None and bool(self.unseen))

    @property
    def says(self) -> str:
        """A sentence that says what went wrong, or why nothing did."""
        if self.control is not None:
            return f"the scenario fails with the guard too: {self.control}"
        return self.complaint or f"not revealed: {self.unseen or 'reason unknown'}"


async def try_scenario(broker: Broker, folder: Path, mutant: Mutant, *, spoilt: bool) -> str | None:
    """Play the scenario with or without the guard; return what went wrong, such as a timeout, or None."""
    words = ("--without", mutant.guard) if spoilt else ()
    plan = Plan(name=f"m-{mutant.guard}-{spoilt:d}-{time.time_ns() // 1_000_000:x}", workers=1, rate=300)
    try:
        async with World(broker, plan, folder, random.Random(mutant.guard)) as world:
            return await mutant.scenario(world, words)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
