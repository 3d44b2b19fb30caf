"""The variant that a runtime gets when its file and Kafka disagree."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest
from builders import AGENT, TASK, a_command, invocations
from installation import Installation

from crl_stream.client import Resolver
from crl_stream.client.keeping import Keeper, kept_file
from crl_stream.core import messages as m
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import ACTIVE_VARIANTS, VARIANTS

pytestmark = pytest.mark.integration


def settings_of(installation: Installation, cache: Path, **kafka: str) -> Settings:
    told = {"bootstrap_servers": installation.kafka.bootstrap_servers, "topic_prefix": installation.kafka.topic_prefix}
    flags = {f"kafka.{name}": value for name, value in (told | kafka).items()}
    return load_settings(environment={}, flags=flags | {"client.cache_dir": str(cache)})


def keep(settings: Settings, *actives: m.ActiveVariant) -> None:
    """Write a file as an earlier run would have left it."""
    file = kept_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    page = {ACTIVE_VARIANTS: [json.loads(encode(active)) for active in actives], VARIANTS: []}
    file.write_text(json.dumps(page), encoding="utf-8")


async def test_what_was_kept_of_a_cluster_that_was_made_anew_gives_way_to_what_the_new_one_says(
    installation: Installation, tmp_path: Path
) -> None:
    await installation.worker()
    await installation.publish(*invocations("default", "S" * 3))
    live = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant)
    settings = settings_of(installation, tmp_path / "cache")
    fields = {name: getattr(live, name) for name in live.__struct_fields__}
    gone = m.ActiveVariant(**(fields | {"agent_name": "an-agent-of-yore"}))
    keep(settings, m.ActiveVariant(**(fields | {"variant_id": "of-the-old-cluster", "epoch": 9})), gone)

    with Resolver(settings) as resolver:
        assert await asyncio.to_thread(resolver.wait_until_ready, 30.0)
        found = resolver.resolve(AGENT, TASK)
        assert found is not None
        assert (found.variant_id, found.epoch, found.source) == ("default", 1, "live")
        assert resolver.resolve(gone.agent_name, TASK) is None
        await installation.publish(*invocations("better", "S" * 5, variant_source="explore"))
        await installation.order(a_command(m.ActivateVariant, variant_id="better"))
        assert await asyncio.to_thread(resolver.wait_for_epoch, AGENT, TASK, 2, 30.0)
        assert resolver.resolve(AGENT, TASK).variant_id == "better"  # type: ignore[union-attr]


async def test_without_kafka_a_runtime_uses_what_was_kept_and_says_so(
    installation: Installation, tmp_path: Path
) -> None:
    await installation.worker()
    await installation.publish(*invocations("default", "S"))
    live = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant)
    settings = settings_of(installation, tmp_path / "cache", bootstrap_servers="127.0.0.1:1")
    keep(settings, live)
    with Resolver(settings) as resolver:
        found = resolver.resolve(AGENT, TASK)
        assert found is not None
        assert (found.variant_id, found.source) == ("default", "file")
        assert not resolver.wait_until_ready(0.1)


async def test_a_disk_that_stands_still_keeps_no_rollback_from_a_runtime_and_in_the_end_all_is_kept(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await installation.worker()
    await installation.publish(*invocations("default", "S" * 3))
    settings = settings_of(installation, tmp_path / "cache")
    writes, goes_on, plain = threading.Event(), threading.Event(), Keeper._write

    def stand_still(keeper: Keeper) -> None:
        writes.set()
        assert goes_on.wait(60.0)
        plain(keeper)

    monkeypatch.setattr(Keeper, "_write", stand_still)
    with Resolver(settings) as resolver:
        try:
            assert await asyncio.to_thread(resolver.wait_for_epoch, AGENT, TASK, 1, 30.0)
            assert await asyncio.to_thread(writes.wait, 30.0)
            await installation.publish(*invocations("better", "S" * 5, variant_source="explore"))
            await installation.order(a_command(m.ActivateVariant, variant_id="better"))
            assert await asyncio.to_thread(resolver.wait_for_epoch, AGENT, TASK, 2, 30.0)
        finally:
            goes_on.set()
    kept = json.loads(kept_file(settings).read_bytes())
    assert [(each["variant_id"], each["epoch"]) for each in kept[ACTIVE_VARIANTS]] == [("better", 2)]
    assert {each["task_type"] for each in kept[VARIANTS]} == {TASK}
