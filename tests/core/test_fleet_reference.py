"""The engine and the naive model agree on guardrails, judges and adoption, through any story of work and commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import isclose
from random import Random
from typing import Any, NamedTuple

import pytest
from builders import AGENT, AT, TASK, an_invocation
from hypothesis import event, given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.judges import on_scale
from crl_stream.core.monitor.row import StandingOrder
from crl_stream.core.policy import Degradation, Guardrails, Operations, Policy, Rollback
from crl_stream.core.policy import Limits as EngineLimits
from crl_stream.core.policy import Rollout as Stages

from .reference_fleet import FleetModel, Limits
from .reference_guardrails import UNIT, Rail
from .reference_judges import Scale
from .reference_model import exact
from .task import Task
from .test_reference_model import HOSTS, MOODS, assert_same

VARIANTS = ["default", "v2", "v3"]
USUAL = {"default": 1.0, "v2": 1.0, "v3": 0.5}
"""How dear a variant usually is."""
PRICES = [0.5, 1.0, 1.0, 1.0, 1.5, 2.0, 4.0, 8.0]
"""How much dearer the work of a phase is."""
METRICS = ["cost", "duration", "tokens", "calls", "ground"]
ACTIONS = ["alert", "rollback", "off"]
JUDGES = [None, "strict@1", "mild@1", *[f"fair@{number}" for number in range(9)]]
BIAS = {"strict@1": -0.2, "mild@1": 0.15}
COMMANDS = ["activate", "accept", "hold", "resume", "undo", "lift", "start", "abort", "watch", "brake", "free"]
QUALITY = {"success_rate", "avg_reward", "error_rate"}
STAGES = (0.1, 0.4)


class Phase(NamedTuple):
    """Some work of the fleet, or a command."""

    command: str = ""
    """Empty if the fleet works."""
    variant: str = ""
    """Empty for the active one."""
    mood: str = "good"
    where: str = "fleet"
    price: float = 1.0
    judge: str | None = None
    length: int = 20
    up_to_date: float = 0.9
    """Share of outcomes that name the present epoch, if they name one."""
    source: str = "live"
    pause: int = 0
    """Seconds that pass before."""


class Setting(NamedTuple):
    """What a policy is made of."""

    actions: tuple[str, ...] = ("alert", "alert", "off", "off", "off")
    """For each of ``METRICS``."""
    limit: float = 0.5
    floor: float = 0.0
    lower: bool = True
    """Whether lower is worse for the metric ``ground``."""
    budget: int = 50
    memory: int = 40
    head_start: float = 0.0
    room: int = 64
    staged: bool = False

    def rails(self) -> tuple[Rail, ...]:
        worse = {"ground": -1 if self.lower else 1}
        return tuple(
            Rail(name, action, worse.get(name, 1), exact(self.limit), exact(self.floor))  # type: ignore[arg-type]
            for name, action in zip(METRICS, self.actions, strict=True)
        )

    def limits(self) -> Limits:
        return Limits(
            self.rails(), self.budget, self.memory, exact(self.head_start), self.room, self.room > 8, undo_hold=15
        )

    def policy(self) -> Policy:
        cost, duration, tokens, calls, ground = self.actions
        direction = "lower_is_worse" if self.lower else "higher_is_worse"
        numbers = f"{self.limit:g}/{self.floor:g}"
        kept: dict[str, Any] = {"cost": cost, "duration": duration, "tokens": tokens}
        for name in tuple(kept):
            kept |= {f"{name}_increase": self.limit, f"{name}_floor": self.floor}
        kept["metrics"] = (f"calls/{calls}/higher_is_worse/{numbers}", f"ground/{ground}/{direction}/{numbers}")
        return Policy(
            degradation=Degradation(memory=self.memory, false_alarm_budget=self.budget, head_start=self.head_start),
            guardrails=Guardrails(**kept),
            rollback=Rollback(undo_hold=15, runtime_share=0.5 if self.room > 8 else 1.0),
            rollout=Stages(stages=STAGES, min_outcomes=12) if self.staged else Stages(),
            operations=Operations(max_skew_seconds=1e9),
            limits=EngineLimits(runtimes=self.room),
        )


class Story:
    """Sends everything to the engine and to the model, and compares what both say."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting, self.random = setting, Random(seed)
        self.task = Task(setting.policy())
        self.model = FleetModel(setting.limits(), STAGES if setting.staged else (), 12)
        self.open: dict[tuple[str, str], str] = {}
        """The alerts that are open, with their cause, by kind and subject."""
        self.found: Counter[str] = Counter()
        self.number, self.steps = 0, 0
        self.sent: list[str] = []

    def tell(self, phases: list[Phase]) -> Story:
        for phase in phases:
            self.task.pass_time(1_000 * phase.pause)
            for _ in range(1 if phase.command else phase.length):
                self._command(phase) if phase.command else self._work(phase)
                if self.model.ambiguous:
                    self.found["ambiguous"] += 1
                    return self
        assert_same(self.task, self.model, list(self.model.members))
        return self

    # -- what is sent ------------------------------------------------------------------------------
    def _work(self, phase: Phase) -> None:
        if phase.judge is not None and self.sent and self.random.random() < 0.1:
            self._score(phase)
            return
        row, random = self.task.row, self.random
        variant = phase.variant or row.active or VARIANTS[0]
        invocation = self._outcome(phase, variant)
        self.sent = [*self.sent[-30:], invocation.invocation_id]
        self.task.take(invocation)
        self.model.now = self.task.row.time
        self.model.take(invocation)
        self._compare(variant)
        if random.random() < 0.02:
            self.task.take(invocation)
            self.model.take(invocation)
            self._compare(variant)

    def _outcome(self, phase: Phase, variant: str) -> m.Invocation:
        random, epoch = self.random, self.task.row.epoch
        self.number += 1
        host = random.choice(HOSTS[phase.where])
        mood = "good" if phase.where == "one bad" and host != "h3" else phase.mood
        named = epoch if random.random() < phase.up_to_date else max(0, epoch - random.randrange(1, 3))
        judged = phase.judge is not None
        score = 0.6 + BIAS.get(phase.judge or "", 0.0) + random.randrange(-3, 4) / 20
        return an_invocation(
            variant,
            random.choice(MOODS[mood]),
            invocation_id=f"i{self.number}",
            active_epoch=None if random.random() < 0.15 else named,
            runtime_id=host,
            variant_source="explore" if phase.variant and phase.variant != self.task.row.active else phase.source,
            evaluator=phase.judge,
            quality=round(score, 2) if judged and random.random() < 0.5 else None,
            reward=round(score, 2) if judged and random.random() < 0.5 else None,
            **self._figures(variant, phase.price),
        )

    def _figures(self, variant: str, price: float) -> dict[str, Any]:
        random, level = self.random, USUAL[variant] * price
        some: Callable[[], float] = lambda: random.randrange(48, 81) / 64  # noqa: E731
        calls, ground = round(level * some() * UNIT) / UNIT, round(some() / level * UNIT) / UNIT
        present = [random.random() < 0.95 for _ in range(5)]
        metrics = {
            name: value
            for name, value, given in (("calls", calls, present[3]), ("ground", ground, present[4]))
            if given
        }
        return {
            "cost": round(level * some() * UNIT) / UNIT if present[0] else None,
            "duration_seconds": round(20 * level * some() * 4) / 4 if present[1] else None,
            "tokens_input": round(500 * level * some()) if present[2] else None,
            "tokens_output": random.choice([None, round(100 * level)]),
            "metrics": metrics or None,
        }

    def _score(self, phase: Phase) -> None:
        random = self.random
        score = 0.6 + BIAS.get(phase.judge or "", 0.0) + random.randrange(-3, 4) / 20
        is_reward = random.random() < 0.5
        self.number += 1
        feedback = m.Feedback(
            schema_version=1,
            feedback_id=f"f{self.number}",
            timestamp=AT,
            agent_name=AGENT,
            task_type=TASK,
            invocation_id=random.choice(self.sent),
            reward=round(score, 2) if is_reward else None,
            quality=None if is_reward else round(score, 2),
            evaluator=phase.judge,
        )
        self.task.take(feedback)
        self.model.now = self.task.row.time
        self.model.late(feedback)
        self.found["late scores"] += 1
        self._compare(self.model.sent[feedback.invocation_id][0].name)

    def _command(self, phase: Phase) -> None:
        task, model, name = self.task, self.model, phase.variant
        model.now = task.now + 1_000
        named = {"variant_id": name or "v2"}
        if phase.command == "watch":
            names = [*METRICS]
            actions = tuple(self.random.choice(ACTIONS) for _ in names)
            lower = self.random.random() < 0.5
            self.setting = self.setting._replace(actions=actions, lower=lower)
            task.policy, model.limits = self.setting.policy(), replace(model.limits, rails=self.setting.rails())
            return
        if phase.command in ("brake", "free"):
            is_on = phase.command == "brake"
            model.braked = task.now if is_on else None
            task.fleet = StandingOrder("grace", "freeze", task.now, stops="promotions") if is_on else None
            self.found[phase.command] += 1
            return
        if phase.command == "undo" and model.cause == "rollout_aborted":
            return
        sent: dict[str, tuple[type, dict[str, Any], Callable[[], bool]]] = {
            "activate": (m.ActivateVariant, named, lambda: model.order_activate(named["variant_id"])),
            "accept": (m.AcceptLevel, {"variant_id": name or None}, lambda: model.order_accept(name or None)),
            "hold": (m.HoldTask, {}, model.order_hold),
            "resume": (m.ResumeTask, {}, model.order_resume),
            "undo": (m.UndoRollback, {}, model.order_undo),
            "lift": (m.LiftQuarantine, named, lambda: model.order_lift(named["variant_id"])),
            "abort": (m.AbortRollout, {}, model.order_abort),
            "start": (
                m.StartRollout,
                named | {"stages": list(STAGES), "min_outcomes": phase.length},
                lambda: model.start(named["variant_id"], shares=STAGES, needed=phase.length),
            ),
        }
        kind, fields, ordered = sent[phase.command]
        applied = task.order(kind, **fields).outcome == "applied"
        assert applied == ordered(), (phase, task.facts[-1])
        self.found[f"{phase.command} {'applied' if applied else 'refused'}"] += 1
        self._compare(*model.members)

    # -- what both say -----------------------------------------------------------------------------
    def _compare(self, *touched: str) -> None:
        task, model = self.task, self.model
        if model.ambiguous:
            return
        assert task.last is not None
        stated = list(_told(task.last.facts))
        expected = [*model.told, *(("step", *step) for step in model.steps[self.steps :])]
        self.steps = len(model.steps)
        stated.sort(key=_order)
        expected.sort(key=_order)
        same = len(stated) == len(expected) and all(_same(*both) for both in zip(stated, expected, strict=True))
        assert same, f"outcome {model.n}: the engine says\n{stated}\nand the model\n{expected}"
        for one in stated:
            self._count(one)
        self._follow_alerts(task.last.facts)
        assert_same(task, model, touched)
        self._same_state(touched)

    def _count(self, one: tuple[Any, ...]) -> None:
        if one[0] == "alert":
            self.found[f"alert {one[1]} {'resolved' if one[4] else 'open'}"] += 1
        elif one[0] == "rollback":
            self.found["rollback for a guardrail" if one[3] else "rollback for quality"] += 1
        elif one[0] == "adoption":
            self.found[f"adoption {'complete' if one[4] else 'incomplete'}"] += 1
        elif one[0] in ("receipt", "degradation"):
            self.found[one[0]] += 1
        elif one[0] == "activation":
            self.found[f"activation {one[3]}"] += 1

    def _follow_alerts(self, facts: Any) -> None:
        """Every alert that ends was open, and names the same cause."""
        for fact in facts:
            if isinstance(fact, m.Alert) and fact.kind in ("guardrail", "rollback_stuck"):
                key = fact.kind, fact.subject
                if fact.resolved:
                    assert self.open.pop(key) == fact.cause_id
                else:
                    assert key not in self.open
                    self.open[key] = fact.cause_id

    def _same_state(self, touched: tuple[str, ...]) -> None:
        task, model = self.task, self.model
        shifts = {name: (judge.quality.shift, judge.reward.shift) for name, judge in task.row.judges.items()}
        assert shifts == model.scale.shifts()
        if any(shift for both in shifts.values() for shift in both):
            self.found["judge shifts"] = 1
        open_alerts = {
            f"{AGENT}/{TASK} {name} {metric}"
            for name, watched in model.watched.items()
            for (metric, _), meter in watched.meters.items()
            if meter.is_open
        }
        assert {subject for kind, subject in self.open if kind == "guardrail"} == open_alerts
        for name in touched:
            gauges = task.row.variants[name].gauges if name in task.row.variants else {}
            meters = model.watched[name].meters if name in model.watched else {}
            assert {(metric, gauge.sign) for metric, gauge in gauges.items()} == set(meters)
            for (metric, _), meter in meters.items():
                found = sum(gauges[metric].evidence) / 3
                assert found == pytest.approx(meter.e_value(), rel=1e-6, abs=1e-9), (name, metric)


