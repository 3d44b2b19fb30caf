"""The labels of one store: a store that is down is asked little, and one bad prompt delays no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from core.mirrored import a_catalogue, an_active

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.mirrors import PromptStore
from crl_stream.core.mirroring.label import Seen
from crl_stream.mirrors.store import Refused, Silent
from crl_stream.settings.model import MLflow
from crl_stream.wire.codec import Rejected, decode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, MIRRORS, RECEIPTS, VARIANTS
from crl_stream.worker.mirrors.board import Board
from crl_stream.worker.mirrors.labels import AT_ONCE, Labels


class Store:
    """A store in memory whose prompts may fail."""

    name: PromptStore = "mlflow"
    label = "production"

    def __init__(self) -> None:
        self.at: dict[str, str | None] = {}
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self.refused: set[str] = set()
        self.looks = 0

    async def look(self, prompt: str) -> Seen:
        self.looks += 1
        await asyncio.sleep(0)
        if prompt in self.silent:
            raise Silent("no answer")
        if prompt in self.broken:
            raise KeyError("a bug of ours that this answer shows")
        return Seen(self.at.get(prompt))

    async def move(self, prompt: str, version: str) -> None:
        if prompt in self.refused:
            raise Refused("no such version")
        self.at[prompt] = version

    async def close(self) -> None:
        """There is nothing to close."""


class Outlet:
    """Keeps what is published, in order."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.app = SimpleNamespace(consumer=SimpleNamespace(check_pulse=lambda: None))

    async def publish(self, outputs: Iterable[Output]) -> dict[tuple[str, int], tuple[int, int]]:
        written = {}
        for output in outputs:
            self.outputs.append(output)
            written[output.topic, output.partition] = (len(self.outputs), 1)
        return written

    def on(self, topic: str) -> list[Any]:
        found = [decode(topic, one.value, one.key) for one in self.outputs if one.topic == topic]
        return [one.message for one in found if not isinstance(one, Rejected)]


class Place:
    """The labels of ``tasks`` prompts, with the variant v1 active in each."""

    def __init__(self, tasks: int, **options: Any) -> None:
        self.store, self.outlet, self.board = Store(), Outlet(), Board()
        for number in range(tasks):
            key = TaskKey("a", f"t{number}")
            refs: dict[str, str | None] = {f"v{n}": f"prompts:/p{number}/{n}" for n in (1, 2)}
            self.board.take(VARIANTS, a_catalogue(refs, key))
            self.activate(number, "v1", 1)
        self.board.ready.set()
        outlet: Any = self.outlet
        self.labels = Labels(self.store, MLflow(host="http://store", **options), self.board, outlet, 4)

    def activate(self, number: int, variant: str, epoch: int) -> None:
        self.board.take(ACTIVE_VARIANTS, an_active(variant, epoch, agent_name="a", task_type=f"t{number}"))


async def test_every_label_is_moved_and_each_move_is_announced_before_and_proved_after() -> None:
    place = Place(20)
    await place.labels._work(None)
    assert place.store.at == {f"p{number}": "1" for number in range(20)}
    of_one = [one for one in place.outlet.outputs if b'"t7"' in one.value or one.key == b"a/t7"]
    assert [one.topic for one in of_one] == [MIRRORS, MIRRORS, RECEIPTS, MIRRORS]


async def test_one_prompt_that_fails_delays_no_other_and_is_told_after_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = Place(20, alert_after_seconds=0.1)
    place.store.silent, place.store.broken, place.store.refused = {"p3"}, {"p4"}, {"p5"}
    await place.labels._work(None)
    assert set(place.store.at) == {f"p{number}" for number in range(20)} - {"p3", "p4", "p5"}
    assert {a.task_type for a in place.outlet.on(ALERTS)} == {"t5"}, "a refusal is told at once"
    await asyncio.sleep(0.15)
    for _ in range(3):
        await place.labels._work(None)
    told = {a.task_type: a for a in place.outlet.on(ALERTS)}
    assert set(told) == {"t3", "t4", "t5"} and len(place.outlet.on(ALERTS)) == 3
    assert "no usable answer about it: no answer" in told["t3"].text
    assert caplog.messages.count("mlflow: no usable answer about p3: no answer") == 1, "and not at every look"
    assert [str(one.exc_info[1]) for one in caplog.records if one.exc_info] == [
        "'a bug of ours that this answer shows'"
    ]
    place.store.silent = place.store.broken = set()
    await place.labels._work(None)
    assert place.store.at["p3"] == place.store.at["p4"] == "1"
    assert {a.task_type for a in place.outlet.on(ALERTS) if a.resolved} == {"t3", "t4"}


async def test_a_store_that_is_down_is_asked_a_few_times_and_not_for_every_label() -> None:
    place = Place(200)
    place.store.silent = {f"p{number}" for number in range(200)}
    with pytest.raises(Silent):
        await place.labels._work(None)
    assert place.store.looks <= 2 * AT_ONCE


async def test_a_change_is_followed_at_once_and_without_asking_for_other_labels() -> None:
    place = Place(50, poll_seconds=600)
    running = asyncio.create_task(place.labels.run())
    try:
        async with asyncio.timeout(10):
            while len(place.outlet.on(RECEIPTS)) < 50:
                await asyncio.sleep(0.01)
            looks = place.store.looks
            place.activate(7, "v2", 2)
            while place.store.at["p7"] != "2" or len(place.outlet.on(RECEIPTS)) < 51:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert place.store.looks - looks <= 4
    assert place.outlet.on(RECEIPTS)[-1].variant_id == "v2"


async def test_a_stale_record_on_the_topic_is_repaired() -> None:
    place = Place(1)
    await place.labels._work(None)
    newest = place.board.label("mlflow", TaskKey("a", "t0"))
    assert newest is not None
    place.board.take_record(place.outlet.on(MIRRORS)[0], 10_000)
    await place.labels._work(None)
    assert place.outlet.on(MIRRORS)[-1] == newest
    assert isinstance(newest, m.MirrorLabel) and not place.board.stale
