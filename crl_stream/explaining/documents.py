"""What an explanation consists of.  The JSON of ``crl explain`` has the same fields under the same names."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from crl_stream.core.messages import Candidate, Evidence, Position

Kind = Literal[
    "rollback",
    "degradation",
    "alert",
    "decision",
    "activation",
    "rollout",
    "hindsight",
    "benefit",
    "adoption",
    "proposal",
    "command",
    "receipt",
    "tag",
]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of the judged window, compared with the baseline."""

    metric: str
    baseline: float
    recent: float
    change: float | None
    """Relative change for the worse; absent if it cannot be computed."""
    limit: float | None
    """The largest change that the policy accepts; absent if the policy is no longer known."""
    setting: str
    """Name of the setting with the limit; ``guardrails`` for a guardrail metric."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One judged outcome; what its record says is absent if the log no longer has the record."""

    offset: int
    outcome: str
    """``S`` success, ``F`` failure, ``E`` error."""
    reward: float
    invocation_id: str | None = None
    runtime_id: str | None = None
    trace_id: str | None = None
    trace_url: str | None = None
    """The trace's address, from ``web.trace_url_template``."""


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """The judged outcomes, oldest first."""

    partition: int
    outcomes: list[Outcome]
    gone: int = 0
    """How many of the outcomes are no longer on the log."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What the outcomes were compared with."""

    n: int
    source: str
    variant_id: str | None
    words: str
    """Where the baseline comes from, in words."""


class PolicyOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """The policy that decided, and who set it."""

    policy_hash: str
    actor: str | None = None
    """Who set the policy; absent if it is the guide's, or if the command is no longer on the topic."""
    set_at: str | None = None
    command_id: str | None = None
    reason: str | None = None
    is_guide: bool = False
    """Whether it is the guide's policy, which is in force until a person or a worker sets another."""
    limits: dict[str, Any] | None = None
    """The policy's ``degradation`` section for the task; absent if the policy is no longer known."""


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact in the chain before or after the one that is explained."""

    what: str
    """What kind of fact it is, in one or two words: ``degraded``, ``undone``, ``adopted``."""
    id: str
    timestamp: str
    words: str
    actor: str = "monitor"
    position: Position | None = None
    detail: dict[str, Any] | None = None
    """Figures of the fact that the words leave out."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why something happened, and what has happened since."""

    id: str
    kind: Kind
    sentence: str
    """What happened, in one sentence."""
    timestamp: str
    task: str | None
    actor: str
    """Who caused it: a person, a program, or ``monitor``."""
    reason: str
    """Why: the reason that a person gave, or the rule that decided."""
    result: str
    """What the monitor answered to a command; empty if it is no answer."""
    fact: dict[str, Any]
    """The message as it is on its topic."""
    topic: str
    review: str | None = None
    """For a rollback: ``not reviewed``, ``undone by ada``, ``shadow: right``."""
    epoch: int | None = None
    enforced: bool | None = None
    position: Position | None = None
    """The record of the log with which it happened."""
    proof_id: str | None = None
    """The rollback or degradation that the figures, outcomes, evidence and candidates come from."""
    figures: list[Figure] = []
    strip: Strip | None = None
    baseline: Baseline | None = None
    evidence: Evidence | None = None
    candidates: list[Candidate] | None = None
    """The variants considered as targets, best first; absent if none had to be chosen."""
    policy: PolicyOrigin | None = None
    causes: list[Step] = []
    """What led to it, oldest first."""
    since: list[Step] = []
    """What has happened because of it, oldest first."""
    undo_command: str | None = None
    """Undoes the change; absent if there is nothing to undo, or if a later change has replaced it."""
    no_undo: str | None = None
    """Why a change can no longer be undone."""
    touches: str = ""
    """What the message touches, in words; empty if it does not say so."""
    last_time: str = ""
    """The task's previous change of that kind and what became of it, in words; empty if it names none."""
    further_commands: list[str] = []
    """What else a person may do about it."""