def _told(facts: Any) -> Iterator[tuple[Any, ...]]:
    """Return the facts as the tuples of the model."""
    for fact in facts:
        if isinstance(fact, m.Alert):
            more: tuple[Any, ...] = ()
            if fact.kind == "guardrail" and not fact.resolved:
                more = fact.number, fact.limit
            elif fact.kind == "rollback_stuck":
                more = fact.number, "" if fact.resolved else " ".join(fact.action.split()[5:7])
            yield "alert", fact.kind, fact.severity, fact.subject.partition(" ")[2], fact.resolved, *more
        elif isinstance(fact, m.DegradationAlert):
            metric = fact.metric if fact.state == "degraded" else None
            yield "degradation", fact.variant_id, fact.state, metric, fact.active
        elif isinstance(fact, m.RollbackEvent):
            yield "rollback", fact.from_variant, fact.to_variant, *_guardrail(fact)
        elif isinstance(fact, m.Activation):
            yield "activation", fact.from_variant, fact.to_variant, fact.cause, fact.epoch
        elif isinstance(fact, m.Decision):
            yield "decision", fact.variant_id, fact.decision, fact.epoch
        elif isinstance(fact, m.RolloutStep):
            yield "step", fact.step, fact.variant_id
        elif isinstance(fact, m.Receipt):
            yield "receipt", fact.runtime_id, fact.variant_id, fact.epoch, fact.late_invocations, fact.milliseconds
        elif isinstance(fact, m.Adoption):
            figures = fact.expected, fact.moved, fact.within_two, tuple(fact.stuck), tuple(fact.waiting)
            yield (
                "adoption", fact.variant_id, fact.epoch, fact.cause, fact.complete, *figures,
                fact.median_invocations, fact.median_milliseconds,
            )  # fmt: skip


