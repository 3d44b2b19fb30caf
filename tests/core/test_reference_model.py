"""The engine and a naive model of the guide, which share no code, agree on any sequence of outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
import pytest
from builders import an_invocation
from hypothesis import event, given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.decision_matrix import decide
from crl_stream.core.monitor.row import ERROR, JUDGED, MICRO, SUCCESS
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.monitor.window import outcomes
from crl_stream.core.policy import Policy, Rollout

from .reference_common_cause import TaggedModel
from .reference_model import Model, added
from .task import Task

ROLLOUT = "rollout"
"""An entry of a run that is a command, not a mood: a person starts a rollout."""
VARIANTS = ["default", "v2", "v3"]
MOODS = {
    "excellent": ["success"],
    "good": ["success"] * 19 + ["failure"],
    "fair": ["success"] * 4 + ["failure"],
    "bad": ["success", "failure"],
    "failing": ["failure"],
    "erring": ["success", "error", "error"],
}
HOSTS: dict[str, list[str | None]] = {
    "unnamed": [None],
    "pair": ["h1", "h2"],
    "fleet": ["h1", "h2", "h3"],
    "partly named": ["h1", "h2", "h3", None],
    "one bad": ["h1", "h2", "h3", "h3"],
    "only the bad": ["h3"],
}
"""The runtimes that send the outcomes of a run.  With ``one bad``, only h3 is in the run's mood; others are good."""


def outcome(random: Random, variant: str, mood: str, where: str, epoch: int) -> m.Invocation:
    """Build an outcome with some of the optional fields, whose values are on grids that avoid ties in rounding."""
    runtime_id = random.choice(HOSTS[where])
    status = random.choice(MOODS["good" if where == "one bad" and runtime_id != "h3" else mood])
    plain = mood == "excellent"
    maybe = (lambda: 0.9) if plain else random.random
    return an_invocation(
        variant,
        status,
        invocation_id=f"i{random.randrange(400)}",
        reward=random.randrange(-20, 21) / 20 if maybe() < 0.1 else None,
        quality=random.randrange(21) / 20 if maybe() < 0.3 else None,
        duration_seconds=float(random.randrange(1200)) if maybe() < 0.2 else None,
        complexity=random.choice(["low", "medium", "high", None]),
        error_count=1 if maybe() < 0.05 else 0,
        active_epoch=None if maybe() < 0.7 else max(0, epoch - random.randrange(2)),
        variant_source="explore" if random.random() < 0.2 else "live",
        runtime_id=runtime_id,
    )


def assert_same(task: Task, model: Model, touched: Iterable[str]) -> None:
    row, rules = task.row, rules_of(task.policy)
    assert (row.active, row.epoch, row.n, row.duplicates) == (model.active, model.epoch, model.n, model.duplicates)
    assert set(row.variants) == set(model.members)
    for name in set(touched) & set(model.members):
        member = model.members[name]
        variant = row.variants[name]
        assert [
            (o.reward, bool(o.flags & SUCCESS), bool(o.flags & ERROR), bool(o.flags & JUDGED))
            for o in outcomes(variant)
        ] == [(o.reward * MICRO, o.success, o.error, o.judged) for o in member.window]
        life = variant.life
        assert life.n == member.n
        assert life.successes == sum(o.success for o in member.history)
        assert life.errors == sum(o.error for o in member.history)
        assert life.reward == added(o.reward for o in member.history) * MICRO
        assert variant.q == pytest.approx(member.q, abs=1e-6)
        verdict = judge(variant, rules)
        kind, metric = member.verdict()
        assert (verdict.kind, verdict.worst and verdict.worst.name) == (kind, metric)
        active = name == row.active
        assert decide(variant, active=active, policy=task.policy) == member.decision(active=active)
        assert variant.quarantined == member.quarantined


STAGED = msgspec.structs.replace(Policy(), rollout=Rollout(stages=(0.1, 0.4), min_outcomes=12))


