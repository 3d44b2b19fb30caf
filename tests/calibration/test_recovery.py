"""A figure measured with a simulated history matches the true figure of the simulated world, within the interval."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from calibration.worlds import KEY, a_history, bernoulli
from crl_stream.calibration import closed_loop
from crl_stream.calibration.alternatives import Alternative
from crl_stream.calibration.estimates import Estimate
from crl_stream.calibration.measurement import Simulation, figures, simulate
from crl_stream.calibration.stock import supply_of
from crl_stream.core import messages as m
from crl_stream.core.monitor.row import new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Learning, Operations, Policy

HEALTHY, ESTABLISHED, OTHERS = 120, 60, 30
ENFORCE, OBSERVE = Policy(), Policy(operations=Operations(mode="observe"))


@pytest.fixture(autouse=True)
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_loop, "HEALTHY", HEALTHY)
    monkeypatch.setattr(closed_loop, "AFTER_FALL", 1)
    monkeypatch.setattr(closed_loop, "_ESTABLISHED", ESTABLISHED)
    monkeypatch.setattr(closed_loop, "_OTHERS_ESTABLISHED", OTHERS)


def true_rate(p: float, correlation: float, tasks: int) -> float:
    """Return the false rollbacks per 1,000 outcomes of two equal variants, from fresh outcomes and the bare engine."""
    random, found, at_risk = Random("truth"), 0, 0
    for _ in range(tasks):
        row, number = new_row(KEY), 0
        outcomes = {name: iter(bernoulli(random, p, 800, correlation)) for name in ("v1", "v2")}

        def fold(name: str, source: Any, policy: Policy, row: Any = row, outcomes: Any = outcomes) -> bool:
            nonlocal number
            number += 1
            invocation = m.Invocation(
                schema_version=1,
                invocation_id=f"i{number}",
                timestamp="2026-01-05T10:00:00Z",
                agent_name=KEY.agent_name,
                task_type=KEY.task_type,
                variant_id=name,
                variant_source=source,
                active_epoch=row.epoch or None,
                status="success" if next(outcomes[name]) else "failure",
            )
            facts = step(row, invocation, Context(0, number, number * 1_000, 0, "0" * 16), policy).facts
            return any(isinstance(fact, m.Activation) and fact.cause == "rollback" for fact in facts)

        fold("v1", "live", OBSERVE)
        for _ in range(OTHERS):
            fold("v2", "explore", OBSERVE)
        for count in range(400):
            if count >= ESTABLISHED and not row.variants["v1"].degraded:
                break
            fold("v1", "live", OBSERVE)
        for _ in range(HEALTHY):
            at_risk += 1
            if fold(row.active or "v1", "live", ENFORCE):
                found += 1
                break
    return 1_000 * found / at_risk


def measured(seed: int, p: float, correlation: float, count: int = 600, tasks: int = 32) -> Estimate:
    history = a_history(seed, count, correlation, v1=p, v2=p)
    supply = supply_of(history, Learning())
    samples = simulate(Simulation(supply, (ENFORCE,), str(seed), tasks), 1)
    [found] = figures([Alternative("present", ENFORCE)], samples, supply, 1.0)
    return found.false_rollbacks


def agree(p: float, correlation: float) -> None:
    truth = true_rate(p, correlation, 200)
    found = [measured(seed, p, correlation) for seed in range(8)]
    assert truth > 2.0
    assert sum(one.low <= truth <= one.high for one in found) >= 7
    # Wide intervals alone would pass the check above, so the mean of all estimates must be close to the truth too.
    assert sum(one.value for one in found) / len(found) == pytest.approx(truth, rel=0.4)


def test_the_true_rate_of_false_rollbacks_is_within_the_interval_for_nearly_every_history() -> None:
    agree(0.9, 0.0)


def test_the_same_holds_if_failures_come_in_runs() -> None:
    agree(0.85, 0.3)
