"""``SafetyMonitor``: decides whether a variant may be applied automatically or is degraded (guide: Components, 1)."""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace

from crl_stream.core.messages.parts import DecisionKind
from crl_stream.core.monitor.decision_matrix import decide, reasoning
from crl_stream.core.monitor.detectors import figures_of
from crl_stream.core.monitor.grounds import sentence
from crl_stream.core.monitor.row import Sums, Variant
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.verdict import DEGRADED, judge
from crl_stream.core.policy import Policy
from crl_stream.errors import UsageError
from crl_stream.guide.source import Asked, asked
from crl_stream.guide.store import Store
from crl_stream.guide.thresholds import thresholds_of, with_thresholds


class SafetyMonitor:
    """Evaluates a variant with the engine; changes nothing.

    Thresholds that are not given come from the store: they are the guide's, unless the settings differ.
    """

    def __init__(
        self,
        *,
        auto_apply_q_threshold: float | None = None,
        auto_apply_min_samples: int | None = None,
        human_approval_q_threshold: float | None = None,
        human_approval_min_samples: int | None = None,
        lookback_window: int | None = None,
        degradation_success_threshold: float | None = None,
        degradation_reward_threshold: float | None = None,
        degradation_error_threshold: float | None = None,
        degradation_baseline: str | None = None,
        degradation_min_baseline: int | None = None,
        degradation_min_samples: int | None = None,
        degradation_guard: str | None = None,
        degradation_false_alarm_budget: int | None = None,
        store: Store | None = None,
    ) -> None:
        given = {
            "auto_apply_q_threshold": auto_apply_q_threshold,
            "auto_apply_min_samples": auto_apply_min_samples,
            "human_approval_q_threshold": human_approval_q_threshold,
            "human_approval_min_samples": human_approval_min_samples,
            "lookback_window": lookback_window,
            "degradation_success_threshold": degradation_success_threshold,
            "degradation_reward_threshold": degradation_reward_threshold,
            "degradation_error_threshold": degradation_error_threshold,
            "degradation_baseline": degradation_baseline,
            "degradation_min_baseline": degradation_min_baseline,
            "degradation_min_samples": degradation_min_samples,
            "degradation_guard": degradation_guard,
            "degradation_false_alarm_budget": degradation_false_alarm_budget,
        }
        self.store = store or Store.default()
        self.own_thresholds = {name: value for name, value in given.items() if value is not None}
        """The thresholds that the caller passed."""
        with_thresholds(Policy(), self.own_thresholds)  # this refuses a bad threshold now, not on first use

    @property
    def thresholds(self) -> dict[str, Any]:
        """Return, by name, the thresholds in force for tasks without their own policy."""
        return thresholds_of(with_thresholds(self.store.source.policies.default, self.own_thresholds))

    def policy_of(self, agent_name: str, task_type: str) -> Policy:
        """Return the store's policy for a task, with the given thresholds."""
        return self._policy(asked(agent_name, task_type, "-"))

    def should_auto_apply_variant(
        self,
        agent_name: str,
        task_type: str,
        variant_id: str,
        q_value: float | None = None,
        n_visits: int | None = None,
    ) -> tuple[DecisionKind, str]:
        """Return (decision, reasoning) by the guide's matrix: ``auto_apply``, ``human_approval`` or ``no_action``.

        ``agent_name``, ``task_type`` and ``variant_id`` name the variant. ``q_value`` in [-1, 1] and ``n_visits``
        default to the store's. The active variant gets ``no_action``, because it is already the default. A recent
        degradation or a quarantine turns ``auto_apply`` into ``human_approval``.
        """
        which = asked(agent_name, task_type, variant_id)
        row = self.store.source.row(which.key)
        known = row.variants.get(variant_id) if row is not None else None
        variant = _with_figures(known or Variant(variant_id), q_value, n_visits)
        active = row is not None and row.active == variant_id
        policy = self._policy(which)
        return decide(variant, active=active, policy=policy), reasoning(variant, active=active, policy=policy)

    def check_performance_degradation(
        self, agent_name: str, task_type: str, variant_id: str, lookback_window: int | None = None
    ) -> tuple[bool, dict[str, Any]]:
        """Compare the last outcomes with the baseline; return (degraded, metrics).

        ``agent_name``, ``task_type`` and ``variant_id`` name the variant. ``lookback_window`` is the number of outcomes
        to look back; by default this monitor's, else the settings' (20). The metrics are the guide's, plus
        ``verdict`` (``INCONCLUSIVE`` does not count as degraded) and ``reason``, one sentence; ``sample_size`` is the
        number of outcomes used. An unknown variant gives (False, ``{"error": ...}``).
        """
        which = asked(agent_name, task_type, variant_id)
        own = {} if lookback_window is None else {"lookback_window": lookback_window}
        policy = with_thresholds(self._policy(which), own)
        variant = self.store.source.looking_back(which.key, variant_id, policy.degradation.lookback_window)
        if variant is None:
            return False, {"error": f"Nothing is known about variant {variant_id} of {which.key}", "sample_size": 0}
        rules = rules_of(policy)
        verdict = judge(variant, rules)
        figures: dict[str, Any] = figures_of(verdict.baseline, variant.judged, verdict.worst)
        return verdict.kind == DEGRADED, figures | {
            "verdict": verdict.kind,
            "reason": sentence(variant, verdict, rules),
        }

    def _policy(self, which: Asked) -> Policy:
        return with_thresholds(self.store.source.policy_of(which.key), self.own_thresholds)


def _with_figures(variant: Variant, q_value: float | None, n_visits: int | None) -> Variant:
    """Return a copy of the variant with these figures; everything else is unchanged."""
    if q_value is not None:
        if not math.isfinite(q_value):
            raise UsageError(f"q_value {q_value} is not a number.", hint="a Q-value lies in [-1, 1]")
        variant = replace(variant, q=float(q_value))
    if n_visits is not None:
        if n_visits < 0:
            raise UsageError(f"n_visits {n_visits} is negative.", hint="it counts invocations")
        # Keep the number of outcomes since the variant was degraded.
        ago = variant.life.n - variant.degraded_at
        at = variant.degraded_at if variant.degraded_at < 0 else max(0, n_visits - ago)
        variant = replace(variant, life=Sums(n_visits), degraded_at=at)
    return variant