def _guardrail(fact: m.RollbackEvent) -> tuple[Any, ...]:
    """Return the metric of a rollback for a guardrail and its figures; None for quality."""
    metrics = fact.degradation_metrics
    [name] = {key.removeprefix("recent_") for key in metrics if key.startswith("recent_")} - QUALITY or {None}
    if name is None:
        return (None,)
    sign = -1 if f"{name}_drop_pct" in metrics else 1
    change = metrics[f"{name}_{'drop' if sign < 0 else 'increase'}_pct"]
    before, now = sign * metrics[f"baseline_{name}"], sign * metrics[f"recent_{name}"]
    return name, before, now, change, metrics["sample_size"], fact.judged.baseline_source


def _order(told: tuple[Any, ...]) -> str:
    return repr([None if isinstance(part, float) else part for part in told])


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(
        isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(one, other, strict=True)
    )


settings_drawn = st.builds(
    Setting,
    actions=st.tuples(*[st.sampled_from(ACTIONS)] * 5),
    limit=st.sampled_from([0.25, 0.5, 1.0]),
    floor=st.sampled_from([0.0, 0.25]),
    lower=st.booleans(),
    budget=st.sampled_from([10, 50, 5_000]),
    memory=st.sampled_from([40, 60, 200]),
    head_start=st.sampled_from([0.0, 0.1]),
    room=st.sampled_from([64, 64, 2]),
    staged=st.booleans(),
)
work_drawn = st.builds(
    Phase,
    command=st.just(""),
    variant=st.sampled_from(["", "", *VARIANTS]),
    mood=st.sampled_from(["excellent", "excellent", *sorted(MOODS)]),
    where=st.sampled_from(sorted(HOSTS)),
    price=st.sampled_from(PRICES),
    judge=st.sampled_from([None, *JUDGES]),
    length=st.integers(1, 60),
    up_to_date=st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.0]),
    source=st.sampled_from(["live", "live", "live", "session", "stale"]),
    pause=st.sampled_from([0, 0, 0, 100, 500, 700, 2_000]),
)
commands_drawn = st.builds(
    lambda command, variant, length: Phase(command, variant, length=length),
    st.sampled_from(COMMANDS),
    st.sampled_from(["", *VARIANTS]),
    st.integers(1, 12),
)
PROVEN = [
    Phase(mood="excellent", length=80, up_to_date=1.0),
    Phase(variant="v2", mood="excellent", length=30),
    Phase(variant="v3", mood="good", length=30),
]
DEARER = Phase(mood="excellent", price=4.0, length=40, up_to_date=1.0)
USUALLY = Phase(mood="excellent", length=60, up_to_date=1.0)
CHAPTERS: dict[str, list[Phase]] = {
    "dearer": [DEARER],
    "dearer for a while": [DEARER, USUALLY],
    "dearer and accepted": [
        DEARER,
        Phase("accept"),
        USUALLY._replace(price=4.0, length=70),
        DEARER._replace(price=8.0),
    ],
    "dearer under a hold": [Phase("hold"), DEARER, Phase("resume"), DEARER],
    "dearer under another policy": [DEARER, Phase("watch"), DEARER],
    "a dear successor": [Phase("activate", "v2"), DEARER, Phase("undo"), DEARER],
    "a successor of a dear successor": [Phase("activate", "v2"), DEARER, Phase("activate", "v3"), USUALLY],
    "a dear candidate": [
        Phase("start", "v2", length=30),
        *[
            DEARER._replace(variant=name, price=price, length=5)
            for _ in range(8)
            for name, price in (("v2", 4.0), ("", 1.0))
        ],
    ],
    "another judge": [USUALLY._replace(judge="strict@1"), USUALLY._replace(judge="mild@1", length=70)],
    "many judges": [USUALLY._replace(judge=judge, length=8) for judge in [*JUDGES[1:], "strict@1"]],
    "stragglers": [
        Phase("activate", "v3"),
        USUALLY._replace(up_to_date=0.3, length=40),
        Phase("activate", "v2"),
        USUALLY._replace(up_to_date=0.5, pause=150, length=15),
        USUALLY,
    ],
    "a runtime that ended": [
        USUALLY._replace(where="pair", pause=700, length=10),
        Phase("activate", "v3"),
        USUALLY._replace(where="pair", length=20),
        Phase("undo"),
    ],
    "long work under way": [
        USUALLY._replace(where="only the bad", length=5),
        Phase("activate", "v3"),
        USUALLY._replace(where="only the bad", price=8.0, up_to_date=0.0, length=20),
        USUALLY,
    ],
    "two changes at once": [Phase("activate", "v3"), USUALLY._replace(length=1), Phase("undo"), USUALLY],
    "a collapse while promotions are stopped": [
        Phase("brake"),
        Phase(mood="failing", length=25),
        USUALLY,
        Phase("free"),
    ],
    "a collapse": [Phase(mood="failing", length=25), USUALLY],
}
stories = st.lists(
    st.one_of(
        st.lists(work_drawn, min_size=1, max_size=2),
        commands_drawn.map(lambda one: [one]),
        st.sampled_from(sorted(CHAPTERS)).map(CHAPTERS.__getitem__),
    ),
    min_size=1,
    max_size=8,
).map(lambda parts: [phase for part in parts for phase in part])


