"""A policy prepared for the hot path: looked up, rounded and summed once instead of for every outcome."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from crl_stream.core.ids import policy_hash
from crl_stream.core.monitor import evidence
from crl_stream.core.monitor.detector import Detector
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.guardrail import guardrails_of
from crl_stream.core.monitor.learning import Formula
from crl_stream.core.monitor.row import MICRO
from crl_stream.core.policy import Policy


class Rules:
    """The parts of a policy that a step needs, in the form it needs them."""

    __slots__ = (
        "before",
        "checks",
        "claims",
        "comparable",
        "confidence",
        "doubt",
        "duplicate_ids",
        "enforced",
        "enough",
        "exploration",
        "floors",
        "formula",
        "further",
        "gauge_memory",
        "guarded",
        "guardrails",
        "head_start",
        "judging",
        "least_q",
        "limits",
        "max_skew",
        "memory",
        "min_baseline",
        "min_recent",
        "mode",
        "on_change",
        "own_baseline",
        "parole",
        "policy",
        "rate",
        "recent",
        "runtime_share",
        "shares",
        "signs",
        "silence",
        "size",
        "snapshot_ms",
        "snapshot_outcomes",
        "threshold",
        "weighs",
    )

    def __init__(self, policy: Policy) -> None:
        degradation, operations, limits = policy.degradation, policy.operations, policy.limits
        self.policy = policy
        self.formula = Formula(policy.learning)
        self.size, self.rate = degradation.lookback_window, policy.learning.rate
        self.guarded = degradation.guard == "evidence"
        self.threshold = evidence.threshold(degradation)
        self.claims = evidence.Claims(degradation)
        self.head_start = degradation.head_start * self.threshold
        """The value that each statistic of a newcomer begins with."""
        self.min_baseline = degradation.min_baseline
        self.own_baseline = degradation.min_baseline
        """Outcomes a variant must have at its activation to be judged against its own lifetime."""
        if self.guarded and self.own_baseline < evidence.MIN_LIFETIME:
            # With evidence, a variant's own baseline needs a longer lifetime.  A newcomer that fails at once would
            # spoil its own baseline before that.
            self.own_baseline = evidence.MIN_LIFETIME
        self.min_recent = min(degradation.min_recent, self.size)  # a smaller window is judged when full
        self.checks: tuple[tuple[Detector, int, int], ...] = tuple(
            [(found, found.limit(degradation), round(found.floor_of(degradation) * MICRO)) for found in DETECTORS]
        )
        """All detectors with their limits and floors in millionths."""
        self.further = self.checks[evidence.WRITTEN_OUT :]
        """The detectors that ``is_suspect`` has to call, with their limits and floors."""
        self.comparable = self.checks[: evidence.WRITTEN_OUT] + tuple(
            [check for check in self.further if "squares" not in check[0].sums]
        )
        """The detectors that need no squares of rewards, because the sums of a runtime lack these."""
        self.limits = self.checks[0][1], self.checks[1][1], self.checks[2][1]
        self.floors = self.checks[0][2], self.checks[1][2], self.checks[2][2]
        """The limits and floors of the inlined detectors."""
        self.before = degradation.baseline == "before_window"
        """Whether the baseline is the lifetime before the window."""
        self.recent = degradation.baseline == "recent"
        self.memory = degradation.memory if self.recent else 0
        self.gauge_memory = degradation.memory
        """Like ``memory``, for guardrail metrics, which are always compared with the recent past."""
        self.guardrails: tuple[Any, ...] = guardrails_of(policy.guardrails)
        self.signs: dict[str, int] = {each.name: int(each.sign) for each in self.guardrails}
        """For each metric that is watched: 1 if higher is worse, -1 if lower is worse."""
        self.enough = degradation.memory // 2
        """Number of outcomes in a newcomer's own recent past that are enough to replace its frozen baseline."""
        self.weighs = self.enough if self.recent else 0
        """Like ``enough``, for the evidence; 0 if the baseline is not the recent past."""
        self.least_q = min(policy.auto_apply.q_threshold, policy.human_approval.q_threshold)
        """The lowest Q that a candidate may have."""
        self.confidence, self.doubt = policy.rollback.confidence, policy.rollback.doubt
        self.parole = policy.rollback.parole
        self.shares = shares_of(policy.rollout.stages)
        """Shares of a rollout's stages in thousandths; empty if promotions take effect at once."""
        self.judging = policy_hash(_ENCODER.encode(_judging(policy)))
        """Digest of the settings that decide whether a rollback is reported, and to which target."""
        self.runtime_share = round(policy.rollback.runtime_share * MICRO)
        """Share of a window's loss that one runtime may account for, in millionths; 1,000,000 sets no limit."""
        self.silence = round(2_000 * policy.learning.baseline_seconds_high)
        """Milliseconds without an outcome after which a runtime cannot contradict others: two long invocations."""
        self.mode, self.exploration, self.on_change = operations.mode, operations.exploration, operations.on_change
        self.enforced = operations.mode == "enforce"
        """Whether the mode is ``enforce``, so that decisions are carried out."""
        self.max_skew = operations.max_skew_seconds
        self.duplicate_ids = limits.duplicate_ids
        self.snapshot_outcomes, self.snapshot_ms = limits.snapshot_outcomes, round(limits.snapshot_seconds * 1_000)


def shares_of(stages: Iterable[float]) -> list[int]:
    """Return shares from 0 to 1 in thousandths, ascending.

    >>> shares_of((0.5, 0.05, 0.05))
    [50, 500]
    """
    return sorted({min(999, max(1, round(stage * 1_000))) for stage in stages})


def _judging(policy: Policy) -> list[Any]:
    rollback = policy.rollback
    chosen = [rollback.min_samples, rollback.confidence, rollback.doubt, rollback.parole, rollback.runtime_share]
    return [msgspec.to_builtins(policy.degradation), msgspec.to_builtins(policy.learning), chosen]


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_rules: dict[int, Rules] = {}


def rules_of(policy: Policy) -> Rules:
    """Return the rules of a policy, computed once per policy object."""
    rules = _rules.get(id(policy))
    if rules is None or rules.policy is not policy:
        if len(_rules) >= 1024:
            _rules.clear()
        rules = _rules[id(policy)] = Rules(policy)
    return rules
