"""How many outcomes a drill sends, so that it works under any policy that protects at all."""

from __future__ import annotations

from typing import Final, NamedTuple

from crl_stream.core.policy import Policy

MOST: Final = 2_000
"""Maximum number of good outcomes of one variant; if a limit needs more, the first drill alone does not reach it."""
PROVEN: Final = 20
"""Number of good outcomes of the target after the rollback, so that any verification keeps it active."""
_LEAST_FAILURES: Final = 200
_FAILING_SECONDS: Final = 8.0
_PAUSE: Final = 0.02


class Plan(NamedTuple):
    """The numbers of outcomes that one exercise of a drill sends."""

    steady: int
    """Number of good outcomes of the rollback's target, sent before the rollback."""
    good: int
    """Number of good outcomes of the failing variant after its activation, so that its failures are a decline."""
    failures: int
    """Maximum number of failing outcomes.

    A full window without a success is DEGRADED under every policy.  More failures lower what the variant delivers,
    until the target promises more by any ``rollback.confidence``.
    """
    pause: float
    """Seconds to wait for records after each failing outcome, so that few outcomes are sent after the rollback."""


def plan_of(policy: Policy) -> Plan:
    """Return the numbers of outcomes for a drill of a task under ``policy``."""
    window = policy.degradation.lookback_window
    failures = max(_LEAST_FAILURES, 3 * window)
    return Plan(
        steady=min(MOST, max(PROVEN, window, policy.rollback.min_samples, policy.rollback.doubt)),
        good=min(MOST, 2 * max(window, policy.degradation.min_baseline)),
        failures=failures,
        pause=min(_PAUSE, _FAILING_SECONDS / failures),
    )