@settings(max_examples=20, deadline=None)
@given(settings_drawn, st.integers(0, 2**32), st.booleans(), stories)
def test_engine_and_model_agree_on_every_fact_of_any_story(
    setting: Setting, seed: int, proven: bool, phases: list[Phase]
) -> None:
    story = Story(setting, seed).tell([*(PROVEN if proven else []), *phases])
    for what in story.found:
        event(what)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_engine_and_model_agree_on_the_scale_of_any_scores(seed: int, judges: int) -> None:
    row, scale, random, judge = Task().row, Scale(), Random(seed), "judge@0"
    for _ in range(random.randrange(900)):
        if random.random() < 0.05:
            judge = f"judge@{random.randrange(judges)}"
        quality = random.randrange(1_000_001) if random.random() < 0.8 else None
        reward = random.randrange(-1_000_000, 1_000_001) if random.random() < 0.8 else None
        found = on_scale(row, judge, quality, reward)
        scores = (None if score is None else Fraction(score, 1_000_000) for score in (quality, reward))
        assert found == tuple(None if score is None else score * 1_000_000 for score in scale.put(judge, *scores))
    for level, kind in ((row.level.quality, scale.quality), (row.level.reward, scale.reward)):
        assert not kind.task or level.total // level.n == kind.usual()


@pytest.mark.parametrize("action", ["alert", "rollback"])
@pytest.mark.parametrize("room", [64, 2])
def test_the_stories_compared_do_contain_what_they_are_about(action: str, room: int) -> None:
    found: Counter[str] = Counter()
    for name, chapter in CHAPTERS.items():
        setting = Setting((action, "alert", action, "off", action), room=room, head_start=0.1)
        story = Story(setting, 1).tell([*([] if "judge" in name else PROVEN), *chapter])
        found += story.found
    wanted = {"alert guardrail open", "alert guardrail resolved", "alert rollback_stuck open", "accept applied"}
    wanted |= {"alert rollback_stuck resolved", "judge shifts", "late scores", "adoption complete"}
    wanted |= {"adoption incomplete", "activation rollback"}
    if action == "rollback":
        wanted |= {"rollback for a guardrail", "alert rollout_aborted open"}
    assert wanted <= set(+found), wanted - set(+found)
