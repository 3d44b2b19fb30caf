"""The guide's API over the topics of a running installation: the same objects, with the workers' figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.errors import CommandRefused, ContractError, Unavailable
from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.topics import DECISIONS, ROLLBACKS

pytestmark = pytest.mark.integration
WHO = (AGENT, TASK)
AT_ONCE = {"limits_snapshot_outcomes": "1", "limits_snapshot_seconds": "0"}
"""Settings for a snapshot with every outcome, so that a test sees its last outcome without sending another."""


def settings_of(installation: Installation, **more: str) -> Settings:
    own = {"client_cache_dir": str(installation.folder / "cache")}
    return load_settings(environment=installation.environment(**(own | more)))


@pytest.fixture
async def store(installation: Installation) -> AsyncIterator[Store]:
    """A store connected to an installation with a worker."""
    await installation.worker(**AT_ONCE)
    connected = await asyncio.to_thread(Store.connect, settings=settings_of(installation))
    yield connected
    await asyncio.to_thread(connected.close)


async def called(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **named)


def record(store: Store, variant_id: str, outcomes: str, **fields: Any) -> None:
    for invocation in invocations(variant_id, outcomes, **fields):
        store.record(invocation)


def visits(store: Store, variant_id: str) -> int:
    return QLearningEngine(store=store).get_visit_count(*WHO, variant_id)


def a_collapse(store: Store) -> None:
    """Record the same outcomes as the in-memory tests, waiting wherever the workers must act first."""
    record(store, "default", "S" * 30, reward=0.5)
    record(store, "api-optimized", "S" * 30, reward=0.5, variant_source="explore")
    assert store.wait_until(lambda: visits(store, "api-optimized") == 30)
    store.order(a_command(m.ActivateVariant, variant_id="api-optimized"))
    assert store.wait_until(lambda: store.get_active_variants() == [(*WHO, "api-optimized")])
    record(store, "api-optimized", "S" * 10 + "F" * 10, reward=0.5, active_epoch=2)
    assert store.wait_until(lambda: store.get_active_variants() == [(*WHO, "default")])


async def test_a_live_rollback_is_told_once_and_stands_in_the_history(installation: Installation, store: Store) -> None:
    manager = RollbackManager(store=store)
    await called(a_collapse, store)
    assert await called(store.wait_until, lambda: bool(manager.get_rollback_history()))
    event = await called(manager.monitor_and_rollback, *WHO, "api-optimized")
    assert event is not None
    assert (event["from_variant"], event["to_variant"], event["enforced"]) == ("api-optimized", "default", True)
    assert await called(manager.monitor_and_rollback, *WHO, "api-optimized") is None
    assert await called(manager.monitor_and_rollback, *WHO, "default") is None
    [on_the_topic] = await installation.messages(ROLLBACKS)
    assert [e["rollback_id"] for e in manager.get_rollback_history()] == [on_the_topic.rollback_id]
    # A script that connects later is not told again. A script with another machine's cache is told once, but only if
    # it asks about the variant that was rolled back, not about its replacement.
    elsewhere = {"client_cache_dir": str(installation.folder / "elsewhere")}
    for more, expected in (({}, None), (elsewhere, event)):
        later = await called(Store.connect, settings=settings_of(installation, **more))
        try:
            assert RollbackManager(store=later).monitor_and_rollback(*WHO, "default") is None
            assert RollbackManager(store=later).monitor_and_rollback(*WHO, "api-optimized") == expected
        finally:
            await called(later.close)
    await installation.settled()
    await assert_topics_equal_the_fold(installation)


async def test_the_figures_are_those_of_the_same_outcomes_in_memory(store: Store) -> None:
    def story(of: Store) -> None:
        record(of, "default", "S" * 30 + "FESSF", reward=0.9)
        record(of, "new", "S" * 12, reward=0.95, variant_source="explore")

    await called(story, store)
    assert await called(store.wait_until, lambda: visits(store, "new") == 12)
    memory = Store(None)
    story(memory)
    monitor, expected = SafetyMonitor(store=store), SafetyMonitor(store=memory)
    assert monitor.thresholds == expected.thresholds
    for figures in ((0.95, 12), (0.8, 5), ()):
        decided = monitor.should_auto_apply_variant(*WHO, "new", *figures)
        assert decided == expected.should_auto_apply_variant(*WHO, "new", *figures)
    for variant in ("default", "new", "nobody"):
        for look in (5, 10, 20):
            found = monitor.check_performance_degradation(*WHO, variant, look)
            assert found == expected.check_performance_degradation(*WHO, variant, look)
        assert QLearningEngine(store=store).get_q_value(*WHO, variant) == (
            QLearningEngine(store=memory).get_q_value(*WHO, variant)
        )
    assert set(QLearningEngine(store=store).get_all_q_values()) == {(*WHO, "default"), (*WHO, "new")}


async def test_stricter_thresholds_order_a_rollback_which_the_monitor_states_as_any_order(
    installation: Installation, store: Store
) -> None:
    def story() -> dict[str, Any] | None:
        record(store, "rescue", "S" * 20, reward=0.4, variant_source="explore")
        record(store, "default", "S" * 50 + "SSSSFSSSFS", reward=0.5)
        assert store.wait_until(lambda: visits(store, "default") == 60)
        assert RollbackManager(store=store).monitor_and_rollback(*WHO, "default") is None
        strict = SafetyMonitor(degradation_success_threshold=0.02, store=store)
        return RollbackManager(strict).monitor_and_rollback(*WHO, "default")

    event = await called(story)
    assert event is not None
    assert (event["from_variant"], event["to_variant"]) == ("default", "rescue")
    assert event["reason"] == "Success rate dropped from 97% to 90% (6.9% drop)"
    assert await called(store.wait_until, lambda: store.get_active_variants() == [(*WHO, "rescue")])
    results = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult)]
    [ordered] = [r for r in results if r.command == "ActivateVariant"]
    assert (ordered.result_id, ordered.outcome, ordered.reason) == (event["rollback_id"], "applied", event["reason"])
    await installation.settled()
    await assert_topics_equal_the_fold(installation)


async def test_an_order_is_refused_with_the_monitors_reason(store: Store) -> None:
    await called(record, store, "default", "S")
    assert await called(store.wait_until, lambda: visits(store, "default") == 1)
    with pytest.raises(CommandRefused, match="is unknown"):
        await called(store.order, a_command(m.ActivateVariant, variant_id="nobody"))


async def test_the_policy_of_the_workers_is_the_one_that_is_asked(installation: Installation) -> None:
    await installation.worker(profile="conservative", **AT_ONCE)
    store = await called(Store.connect, settings=settings_of(installation))
    try:
        await called(record, store, "default", "S")
        assert await called(store.wait_until, lambda: visits(store, "default") == 1)
        monitor = SafetyMonitor(store=store)
        asked = [(0.94, 30), (0.95, 19), (0.95, 20)]
        decided = [monitor.should_auto_apply_variant(*WHO, "v", *at)[0] for at in asked]
        assert decided == ["human_approval", "human_approval", "auto_apply"]
        assert monitor.thresholds["auto_apply_min_samples"] == 20
    finally:
        await called(store.close)


async def test_where_there_is_no_installation_one_is_told_so(kafka: str, installation: Installation) -> None:
    elsewhere = settings_of(installation, kafka_topic_prefix="nobody.")
    with pytest.raises(ContractError, match="does not exist"):
        await called(Store.connect, settings=elsewhere)
    nowhere = settings_of(installation, kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(Unavailable):
        await called(Store.connect, settings=nowhere, timeout=5.0)
