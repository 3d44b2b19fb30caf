"""The policies of the recorded hour: first the guide's, then two sets that reach every branch of the engine."""

from __future__ import annotations

from typing import Any

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.policy import (
    AutoApply,
    Degradation,
    Guardrails,
    Learning,
    Limits,
    Operations,
    Policy,
    PolicySet,
    Proposals,
    Rollback,
    Rollout,
)

from .scribe import Scribe

LIMITS = Limits(
    variants=6,
    runtimes=3,
    duplicate_ids=48,
    command_ids=6,
    waiting_feedback=2,
    reviews=3,
    snapshot_outcomes=8,
    snapshot_seconds=2.0,
)
SHORT = Operations(pin_hours=0.01, hold_hours=0.02)
BASE = Policy(
    rollback=Rollback(undo_hold=12, renotify=15),
    limits=LIMITS,
    operations=SHORT,
    proposals=Proposals(min_invocations=30, retire_after_rollbacks=2, expires_days=1, enforce_min_rollbacks=2),
)
EVIDENCE = Degradation(guard="evidence", false_alarm_budget=400, baseline="before_window")
BOUNDED = Degradation(
    baseline="recent", memory=40, success_floor=2.0, reward_floor=1.0, error_floor=2.0, head_start=0.01
)
TINY = Degradation(lookback_window=4, min_recent=10, min_baseline=2, clean_verdicts=3)


def _but(policy: Policy, **changes: Any) -> Policy:
    return msgspec.structs.replace(policy, **changes)


def _mode(mode: Any, **more: Any) -> Policy:
    return _but(BASE, operations=Operations(mode=mode, pin_hours=0.01, hold_hours=0.02, **more))


FIRST = PolicySet(
    default=BASE,
    agents={
        "shadow-runner": _mode("shadow"),
        "watcher": _mode("observe"),
        "guarded": _but(_mode("enforce", exploration=0.1), degradation=EVIDENCE),
        "stubborn": _but(BASE, degradation=Degradation(guard="evidence", false_alarm_budget=1_000_000_000)),
        "flapping": _but(BASE, degradation=TINY, rollback=Rollback(undo_hold=0, renotify=5, min_samples=3)),
        "bounded": _but(BASE, degradation=BOUNDED, auto_apply=AutoApply(confidence=2.0)),
        "roller": _but(BASE, rollout=Rollout(stages=(0.1, 0.5), min_outcomes=6, patience=5)),
        "crowded": _but(BASE, limits=msgspec.structs.replace(LIMITS, variants=2, runtimes=1)),
        "eager": _but(
            _mode("enforce", exploration=0.05, max_skew_seconds=30.0),
            auto_apply=AutoApply(q_threshold=0.6, min_samples=4, min_outcomes_since_active=3, cooldown=5),
            degradation=Degradation(lookback_window=12, min_recent=6, clean_verdicts=4, min_baseline=10),
            learning=Learning(rate=0.2),
        ),
        "thrifty": _but(
            BASE,
            guardrails=Guardrails(
                cost="rollback", tokens="alert", metrics=("groundedness/alert/lower_is_worse/0.2/0.05",)
            ),
            operations=Operations(exploration=0.1, on_change="next_session", pin_hours=0.01, hold_hours=0.02),
        ),
        "weightless": _but(BASE, learning=Learning(outcome_weight=0.0, quality_weight=0.5, speed_weight=0.0)),
    },
    tasks={
        "guarded/lifetime": _but(
            BASE, degradation=Degradation(guard="evidence", false_alarm_budget=10, min_baseline=12)
        ),
        "shadow-runner/guarded": _but(
            _mode("shadow"), degradation=Degradation(guard="evidence", false_alarm_budget=50)
        ),
    },
)
"""The set of policies in force for most of the recorded hour."""

SECOND = PolicySet(
    default=_but(
        BASE,
        limits=msgspec.structs.replace(LIMITS, runtimes=1, reviews=1, duplicate_ids=12, snapshot_seconds=0.0),
        degradation=Degradation(lookback_window=8, min_recent=6),
    ),
    agents={
        "shadow-runner": BASE,
        "watcher": _but(BASE, auto_apply=AutoApply(cooldown=2)),
        "eager": _mode("shadow"),
        "flapping": _mode("observe"),
    },
)
"""A set of policies with shorter windows, smaller limits and other modes."""


def set_policy(scribe: Scribe, policies: PolicySet, **fields: Any) -> None:
    """Apply a set of policies."""
    scribe.order(m.SetPolicy, policy=policies, policy_hash=policies.digest(), **fields)
