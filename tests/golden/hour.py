"""The hour: every kind of record that the engine knows, generated from a seed and without a clock.

Several agents and tasks in three partitions go through everything that can happen: under the guide's policy, under a
set of policies with all modes and guards, and under a second set.  ``coverage run --branch`` over the fold of these
records showed which chapters were needed.
"""

from __future__ import annotations

from . import guardrails, orders, outcomes, policies, proposals, rollbacks, rollouts, strays
from .scribe import Scribe


def write_hour() -> Scribe:
    """Write all records, folding each immediately; the same engine always gives the same records."""
    scribe = Scribe()
    strays.damaged_rows(scribe)
    outcomes.every_kind(scribe, "guided")
    strays.no_messages(scribe)
    strays.met_again(scribe)
    orders.on_long_prompts(scribe)
    scribe.fall_silent(3_000)
    policies.set_policy(scribe, policies.FIRST)
    policies.set_policy(scribe, policies.SECOND, if_none=True)
    outcomes.every_kind(scribe)
    outcomes.every_kind(scribe, "weightless")
    outcomes.runtimes(scribe)
    outcomes.clocks(scribe)
    outcomes.many_variants(scribe)
    outcomes.late_scores(scribe)
    strays.in_the_wrong_place(scribe)
    strays.forged_references(scribe)
    for agent in ("backend-architect", "shadow-runner", "watcher"):
        rollbacks.each_metric(scribe, agent)
        rollbacks.promotions(scribe, agent)
        orders.on_variants(scribe, agent)
        orders.on_changes(scribe, agent)
        orders.reviews(scribe, agent)
    rollbacks.promotions(scribe, "eager")
    orders.on_variants(scribe, "guarded")
    rollbacks.held(scribe)
    rollbacks.recovered(scribe, "backend-architect")
    rollbacks.recovered(scribe, "shadow-runner")
    rollbacks.without_target(scribe)
    rollbacks.one_runtime(scribe)
    rollbacks.again_and_again(scribe)
    rollbacks.evidence(scribe)
    rollbacks.verified(scribe, "backend-architect")
    rollouts.ordered(scribe, "roller")
    rollouts.ordered(scribe, "shadow-runner")
    rollouts.refused(scribe, "roller")
    rollouts.automatic(scribe, "roller")
    guardrails.costs(scribe, "backend-architect")
    guardrails.costs(scribe, "thrifty")
    guardrails.costs(scribe, "shadow-runner")
    guardrails.judges(scribe, "backend-architect")
    rollbacks.verified(scribe, "bounded")
    rollbacks.bounded(scribe, "bounded")
    rollbacks.shared_outages(scribe, "backend-architect")
    orders.on_tags(scribe)
    orders.undo_without_a_hold(scribe)
    orders.on_the_fleet(scribe)
    scribe.fall_silent(60_000)
    proposals.made(scribe)
    proposals.filed(scribe)
    proposals.superseded(scribe)
    proposals.earned(scribe)
    several = [scribe.task(agent, "by-chance") for agent in ("eager", "guarded", "shadow-runner", "crowded", "chancy")]
    outcomes.by_chance(scribe, several, 300)
    policies.set_policy(scribe, policies.SECOND)
    policies.set_policy(scribe, policies.SECOND, if_none=True)
    outcomes.by_chance(scribe, several, 200)
    outcomes.runtimes(scribe)
    for agent in ("watcher", "shadow-runner", "eager", "flapping"):
        scribe.task(agent, "promotes").run("a", "S" * 6, reward=0.3)
        scribe.task(agent, "by-success").run("b", "F" * 8)
    proposals.the_next_days(scribe)
    return scribe
