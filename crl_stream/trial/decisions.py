"""The facts of the engine that count as decisions, and what makes two of them the same decision."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from crl_stream.core import messages as m

KINDS: Final = {
    "rollback": "rollbacks",
    "promotion": "promotions",
    "rollout": "rollouts",
    "activation": "other activations",
    "refusal": "refused commands",
    "alert": "alerts",
    "decision": "levels reached",
}
"""Each kind of decision, most important first, with its name in the plural."""
MOVES: Final = frozenset(("rollback", "promotion", "activation"))
"""The kinds that change the active variant."""
_SHADOW: Final = "shadow"
_TOLD_OTHERWISE: Final = frozenset(("first_seen", "rollback"))
"""Causes of activations that do not count as decisions: the first outcome, and rollbacks, which count themselves."""
_PROMOTIONS: Final = frozenset(("auto_apply", "rollout"))
"""Causes of activations that are promotions: at once, or after the last stage of a rollout."""
_REPEATS: Final = frozenset(("rollback", "rollout_aborted"))
"""Alerts that only repeat a rollback."""
_LEVELS: Final = frozenset(("auto_apply", "human_approval"))
"""Levels of the decision matrix with a consequence; ``no_action`` has none."""


class Decided(NamedTuple):
    """One decision about a task, at its position in the log."""

    kind: str
    """A key of ``KINDS``."""
    name: str
    """Kind of the alert or command, or the level; ``shadow`` for a change that shadow mode only reports; else empty."""
    from_variant: str | None
    to_variant: str | None
    partition: int
    offset: int
    time: str
    """When the record at this position was stored."""
    reason: str
    fact_id: str
    """The id of the fact, which is the same in every fold that decides the same at the same position."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What was decided, without when and why; two folds decide the same if this and the position are equal."""
        return self.kind, self.name, self.from_variant or "", self.to_variant or ""

    @property
    def words(self) -> str:
        """The decision in a few words, such as ``rollback v2 -> v1``."""
        change = f"{self.from_variant or 'nothing'} -> {self.to_variant}"
        if self.kind in {"rollback", "promotion", "rollout"}:
            return f"{self.kind} {change}" + (" (shadow)" if self.name == _SHADOW else "")
        if self.kind == "activation":
            return f"{self.name} {change}"
        if self.kind == "refusal":
            return f"{self.name} refused"
        return f"{self.name} {self.to_variant or ''}".rstrip() if self.kind == "decision" else self._alert_words()

    def _alert_words(self) -> str:
        return f"alert {self.name}" + (f" {self.from_variant}" if self.from_variant else "")


def decision_of(fact: Any) -> tuple[str, Decided] | None:
    """Return the task (``agent_name/task_type``) and the decision that a fact states, or None if it states none.

    The first activation of a task is not a decision: it follows from the first outcome, under any policy. An alert that
    only repeats a rollback is left out, and so is the end of an alert.
    """
    found: tuple[str, str, str | None, str | None, str, str] | None = None
    if isinstance(fact, m.RollbackEvent):
        shadow = "" if fact.enforced else _SHADOW
        found = "rollback", shadow, fact.from_variant, fact.to_variant, fact.reason, fact.rollback_id
    elif isinstance(fact, m.Activation):
        if fact.cause in _PROMOTIONS:
            shadow = "" if fact.enforced else _SHADOW
            found = "promotion", shadow, fact.from_variant, fact.to_variant, fact.reasoning, fact.activation_id
        elif fact.cause not in _TOLD_OTHERWISE:
            found = "activation", fact.cause, fact.from_variant, fact.to_variant, fact.reasoning, fact.activation_id
    elif isinstance(fact, m.RolloutStep):
        if fact.step == "started":
            found = "rollout", "", fact.control_variant, fact.variant_id, fact.reasoning, fact.step_id
    elif isinstance(fact, m.Decision):
        if fact.decision in _LEVELS:
            found = "decision", fact.decision, None, fact.variant_id, fact.reasoning, fact.decision_id
    elif isinstance(fact, m.CommandResult):
        if fact.outcome == "refused" and fact.agent_name is not None:
            found = "refusal", fact.command, None, None, fact.detail, fact.result_id
    elif isinstance(fact, m.Alert) and not fact.resolved and fact.kind not in _REPEATS and fact.agent_name is not None:
        # The subject is the task, followed by the variant if the alert is about one.
        found = "alert", fact.kind, fact.subject.partition(" ")[2] or None, None, fact.action, fact.alert_id
    if found is None or fact.position is None:
        return None
    kind, name, from_variant, to_variant, reason, fact_id = found
    at = fact.position
    decided = Decided(kind, name, from_variant, to_variant, at.partition, at.offset, fact.timestamp, reason, fact_id)
    return f"{fact.agent_name}/{fact.task_type}", decided
