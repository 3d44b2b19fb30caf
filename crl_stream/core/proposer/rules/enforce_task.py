"""Enforce: the rollbacks that shadow mode only reported were right often enough to be made from now on.

The monitor judges each of them by what happened next (``core/monitor/scorecard``).  The scorecard counts only
rollbacks under the settings in force, so a change of the thresholds begins a new one.  Nothing is proposed if those
rollbacks would have caused more bad invocations than they would have avoided.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from crl_stream.core.figures import counted
from crl_stream.core.messages import Change, RollbackScorecard
from crl_stream.core.messages.snapshots import Trigger
from crl_stream.core.monitor.scorecard import in_words
from crl_stream.core.proposer.draft import Draft, View

NAME: Final = "enforce_task"
ORDER: Final = 6
TITLE: Final = "Enforce rollbacks of {task}, where {target} is active"
TRIGGERS: Final = ("shadow_precision",)
MAKES: Final = False


def propose(view: View) -> list[Draft]:
    """Return one draft if the task is in shadow mode and its scorecard is good enough, else none."""
    snapshot, card, active = view.snapshot, view.snapshot.scorecard, view.active
    if snapshot.mode != "shadow" or card is None or _objection(view, card) is not None:
        return []
    setting = f'tasks."{snapshot.agent_name}/{snapshot.task_type}".operations.mode'
    figures = in_words(card.right, card.judged, card.avoidable, card.caused)
    opened = f"; {card.open} more had too few outcomes to tell" if card.open else ""
    return [
        Draft(
            "shadow_precision",
            active.variant_id,
            snapshot.n_outcomes,
            # Laplace's rule of succession: the probability that the next rollback is right.
            round((card.right + 1) / (card.judged + 2), 2),
            f"{figures}: shadow mode has reported {counted(card.judged + card.open, 'rollback')} of this task "
            f"without making them, and what happened next shows which were right{opened}.\n"
            f'Suggest enforcing them: {setting} = "enforce".',
            figures,
            active.q_value,
            max(0.0, (card.avoidable - card.caused) / card.outcomes) if card.outcomes else 0.0,
            active.reward_variance,
            Change(action="enforce", variant_id=active.variant_id),
            [],
            {
                "judged": float(card.judged),
                "right": float(card.right),
                "avoidable": float(card.avoidable),
                "caused": float(card.caused),
            },
        )
    ]


def lapse(view: View, _target: str, _trigger: Trigger) -> str | None:
    """Return why the proposal lapses: shadow mode has ended, or the scorecard is no longer good enough."""
    card, mode = view.snapshot.scorecard, view.snapshot.mode
    if mode != "shadow":
        return f"the task is in {mode} mode now"
    if card is None:
        return "the thresholds have changed, and nothing has been judged by the new ones yet"
    return _objection(view, card)


def _objection(view: View, card: RollbackScorecard) -> str | None:
    """Return why the scorecard does not suffice; None if it does."""
    limits = view.limits
    if card.judged < limits.enforce_min_rollbacks:
        return f"{counted(card.judged, 'rollback')} judged, {limits.enforce_min_rollbacks} needed"
    if card.right < Decimal(repr(limits.enforce_precision)) * card.judged:
        return f"{card.right} of {card.judged} right, {limits.enforce_precision:.0%} needed"
    if card.caused > card.avoidable:
        return f"enforcing them would have caused more than it avoids: {card.caused} and {card.avoidable}"
    return None