def compare(random: Random, runs: Iterable[tuple[str, str, str, int]], *, staged: bool = False) -> Model:
    task, model = (Task(STAGED), Model((0.1, 0.4), 12)) if staged else (Task(), Model())
    for variant, mood, where, length in runs:
        if mood == ROLLOUT:
            fields = {"variant_id": variant, "stages": [0.1, 0.2, 0.4][: 1 + length % 3], "min_outcomes": length}
            started = task.order(m.StartRollout, **fields).outcome == "applied"
            assert started == model.start(variant, shares=fields["stages"], needed=length)
            continue
        for _ in range(length):
            invocation = outcome(random, variant, mood, where, task.row.epoch)
            task.take(invocation)
            model.take(invocation)
            if model.ambiguous:
                return model
            assert_same(task, model, [variant])
        assert_same(task, model, list(model.members))
    rollbacks = [r for r in task.stated(m.RollbackEvent) if r.rollout_id is None]
    assert [(r.from_variant, r.to_variant) for r in rollbacks] == model.rollbacks
    causes = [(a.cause, a.to_variant) for a in task.stated(m.Activation)]
    assert [to for cause, to in causes if cause == "auto_apply"] == model.promotions
    assert [to for cause, to in causes if cause == "rollback_verified_worse"] == model.taken_back
    assert [(s.step, s.variant_id) for s in task.stated(m.RolloutStep)] == model.steps
    return model


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(
            st.sampled_from(VARIANTS),
            st.sampled_from([*sorted(MOODS), ROLLOUT]),
            st.sampled_from(sorted(HOSTS)),
            st.integers(1, 30),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_engine_and_model_agree_after_every_outcome(seed: int, runs: list[Any], staged: bool) -> None:
    model = compare(Random(seed), runs, staged=staged)
    for step, _ in model.steps:
        event(f"rollout {step}")
    event(f"rollbacks: {len(model.rollbacks)}")
    event(f"promotions: {len(model.promotions)}")
    event(f"taken back: {len(model.taken_back)}")
    event(f"one runtime's word: {min(model.blamed, 1)}")


def test_the_sequences_compared_do_contain_rollbacks_and_promotions() -> None:
    random = Random(29)
    runs = [
        (random.choice(VARIANTS), random.choice(sorted(MOODS)), random.choice(sorted(HOSTS)), random.randrange(5, 30))
        for _ in range(30)
    ]
    model = compare(random, [(VARIANTS[0], "good", "fleet", 60), (VARIANTS[0], "failing", "one bad", 30), *runs])
    assert model.blamed
    assert model.rollbacks
    assert model.promotions
    assert model.taken_back
    assert model.duplicates


def test_the_sequences_compared_do_contain_every_step_of_a_rollout() -> None:
    found: set[str] = set()
    for seed in range(40):
        random = Random(seed)
        runs = [(random.choice(VARIANTS), random.choice(["excellent", "good"]), "fleet", 25) for _ in range(4)]
        for _ in range(6):
            candidate, mood = random.choice(VARIANTS), random.choice(["excellent", "good", "bad", "failing"])
            runs.append((candidate, ROLLOUT, "fleet", random.randrange(3, 10)))
            for _ in range(12):
                runs += [
                    (candidate, mood, "fleet", 2),
                    (random.choice(VARIANTS), random.choice(["good", mood]), "fleet", 3),
                ]
        found |= {step for step, _ in compare(random, runs, staged=seed % 2 == 1).steps}
    assert found == {"started", "stage_passed", "completed", "aborted", "ended"}


def test_ids_are_remembered_for_the_last_64_outcomes_and_no_longer() -> None:
    task = Task()
    task.take(*[an_invocation(invocation_id=f"n{i}") for i in range(64)])
    task.take(an_invocation(invocation_id="n0"))
    assert (task.row.n, task.row.duplicates) == (64, 1)
    task.take(an_invocation(invocation_id="n64"), an_invocation(invocation_id="n0"))
    assert (task.row.n, task.row.duplicates) == (66, 1)


PROVIDERS = {"default": "one", "v2": "one", "v3": "two", "v4": "one"}
USUALLY = {"default": "excellent", "v2": "good", "v3": "fair", "v4": "good"}
MODELS = {"default": "large", "v2": "large", "v4": "small"}


def compare_outages(random: Random, phases: Iterable[tuple[str, int]]) -> TaggedModel:
    """Compare engine and model while runtimes follow the active variant, through phases in which something fails.

    A phase names what fails: a provider, a model, a variant, or nothing.
    """
    task, model = Task(), TaggedModel()
    for variant in PROVIDERS:
        for _ in range(30):
            _both(task, model, _tagged(random, variant, USUALLY[variant], task, True))
    for failing, length in phases:
        for _ in range(length):
            explores = random.random() < 0.15
            variant = random.choice(sorted(PROVIDERS)) if explores or task.row.active is None else task.row.active
            shared = {variant, PROVIDERS[variant], MODELS.get(variant)}
            mood = "failing" if failing in shared else USUALLY[variant]
            _both(task, model, _tagged(random, variant, mood, task, explores))
            if model.ambiguous:
                return model
            assert_same(task, model, [variant])
            incident = task.row.incident
            tag = None if incident is None else tuple(incident.tag.split(":"))
            assert tag == (None if model.cause is None else model.cause.tag)
        assert_same(task, model, list(model.members))
    assert [(r.from_variant, r.to_variant) for r in task.stated(m.RollbackEvent)] == model.rollbacks
    causes = [(a.cause, a.to_variant) for a in task.stated(m.Activation)]
    assert [to for cause, to in causes if cause == "common_cause"] == model.returns
    assert [to for cause, to in causes if cause == "rollback_verified_worse"] == model.taken_back
    return model


def _tagged(random: Random, variant: str, mood: str, task: Task, explores: bool) -> m.Invocation:
    return an_invocation(
        variant,
        random.choice(MOODS[mood]),
        active_epoch=task.row.epoch,
        variant_source="explore" if explores else "live",
        provider=PROVIDERS[variant],
        model=MODELS.get(variant),
    )


def _both(task: Task, model: TaggedModel, invocation: m.Invocation) -> None:
    task.take(invocation)
    model.take(invocation)


FAILING = ["", "one", "two", "large", "default", "v2", "v3"]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(FAILING), st.integers(10, 100)), min_size=1, max_size=5),
)
def test_engine_and_model_agree_through_any_outage(seed: int, phases: list[Any]) -> None:
    model = compare_outages(Random(seed), phases)
    event(f"incidents: {len(model.causes)}")
    event(f"returns: {len(model.returns)}")


def test_the_outages_compared_do_contain_incidents_and_returns_of_every_kind() -> None:
    phases = [("", 20), ("one", 80), ("", 80), ("large", 60)]
    models = [compare_outages(Random(seed), phases) for seed in range(9)]
    tags = {tag for model in models for tag in model.causes}
    assert ("provider", "one") in tags
    assert ("model", "large") in tags
    assert sum(len(model.returns) for model in models) >= 3
