"""The same outcome repeated: soon, late, after its id was forgotten, and in a replay of the whole log."""

from __future__ import annotations

import random
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.own_task import OwnTask
from campaign.live.traffic import REPEAT, Draft
from campaign.live.world import PATIENCE, World
from crl_stream.kafka.reader import TopicReader
from crl_stream.wire.topics import INVOCATIONS

ID = "F10"
TITLE = "duplicates"
TIMES = 18
PER_ROUND = 9
AFTER: Final = (1, 20, 62, 63, 64, 65, 500, 5_000)
"""Numbers of other outcomes of the task between an outcome and its repetition."""
RING: Final = 64
"""Number of ids that a task remembers: a repetition is recognised if fewer other outcomes lie in between."""
FORGOTTEN: Final = "forgotten"
"""Kind in the ledger of an outcome whose id may be forgotten, so that its repetition counts."""
WHOLE_LOG: Final = "whole log"
KINDS: Final = (*map(str, AFTER), WHOLE_LOG)


async def induce(world: World, rng: random.Random) -> Engagement:
    """Repeat outcomes.

    The fault counts as noticed if the repetitions were counted as duplicates.
    An outcome whose id has been forgotten must be counted as new.
    """
    await world.moved()
    mark = world.mark()
    duplicates = (await world.counters()).get("duplicates", 0)
    kind = next(world.turns(KINDS, rng))
    if kind == WHOLE_LOG:
        again, recovery = await _whole_log(world), None
        note, known = WHOLE_LOG, 1
    else:
        others = int(kind)
        task = OwnTask(world, "duplicates")
        first = task.outcome()
        await world.load.send(first, *(task.outcome() for _ in range(others)))
        sent = await world.load.send(first._replace(what=FORGOTTEN if others >= RING else REPEAT))
        page = await task.folded(sent)
        recovery = world.progress.since[sent[0].partition] - mark.time
        known, again, note = int(others < RING), 1, f"after {others}"
        wanted = (others + 2 - known, known)
        if (there := (page["n_outcomes"], page["n_duplicates"])) != wanted:
            raise RuntimeError(f"{note} others: counted and recognised {there} instead of {wanted}")
    found = (await world.counters()).get("duplicates", 0) - duplicates
    return Engagement(found >= known, {"sent again": again, "duplicates counted": found}, recovery, note=note)


async def _whole_log(world: World) -> int:
    """Send every record of the log once more, as a replay from a backup would; return the number of records."""
    records = [each.record for each in await TopicReader(world.kafka).read(INVOCATIONS)]
    marks: dict[int, int] = {}
    drafts = [
        Draft(FORGOTTEN, INVOCATIONS, r.key, r.value, partition=r.partition, headers=tuple(r.headers)) for r in records
    ]
    for start in range(0, len(drafts), 2_000):
        for sent in await world.load.send(*drafts[start : start + 2_000]):
            marks[sent.partition] = sent.offset
    await world.progress.beyond(marks, 2 * PATIENCE)
    return len(drafts)
