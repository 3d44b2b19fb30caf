"""A runtime follows the weights of a rollout, except in an outage: the same id gets the same variant everywhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from client.exploring import ACTIVE, exploring
from crl_stream.client import resolver as resolvers
from crl_stream.client.resolver import Resolver
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.settings import Settings
from crl_stream.wire.weights import variant_of

WEIGHTS = {"cheap": 200, ACTIVE.variant_id: 800}
ROLLOUT = m.ActiveRollout(rollout_id="ro-1", variant_id="cheap", stage=1, stages=3, paused=False)
KEY = TaskKey(ACTIVE.agent_name, ACTIVE.task_type)


def weighted(settings: Settings, weights: dict[str, int] = WEIGHTS, *, heard: bool = True) -> Resolver:
    """Return a resolver that knows a rollout, and would otherwise explore in every invocation."""
    found = exploring(settings)
    found._active[KEY] = msgspec.structs.replace(ACTIVE, weights=weights, rollout=ROLLOUT)
    if heard:
        found.heard()
    return found


def use(resolver: Resolver, invocation_id: str | None) -> Any:
    found = resolver.resolve(*KEY, invocation_id=invocation_id)
    assert found is not None
    return found


def test_each_invocation_gets_the_variant_of_its_bucket_and_says_when_it_is_not_the_active_one(
    settings: Settings,
) -> None:
    resolver = weighted(settings)
    for number in range(400):
        found = use(resolver, f"i{number}")
        assert found.variant_id == variant_of(WEIGHTS, ACTIVE.variant_id, f"i{number}")
        assert found.source == ("explore" if found.variant_id == "cheap" else "live")
        assert found.epoch == ACTIVE.epoch


def test_during_a_rollout_nothing_else_is_explored(settings: Settings) -> None:
    resolver = weighted(settings)
    assert {use(resolver, None).variant_id for _ in range(400)} == set(WEIGHTS)


def test_without_an_id_chance_decides_by_the_same_shares(settings: Settings) -> None:
    resolver = weighted(settings)
    tried = sum(use(resolver, None).variant_id == "cheap" for _ in range(4_000))
    assert 600 < tried < 1_000


def test_an_id_that_got_the_candidate_keeps_it_in_later_stages(settings: Settings) -> None:
    shares = [{"cheap": share, ACTIVE.variant_id: 1_000 - share} for share in (50, 250, 500, 1_000)]
    resolvers_ = [weighted(settings, share) for share in shares]
    for number in range(400):
        used = [use(resolver, f"i{number}").variant_id == "cheap" for resolver in resolvers_]
        assert used == sorted(used)
    assert all(used for used in [use(resolvers_[-1], f"i{n}").variant_id == "cheap" for n in range(50)])


def test_while_kafka_does_not_answer_all_work_uses_the_active_variant(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Kafka is unreachable, the rollout may have been aborted."""
    resolver = weighted(settings)
    now = resolvers.time.monotonic()
    monkeypatch.setattr(resolvers.time, "monotonic", lambda: now + 31)
    assert {use(resolver, f"i{number}").variant_id for number in range(200)} == {ACTIVE.variant_id}
    assert use(resolver, "i1").source == "stale"


def test_a_runtime_that_has_heard_nothing_yet_uses_the_active_variant(settings: Settings) -> None:
    resolver = weighted(settings, heard=False)
    assert {use(resolver, f"i{number}").variant_id for number in range(200)} == {ACTIVE.variant_id}
