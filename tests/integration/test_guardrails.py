"""A variant that becomes four times dearer at equal quality, on real Kafka; and a judge's new version."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest
from builders import an_invocation
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS, DEGRADATIONS, ROLLBACKS, TASKS

pytestmark = pytest.mark.integration
LUCK, IDS = Random(1), count()


def outcomes(variant: str, number: int, cost: float, **fields: Any) -> list[m.Invocation]:
    """Return successful outcomes whose cost varies by a fifth."""
    return [
        an_invocation(variant, "success", invocation_id=f"i{next(IDS)}", cost=cost * LUCK.uniform(0.8, 1.2), **fields)
        for _ in range(number)
    ]


async def becomes_dearer(installation: Installation) -> None:
    """Let the active variant cost four times as much after 100 outcomes, while another stays cheap."""
    await installation.publish(*outcomes("dear", 100, 0.01))
    await installation.publish(*outcomes("cheap", 30, 0.01, variant_source="explore"))
    await installation.publish(*outcomes("dear", 30, 0.04, active_epoch=1))
    await installation.settled()


async def test_by_default_people_are_alerted_and_nothing_changes(installation: Installation) -> None:
    await installation.worker(profile="guide")
    await becomes_dearer(installation)
    alerts = [one for one in await installation.messages(ALERTS) if one.kind == "guardrail"]
    assert [(one.severity, one.resolved) for one in alerts] == [("warning", False)]
    assert alerts[0].action.startswith("Cost rose from 0.0")
    assert await installation.messages(ROLLBACKS) == []
    snapshot = await installation.wait_for(TASKS, m.TaskSnapshot, lambda found: found.n_outcomes == 160)
    levels = {variant.variant_id: variant.guardrails["cost"] for variant in snapshot.variants}
    assert (levels["dear"].broken, levels["cheap"].broken) == (True, False)
    assert levels["dear"].recent == pytest.approx(0.04, rel=0.2)
    assert await installation.messages(DEAD_LETTERS) == []


async def test_if_configured_it_is_rolled_back_to_the_cheap_variant(installation: Installation) -> None:
    await installation.worker(profile="guide", guardrails_cost="rollback")
    await becomes_dearer(installation)
    [event] = await installation.messages(ROLLBACKS)
    assert (event.from_variant, event.to_variant) == ("dear", "cheap")
    assert event.reason.startswith("Cost rose from 0.0")
    code, out, err = await installation.run_crl("rollbacks", "show", event.rollback_id)
    assert code == 0, err
    [row] = [line.split() for line in out.splitlines() if line.startswith("  cost ")]
    assert row[-3:] == [">", "50.0%", "guardrails"]
    assert await installation.messages(DEAD_LETTERS) == []


async def test_a_new_version_of_the_judge_alone_changes_nothing(installation: Installation) -> None:
    await installation.worker(profile="guide")
    await installation.publish(*outcomes("a", 100, 0.01, reward=0.8, evaluator="judge@1"))
    await installation.publish(*outcomes("b", 30, 0.01, reward=0.75, evaluator="judge@1", variant_source="explore"))
    await installation.publish(*outcomes("a", 60, 0.01, reward=0.4, evaluator="judge@2", active_epoch=1))
    await installation.settled()
    assert await installation.messages(ROLLBACKS) == []
    assert await installation.messages(DEGRADATIONS) == []
    assert {one.kind for one in await installation.messages(ALERTS)} <= {"clock_skew"}, "the times are of a recording"
