"""kill -9, again and again, while work waits and people give orders: the state stays the fold of the log."""

from __future__ import annotations

import re

import pytest
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation, WorkerProcess

from faults.load import Load

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(600)]

KILLS = 10
SKIPPED = re.compile(r"(\d+) records from offset \d+ on are folded already and skipped")


async def test_ten_kills_under_load_lose_nothing_and_apply_nothing_twice(
    installation: Installation, record_property: pytest.RecordProperty
) -> None:
    workers = [await start(installation), await start(installation)]
    load = Load(installation, seed=20261124)
    load.start()
    lags, skipped = [], []
    for number in range(KILLS):
        for worker in workers:
            await worker.ready()
        await load.burst(4_000)
        victim = workers.pop(0)
        before = skipped_so_far(installation)
        victim.kill()
        lags.append(sum((await installation.lag()).values()))
        workers.append(await start(installation))
        skipped.append(skipped_so_far(installation) - before)
        assert lags[-1] > 0, f"nothing waited at kill {number + 1}: it shows nothing"
    await load.stop()
    await installation.settled()
    compared = await assert_topics_equal_the_fold(installation)
    replayed = sum(count > 0 for count in skipped)
    figures = {
        "kills": KILLS,
        "outcomes": load.sent,
        "commands": load.commands,
        "lag at each kill": lags,
        "records skipped after each kill": skipped,
        "physical duplicates": compared.physical_duplicates,
        "distinct outputs": compared.outputs,
        "rows": compared.rows,
    }
    record_property("kills", figures)
    print(figures)  # noqa: T201 - shown with -s, and kept in the report
    assert load.commands > KILLS
    assert replayed >= 3, f"only {replayed} kills met records that were folded before: {skipped}"
    for worker in workers:
        assert await worker.stop() == 0


async def start(installation: Installation) -> WorkerProcess:
    # Commits lag far behind the partition rows, so that every restart finds work that is done already.
    worker = installation.start_worker(worker_commit_interval_seconds="5", worker_session_timeout_seconds="3")
    await worker.ready()
    return worker


def skipped_so_far(installation: Installation) -> int:
    return sum(int(n) for worker in installation.workers for n in SKIPPED.findall(worker.log.read_text()))
