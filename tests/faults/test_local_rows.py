"""Rows on a worker's disk are a cache: whatever happens to them, the state stays the fold of the log."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from builders import invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation, WorkerProcess

from campaign.live.load import Load
from crl_stream.worker.stores import Kept

rocksdb = pytest.importorskip("crl_stream.worker.stores.rocksdb", reason="needs the extra crl-stream[rocksdb]")

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(600)]

ON_DISK = {"worker_store": "rocksdb"}
RECOVERED = re.compile(r"(\d+) changelog records recovered in")


def folder_of(installation: Installation, data_dir: str = "worker") -> Path:
    return installation.folder / data_dir / "rows" / installation.names.changelog(installation.app_id)


def local_rows(folder: Path, partitions: int = 4) -> dict[int, tuple[Kept | None, dict[bytes, bytes]]]:
    """Return the rows that a stopped worker has left on its disk."""
    store = rocksdb.RocksRows(folder, folder.name)
    try:
        return {partition: (store.open(partition), dict(store.rows(partition))) for partition in range(partitions)}
    finally:
        store.release()


def records_read(worker: WorkerProcess) -> int:
    return sum(int(count) for count in RECOVERED.findall(worker.log.read_text()))


def make_load(installation: Installation, seed: int) -> Load:
    kafka, ledger = installation.kafka, installation.folder / f"ledger-{seed}"
    rng = random.Random(seed)
    return Load(kafka.bootstrap_servers, installation.names, kafka.partitions, rng, ledger, rate=1_000)


async def burst(installation: Installation, seed: int, size: int) -> None:
    load = make_load(installation, seed)
    await load.start()
    await load.burst(size)
    await load.stop()


async def run_load(installation: Installation, size: int = 1_500) -> None:
    await burst(installation, size, size)
    await installation.settled()


async def assert_disk_equals_the_changelog(installation: Installation) -> None:
    """Check after a stop that the rows on disk cover the whole changelog and equal it byte for byte."""
    state, ends = await installation.changelog(), await changelog_ends(installation)
    for partition, (kept, rows) in local_rows(folder_of(installation)).items():
        assert rows == state[partition], f"rows of partition {partition} on disk"
        assert (-1 if kept is None else kept.offset) == ends[partition] - 1


async def changelog_ends(installation: Installation) -> dict[int, int]:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(bootstrap_servers=installation.kafka.bootstrap_servers)
    await consumer.start()
    try:
        name = installation.names.changelog(installation.app_id)
        found = await consumer.end_offsets([TopicPartition(name, p) for p in range(installation.kafka.partitions)])
        return {place.partition: end for place, end in found.items()}
    finally:
        await consumer.stop()


async def test_a_kill_between_the_changelogs_ack_and_the_write_on_disk_loses_and_doubles_nothing(
    installation: Installation,
) -> None:
    first = await installation.worker()  # the worker writes the policy to every partition; later records go to one
    assert await first.stop() == 0
    worker = installation.start_worker(("-m", "campaign.live.launcher", "--die", "rows:6", "worker"), **ON_DISK)
    async with asyncio.timeout(60):
        while worker.process.poll() is None:
            await installation.publish(*invocations("default", "SSF"))
    assert worker.process.returncode == -9
    ends = await changelog_ends(installation)
    behind = [
        partition
        for partition, (kept, _) in local_rows(folder_of(installation)).items()
        if (-1 if kept is None else kept.offset) < ends[partition] - 1
    ]
    assert len(behind) == 1, "for one partition, the last write was acknowledged but is not on disk"
    worker = await installation.worker(**ON_DISK)
    await installation.settled()
    assert 0 < records_read(worker) < sum(ends.values()), "only the part that is missing on disk is read"
    await assert_topics_equal_the_fold(installation)
    assert await worker.stop() == 0
    await assert_disk_equals_the_changelog(installation)


async def test_a_restart_reads_nothing_after_a_stop_and_little_after_a_kill(installation: Installation) -> None:
    worker = await installation.worker(**ON_DISK)
    await run_load(installation)
    written = sum((await changelog_ends(installation)).values())
    await burst(installation, 1, 4_000)
    assert await worker.stop() == 0, "the worker stops cleanly in the middle of its work"
    worker = await installation.worker(**ON_DISK)
    assert records_read(worker) == 0
    await run_load(installation, 200)
    worker.kill()
    worker = await installation.worker(**ON_DISK)
    assert records_read(worker) < written / 2
    await run_load(installation, 100)
    await assert_topics_equal_the_fold(installation)
    assert await worker.stop() == 0
    await assert_disk_equals_the_changelog(installation)


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def flip_bytes(folder: Path) -> None:
    for path in folder.glob("*/*.sst"):
        data = bytearray(path.read_bytes())
        for at in range(len(data) // 7, len(data), len(data) // 7):
            data[at] ^= 0xFF
        path.write_bytes(data)


def exchange(folder: Path) -> None:
    (folder / "0").rename(folder / "x")
    (folder / "1").rename(folder / "0")
    (folder / "x").rename(folder / "1")


@pytest.mark.parametrize("damage", [delete, flip_bytes, exchange])
async def test_rows_that_were_deleted_or_damaged_between_two_runs_are_read_from_the_changelog(
    installation: Installation, damage: Any
) -> None:
    worker = await installation.worker(**ON_DISK)
    await run_load(installation)
    worker.kill() if damage is delete else await worker.stop()
    damage(folder_of(installation))
    worker = await installation.worker(**ON_DISK)
    assert records_read(worker) > 0
    assert ("are discarded" in worker.log.read_text()) is (damage is not delete)
    await run_load(installation, 300)
    await assert_topics_equal_the_fold(installation)
    assert await worker.stop() == 0
    await assert_disk_equals_the_changelog(installation)


async def test_the_folder_of_another_installation_is_not_believed(
    installation: Installation, kafka: str, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    async with Installation(kafka, tmp_path / "other") as other:
        stranger = await other.worker(**ON_DISK)
        await run_load(other)
        assert await stranger.stop() == 0
        worker = await installation.worker(**ON_DISK)
        await run_load(installation, 300)
        assert await worker.stop() == 0
        shutil.rmtree(folder_of(installation))
        shutil.copytree(folder_of(other), folder_of(installation))
        worker = await installation.worker(**ON_DISK)
        assert worker.log.read_text().count("are discarded") == 4
        await run_load(installation, 300)
        await assert_topics_equal_the_fold(installation)
        assert await worker.stop() == 0
        await assert_disk_equals_the_changelog(installation)


async def test_a_changelog_that_was_made_anew_makes_the_rows_on_disk_those_of_another_one(
    installation: Installation,
) -> None:
    """Check the documented cure for a changelog of the wrong shape: delete it, so that the log is folded again."""
    worker = await installation.worker(**ON_DISK)
    await run_load(installation)
    assert await worker.stop() == 0
    name = installation.names.changelog(installation.app_id)
    async with installation.admin._admin() as admin:
        await admin.delete_topics([name])
        while name in await admin.list_topics():
            await asyncio.sleep(0.05)
    await installation.admin.apply()
    worker = await installation.worker(**ON_DISK)
    assert "are discarded" in worker.log.read_text()
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
    assert await worker.stop() == 0
    await assert_disk_equals_the_changelog(installation)


async def test_a_second_worker_on_the_same_folder_is_told_to_take_another_one(installation: Installation) -> None:
    worker = await installation.worker(**ON_DISK)
    second = installation.start_worker(**ON_DISK)
    assert await asyncio.to_thread(second.process.wait, 60) == 2
    assert "worker.data_dir" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()
    assert await worker.stop() == 0


async def test_kills_and_rebalances_between_workers_with_rows_on_disk_lose_and_double_nothing(
    installation: Installation,
) -> None:
    async def start(number: int) -> WorkerProcess:
        return await installation.worker(
            **ON_DISK,
            worker_data_dir=str(installation.folder / f"disk-{number}"),
            worker_session_timeout_seconds="6",
        )

    workers = {0: await start(0)}
    load = make_load(installation, 30)
    await load.start()
    await load.burst(1_000)
    async with asyncio.timeout(30):
        while not all((await installation.changelog()).values()):
            await asyncio.sleep(0.05)
    workers[1] = await start(1)
    for turn in range(4):
        for worker in workers.values():
            await worker.ready()
        await load.burst(2_000)
        number = turn % 2
        workers[number].kill()
        workers[number] = await start(number)
    await load.stop()
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
    state = await installation.changelog()
    owned = {
        number: [entry["partition"] for entry in (await worker.get("/api/worker"))[1]["partitions"]]
        for number, worker in workers.items()
    }
    assert sorted(itertools.chain(*owned.values())) == [0, 1, 2, 3]
    for number, worker in workers.items():
        assert await worker.stop() == 0
        there = local_rows(folder_of(installation, f"disk-{number}"))
        for partition in owned[number]:
            assert there[partition][1] == state[partition], f"rows of partition {partition} on disk {number}"
    assert any("changelog records recovered" in worker.log.read_text() for worker in installation.workers)
