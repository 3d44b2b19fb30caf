"""The policies that are compared: the present one, the profiles, a small grid around them, and any that users name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from crl_stream.core.policy import Policy
from crl_stream.settings.policy_file import profile_policy

PRESENT: Final = "present"
_PROFILES: Final = ("guide", "production")
_KEPT: Final = frozenset(("learning", "operations", "proposals", "limits"))
"""Sections of the present policy that no profile replaces, because they do not decide when to roll back or promote."""
_GRID: Final[tuple[tuple[str, str, Mapping[str, Any]], ...]] = (
    ("guide window=50", "guide", {"lookback_window": 50}),
    ("guide limits x2", "guide", {"success_drop": 2.0, "reward_drop": 2.0, "error_increase": 2.0}),
    ("production budget=1000", "production", {"false_alarm_budget": 1_000}),
    ("production budget=20000", "production", {"false_alarm_budget": 20_000}),
    ("production budget=50000", "production", {"false_alarm_budget": 50_000}),
    ("production window=50", "production", {"lookback_window": 50}),
    ("production limits x2", "production", {"success_drop": 2.0, "reward_drop": 2.0, "error_increase": 2.0}),
)
"""The grid: name, profile, and settings of ``[degradation]``; a limit is given as a factor of the profile's limit."""
_LIMITS: Final = ("success_drop", "reward_drop", "error_increase")


class Alternative(NamedTuple):
    """A policy with a name."""

    name: str
    policy: Policy
    same_as: tuple[str, ...] = ()
    """Names of alternatives with the same decisions, which are not measured separately."""


def alternatives(
    present: Policy, named: Sequence[tuple[str, Policy]] = (), *, only_named: bool = False
) -> list[Alternative]:
    """Return the alternatives, the present policy first; equal ones are merged.

    ``named`` are policies that a user asked for.  They are compared as they are; a profile only replaces the sections
    that decide about rollbacks and promotions.  With ``only_named``, neither profiles nor the grid are added.
    """
    found = [Alternative(PRESENT, present)]
    found += [Alternative(name, _decisive(policy, present)) for name, policy in named]
    if not only_named:
        profiles = {name: _with_profile(present, name) for name in _PROFILES}
        found += [Alternative(name, policy) for name, policy in profiles.items()]
        found += [Alternative(name, _changed(profiles[profile], changes)) for name, profile, changes in _GRID]
    merged: dict[bytes, Alternative] = {}
    for one in found:
        content = msgspec.json.encode(one.policy)
        known = merged.get(content)
        merged[content] = one if known is None else known._replace(same_as=(*known.same_as, one.name))
    return list(merged.values())


def _with_profile(present: Policy, profile: str) -> Policy:
    chosen = profile_policy(profile).default
    return replace(present, **{name: getattr(chosen, name) for name in chosen.__struct_fields__ if name not in _KEPT})


def _decisive(policy: Policy, present: Policy) -> Policy:
    """Return the policy with the present mode: a measurement does not depend on it, and a change must keep it."""
    return replace(policy, operations=replace(policy.operations, mode=present.operations.mode))


def _changed(policy: Policy, changes: Mapping[str, Any]) -> Policy:
    before = policy.degradation
    given = {
        name: round(getattr(before, name) * value, 6) if name in _LIMITS else value for name, value in changes.items()
    }
    return replace(policy, degradation=replace(before, **given))
