"""Maps the guide's names of thresholds to the fields of the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import UsageError

SETTING_OF: Final[dict[str, tuple[str, str]]] = {
    "auto_apply_q_threshold": ("auto_apply", "q_threshold"),
    "auto_apply_min_samples": ("auto_apply", "min_samples"),
    "human_approval_q_threshold": ("human_approval", "q_threshold"),
    "human_approval_min_samples": ("human_approval", "min_samples"),
    "lookback_window": ("degradation", "lookback_window"),
    "degradation_success_threshold": ("degradation", "success_drop"),
    "degradation_reward_threshold": ("degradation", "reward_drop"),
    "degradation_error_threshold": ("degradation", "error_increase"),
    "degradation_baseline": ("degradation", "baseline"),
    "degradation_min_baseline": ("degradation", "min_baseline"),
    "degradation_min_samples": ("degradation", "min_recent"),
    "degradation_guard": ("degradation", "guard"),
    "degradation_false_alarm_budget": ("degradation", "false_alarm_budget"),
    "rollback_min_samples": ("rollback", "min_samples"),
}
"""Section and field of the policy, by keyword argument: the guide's, and others named in the same style."""


def with_thresholds(policy: Policy, thresholds: Mapping[str, Any]) -> Policy:
    """Return ``policy`` with these thresholds; raises ``UsageError`` that names an invalid one."""
    if not thresholds:
        return policy
    page = msgspec.to_builtins(policy)
    for name, value in thresholds.items():
        section, field = SETTING_OF[name]
        page[section][field] = value
        try:
            # Convert one by one, so that the error can name the argument.
            msgspec.convert(page, Policy)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{name} = {value!r}: {str(error).partition(' - ')[0]}.",
                hint=f"in the settings it is {section}.{field}",
            ) from None
    return msgspec.convert(page, Policy)


def with_thresholds_everywhere(policies: PolicySet, thresholds: Mapping[str, Any]) -> PolicySet:
    """Return ``policies`` with these thresholds in the default policy and in all overrides."""
    return PolicySet(
        with_thresholds(policies.default, thresholds),
        {name: with_thresholds(policy, thresholds) for name, policy in policies.agents.items()},
        {name: with_thresholds(policy, thresholds) for name, policy in policies.tasks.items()},
    )


def thresholds_of(policy: Policy) -> dict[str, Any]:
    """Return every threshold of a policy by its name in the guide."""
    return {name: getattr(getattr(policy, section), field) for name, (section, field) in SETTING_OF.items()}
