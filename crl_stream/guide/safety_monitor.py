"""``SafetyMonitor``: may a variant be applied without a person, and is it degraded (guide: Components, 1)."""

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
    """Asks the engine about a variant; changes nothing.

    A threshold that is not given is the store's own, which is the guide's unless the settings say otherwise.
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
        """Those that were given."""
        with_thresholds(Policy(), self.own_thresholds)  # a bad one is refused here, not at the first question

    @property
    def thresholds(self) -> dict[str, Any]:
        """Every threshold in force by its name, for tasks without a policy of their own."""
        return thresholds_of(with_thresholds(self.store.source.policies.default, self.own_thresholds))

    def policy_of(self, agent_name: str, task_type: str) -> Policy:
        """What a task is judged by here: the store's policy with the thresholds that were given."""
        return self._policy(asked(agent_name, task_type, "-"))

    def should_auto_apply_variant(
        self,
        agent_name: str,
        task_type: str,
        variant_id: str,
        q_value: float | None = None,
        n_visits: int | None = None,
    ) -> tuple[DecisionKind, str]:
        """(decision, reasoning) of the guide's matrix: ``auto_apply``, ``human_approval`` or ``no_action``.

        Q-value and visits are the store's unless given.  The active variant is ``no_action``, as it is the default
        already; a degradation within its last window, or a quarantine, makes ``human_approval`` of ``auto_apply``.
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
        """(degraded, metrics) of the last outcomes against the baseline.

        ``lookback_window`` outcomes back, 20 unless the monitor or the settings say otherwise; over those that there
        are, ``sample_size`` of them.  The metrics are the guide's, with ``verdict`` (``INCONCLUSIVE`` is not degraded)
        and ``reason``, one sentence.  A variant that nobody has heard of gives (False, ``{"error": ...}``).
        """
        which = asked(agent_name, task_type, variant_id)
        own = {} if lookback_window is None else {"lookback_window": lookback_window}
        policy = with_thresholds(self._policy(which), own)
        variant = self.store.source.looking_back(which.key, variant_id, policy.degradation.lookback_window)
        if variant is None:
            return False, {"error": f"Nothing is known of variant {variant_id} of {which.key}", "sample_size": 0}
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
    """The variant as if it had these figures; what is known of it beside them stays."""
    if q_value is not None:
        if not math.isfinite(q_value):
            raise UsageError(f"q_value {q_value} is no number.", hint="a Q-value lies in [-1, 1]")
        variant = replace(variant, q=float(q_value))
    if n_visits is not None:
        if n_visits < 0:
            raise UsageError(f"n_visits {n_visits} is negative.", hint="it counts invocations")
        # How long ago it was degraded stays as it was.
        ago = variant.life.n - variant.degraded_at
        at = variant.degraded_at if variant.degraded_at < 0 else max(0, n_visits - ago)
        variant = replace(variant, life=Sums(n_visits), degraded_at=at)
    return variant
