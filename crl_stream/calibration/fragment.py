"""The part of a ``crl.toml`` that gives one task a policy."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Policy, PolicySet


def fragment(key: TaskKey, policy: Policy, settings: PolicySet) -> str:
    """Return what to add to the ``crl.toml`` behind ``settings`` so that ``policy`` holds for the task.

    It lists the settings that differ from those in force there; it is empty if none differs.

    >>> from crl_stream.core.policy import Degradation
    >>> guarded = Policy(degradation=Degradation(guard="evidence", false_alarm_budget=20_000))
    >>> print(fragment(TaskKey("agent", "task"), guarded, PolicySet()), end="")
    [tasks."agent/task".degradation]
    guard = "evidence"
    false_alarm_budget = 20000
    """
    wanted, given = msgspec.to_builtins(policy), msgspec.to_builtins(settings.for_task(key))
    sections = []
    for section, values in wanted.items():
        lines = [f"{name} = {_toml(value)}" for name, value in values.items() if value != given[section][name]]
        if lines:
            sections.append("\n".join([f'[tasks."{key}".{section}]', *lines]) + "\n")
    return "\n".join(sections)


def _toml(value: Any) -> str:
    """Return the value of a setting as TOML; it is a string, a number, a Boolean or a list of these."""
    return json.dumps(value)
