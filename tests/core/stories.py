"""Random stories of a task in which everything automatic happens: rollbacks, rollouts, incidents, guardrails, holds."""

from __future__ import annotations

import random
from typing import Any, Final

from builders import a_command, an_invocation

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import StandingOrder, TagReport
from crl_stream.core.policy import (
    AutoApply,
    CommonCause,
    Degradation,
    Guardrails,
    HumanApproval,
    Limits,
    Operations,
    Policy,
    Rollback,
    Rollout,
)

VARIANTS: Final = ("a", "b", "c")
_FAST: Final = AutoApply(cooldown=3, min_samples=5, min_outcomes_since_active=3, min_lead=0.02)
_COSTS: Final = Guardrails(cost="rollback", duration="alert", metrics=("calls/rollback/higher_is_worse/0.3/0",))
_WIDE: Final = Degradation(false_alarm_budget=20, success_drop=0.4, reward_drop=0.6)

POLICIES: Final[dict[str, Policy]] = {
    "guide": Policy(auto_apply=_FAST, rollback=Rollback(undo_hold=5, renotify=7)),
    "evidence": Policy(
        auto_apply=_FAST,
        degradation=Degradation(
            guard="evidence",
            false_alarm_budget=40,
            baseline="recent",
            memory=60,
            min_recent=8,
            min_baseline=10,
            success_floor=1.5,
            error_floor=1.5,
            reward_floor=0.05,
            head_start=0.02,
        ),
        rollback=Rollback(runtime_share=0.6, undo_hold=5),
        operations=Operations(exploration=0.2),
    ),
    "stages": Policy(
        auto_apply=_FAST,
        rollout=Rollout(stages=(0.2, 0.5), min_outcomes=5, patience=8),
        rollback=Rollback(runtime_share=0.7, undo_hold=5),
    ),
    "eager": Policy(
        auto_apply=AutoApply(
            q_threshold=0.5, cooldown=30, min_samples=5, min_outcomes_since_active=8, min_lead=0.01, confidence=0.1
        ),
        degradation=Degradation(success_drop=0.3, reward_drop=0.5),
        human_approval=HumanApproval(q_threshold=0.3),
        rollback=Rollback(undo_hold=5),
    ),
    "shadow": Policy(auto_apply=_FAST, operations=Operations(mode="shadow")),
    "observe": Policy(auto_apply=_FAST, operations=Operations(mode="observe")),
    "costs": Policy(auto_apply=_FAST, degradation=_WIDE, guardrails=_COSTS, rollback=Rollback(undo_hold=5)),
    "shared": Policy(
        degradation=Degradation(min_recent=6),
        common_cause=CommonCause(hold_outcomes=15, hold_hours=1.0, clean_outcomes=8),
        rollback=Rollback(undo_hold=5),
        limits=Limits(variants=8),
    ),
}
"""Policies under which every kind of step happens often."""


class Storyteller:
    """Tells a story, message by message; qualities drift, and sometimes everything fails at once.

    With ``newcomers``, a better variant appears from time to time, and the older ones become worse, but not degraded.
    """

    def __init__(self, seed: int, *, newcomers: bool = False) -> None:
        self.random = random.Random(seed)
        self.newcomers = newcomers
        self.names = list(VARIANTS)
        self.count = 0
        self.quality = {name: self.random.choice((0.8, 0.9, 0.97, 1.0)) for name in VARIANTS}
        self.cost = dict.fromkeys(VARIANTS, 1.0)
        self.outage = 0
        self.now = 0
        self.fleet: StandingOrder | None = None
        self.tags: dict[str, TagReport] = {}

    def messages(self, active: str | None, epoch: int, candidate: str | None, now: int) -> list[Any]:
        """Return what arrives next, given the state of the task."""
        chance, self.now = self.random, now
        self.count += 1
        if self.newcomers and self.count % 50 == 0:
            name = f"n{self.count}"
            self.names = [*self.names[-2:], name]
            self.quality[name], self.cost[name] = 1.0, 1.0
            for older in self.names[:-1]:
                self.quality[older] = chance.choice((0.75, 0.8, 0.85))
        if chance.random() < 0.02 and not self.newcomers:
            name = chance.choice(VARIANTS)
            self.quality[name] = chance.choice((0.0, 0.5, 0.7, 0.9, 0.97, 1.0))
        if chance.random() < 0.02:
            self.cost[chance.choice(VARIANTS)] = chance.choice((1.0, 1.0, 1.6, 4.0))
        if chance.random() < 0.01 and not self.newcomers:
            self.quality = {name: chance.choice((0.9, 0.97, 1.0)) for name in VARIANTS}
            self.cost = dict.fromkeys(VARIANTS, 1.0)
        if chance.random() < 0.006:
            self.outage = chance.randrange(8, 40)
        self.outage = max(0, self.outage - 1)
        if chance.random() < 0.03:
            return [self._order()]
        if chance.random() < 0.02:
            self._fleet_order()
        return [self._outcome(active, epoch, candidate)]

    def _outcome(self, active: str | None, epoch: int, candidate: str | None) -> m.Invocation:
        chance = self.random
        explored = active is None or chance.random() < 0.35
        name = chance.choice(self.names) if explored else active or "a"
        if candidate is not None and chance.random() < 0.4:
            name, explored = candidate, True
        quality = self.quality[name]
        if self.outage and name != "c":
            quality = 0.05
        good = chance.random() < quality
        source = "explore" if explored and candidate is None and chance.random() < 0.9 else None
        return an_invocation(
            name,
            "success" if good else chance.choice(("failure", "error")),
            active_epoch=epoch if chance.random() < 0.95 else max(0, epoch - 1),
            variant_source=source,
            runtime_id=chance.choice(("r1", "r2", "r3", None)),
            provider="p" if name != "c" else "q",
            cost=self.cost[name] * chance.choice((0.9, 1.0, 1.1)),
            metrics={"calls": self.cost[name]},
            duration_seconds=30.0,
            role="shadow" if chance.random() < 0.02 else None,
        )

    def _order(self) -> Any:
        chance = self.random
        kind = chance.choice(
            (
                m.HoldTask, m.ResumeTask, m.ResumeTask, m.PinVariant, m.UnpinVariant, m.UndoRollback, m.LiftQuarantine,
                m.ActivateVariant, m.StartRollout, m.StartRollout, m.PauseRollout, m.ResumeRollout, m.AcceptLevel,
                m.AbortRollout, m.RetireVariant, m.RegisterVariant,
            )
        )  # fmt: skip
        fields: dict[str, Any] = {"hours": 0.01} if kind in {m.HoldTask, m.PinVariant} else {}
        if kind in {m.LiftQuarantine, m.ActivateVariant, m.StartRollout, m.RetireVariant, m.RegisterVariant}:
            fields["variant_id"] = chance.choice(self.names)
        return a_command(kind, **fields)

    def _fleet_order(self) -> None:
        if self.fleet is not None or self.random.random() < 0.5:
            self.fleet = None
        else:
            until, stops = self.now + 20_000, "all" if self.count % 2 else "promotions"
            self.fleet = StandingOrder("grace", "freeze", self.now, until=until, stops=stops)  # type: ignore[arg-type]
        report = TagReport("tag-1", self.now + 60_000, "provider:p is failing in many tasks")
        self.tags = {} if self.tags or self.random.random() < 0.5 else {"provider:p": report}
