"""What a guardrail metric is: where an outcome has it, and what the policy says about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from crl_stream.core.messages import Invocation
from crl_stream.core.policy import GuardrailAction, Guardrails


class Guardrail(NamedTuple):
    """One metric to watch, as the policy defines it."""

    name: str
    value_of: Callable[[Invocation], float | None]
    sign: float
    """1 if higher is worse, -1 if lower is worse."""
    action: GuardrailAction
    limit: float
    floor: float


def guardrails_of(policy: Guardrails) -> tuple[Guardrail, ...]:
    """Return the metrics that the policy watches."""
    found = [
        Guardrail("cost", lambda one: one.cost, 1.0, policy.cost, policy.cost_increase, policy.cost_floor),
        Guardrail(
            "duration",
            lambda one: one.duration_seconds,
            1.0,
            policy.duration,
            policy.duration_increase,
            policy.duration_floor,
        ),
        Guardrail("tokens", _tokens, 1.0, policy.tokens, policy.tokens_increase, policy.tokens_floor),
        *map(_named, policy.metrics),
    ]
    return tuple([each for each in found if each.action != "off"])


def _tokens(invocation: Invocation) -> float | None:
    read, written = invocation.tokens_input, invocation.tokens_output
    return None if read is None and written is None else float((read or 0) + (written or 0))


def _named(text: str) -> Guardrail:
    name, action, direction, limit, floor = text.split("/")
    sign = 1.0 if direction == "higher_is_worse" else -1.0

    def value_of(one: Invocation) -> float | None:
        return None if one.metrics is None else one.metrics.get(name)

    return Guardrail(name, value_of, sign, action, float(limit), float(floor))  # type: ignore[arg-type]
