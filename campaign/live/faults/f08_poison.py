"""Every kind of malformed record at once, in any partition of the log and of the commands."""

from __future__ import annotations

import random
from collections import defaultdict

from campaign.live.fault import Engagement
from campaign.live.traffic import RUBBISH, Draft
from campaign.live.world import PATIENCE, World
from campaign.malformed import INPUTS, KEY, ORDERS
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS

ID = "F8"
TITLE = "poison"
TIMES = 12
PER_ROUND = 4


async def induce(world: World, rng: random.Random) -> Engagement:
    """Send every kind of malformed record.

    The fault counts as noticed if the malformed records in the log become dead letters.  No worker may exit.
    """
    await world.moved()
    mark, before = world.mark(), await _letters(world)
    workers = {worker.name for worker in world.workers}
    sent = await world.load.send(*_poison(world, rng))
    newest: dict[int, int] = defaultdict(int)
    for each in sent:
        if each.draft.topic == INVOCATIONS:
            newest[each.partition] = max(newest[each.partition], each.offset)
    recovery = await world.progress.beyond(newest, PATIENCE) - mark.time
    if ended := workers - {worker.name for worker in world.workers}:
        raise RuntimeError(f"poison has ended {', '.join(sorted(ended))}")
    of_the_log = sum(each.draft.topic == INVOCATIONS for each in sent)
    letters = await _letters(world) - before
    figures = {"poisonous records": len(sent), "poisonous records on the log": of_the_log, "dead letters": letters}
    return Engagement(letters >= of_the_log > 0, figures, recovery)


async def _letters(world: World) -> int:
    """Return the number of dead letters on the topic now."""
    return sum((await world.progress.ends(world.names(DEAD_LETTERS))).values())


def _poison(world: World, rng: random.Random) -> list[Draft]:
    place = range(world.partitions)
    found = [Draft(RUBBISH, INVOCATIONS, KEY, value, partition=rng.choice(place)) for *_, value in INPUTS]
    found += [Draft(RUBBISH, COMMANDS, key, value, partition=rng.choice(place)) for *_, value, key in ORDERS]
    rng.shuffle(found)
    return found
