"""A runtime without Kafka that always explores and can choose among three variants that are not active."""

from __future__ import annotations

from random import Random
from typing import Any

from client.silent_kafka import an_active_variant
from crl_stream.client.resolver import Resolver
from crl_stream.client.setting_up import Setup
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.settings import Settings

ACTIVE = an_active_variant(quarantined=["barred"])
OTHERS = {"cheap": "haiku", "dear": "opus", "plain": None}
"""Variants that may be tried, with their model tiers."""


def exploring(settings: Settings, **options: Any) -> Resolver:
    found = Resolver(Setup(settings, without_kafka="a test"), rng=Random(1), exploration=1.0, **options)
    known = [m.RegisteredVariant(variant_id=ACTIVE.variant_id, state="seen", quarantined=False)]
    known += [m.RegisteredVariant(variant_id="barred", state="seen", quarantined=False)]
    known += [m.RegisteredVariant(variant_id="retired", state="retired", quarantined=False)]
    known += [
        m.RegisteredVariant(variant_id=name, state="registered", quarantined=False, model_tier=tier)
        for name, tier in OTHERS.items()
    ]
    key = TaskKey(ACTIVE.agent_name, ACTIVE.task_type)
    found._active[key] = ACTIVE
    found._known[key] = m.VariantCatalogue(
        agent_name=key.agent_name,
        task_type=key.task_type,
        timestamp=ACTIVE.since,
        variants=known,
        incarnation=0,
        position=m.Position(0, 0),
    )
    return found


def tried(resolver: Resolver, times: int = 300) -> dict[str, int]:
    """Return how often each variant was chosen."""
    counts: dict[str, int] = {}
    for _ in range(times):
        found = resolver.resolve(ACTIVE.agent_name, ACTIVE.task_type)
        assert found is not None
        assert (found.source == "explore") is (found.variant_id != ACTIVE.variant_id)
        assert found.variant is not None
        assert found.variant.variant_id == found.variant_id
        counts[found.variant_id] = counts.get(found.variant_id, 0) + 1
    return counts
