"""Compares two policy sets, setting by setting."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Policy, PolicySet


class Difference(NamedTuple):
    """One setting: its dotted name as in ``crl.toml``, and its value in each of the two sets."""

    setting: str
    one: Any
    other: Any


def policy_differences(one: PolicySet, other: PolicySet) -> list[Difference]:
    """Return the settings that differ, those for all tasks first; unequal sets differ in at least one.

    An override that only one set has is compared with what applies to its agent or task in the other set.
    """
    found = _differences("", one.default, other.default)
    general = {(d.setting, d.one, d.other) for d in found}
    for name in sorted(one.agents.keys() | other.agents.keys()):
        mine, theirs = one.agents.get(name, one.default), other.agents.get(name, other.default)
        found += _special(f"agents.{name}.", mine, theirs, general)
    for name in sorted(one.tasks.keys() | other.tasks.keys()):
        key = TaskKey.parse(name)
        found += _special(f'tasks."{name}".', one.for_task(key), other.for_task(key), general)
    if found or one == other:
        return found
    # A redundant override: nothing is judged differently, but the sets are unequal.
    return [
        Difference(f"{kind}.{name}", *("the same values" if name in side else "no override" for side in sides))
        for kind, sides in {"agents": (one.agents, other.agents), "tasks": (one.tasks, other.tasks)}.items()
        for name in sorted(sides[0].keys() ^ sides[1].keys())
    ]


def _special(prefix: str, one: Policy, other: Policy, general: set[tuple[str, Any, Any]]) -> list[Difference]:
    """Return the differences that do not already exist between the defaults."""
    found = _differences(prefix, one, other)
    return [d for d in found if (d.setting.removeprefix(prefix), d.one, d.other) not in general]


def _differences(prefix: str, one: Policy, other: Policy) -> list[Difference]:
    mine, theirs = msgspec.to_builtins(one), msgspec.to_builtins(other)
    return [
        Difference(f"{prefix}{section}.{name}", value, theirs[section][name])
        for section, values in mine.items()
        for name, value in values.items()
        if value != theirs[section][name]
    ]
