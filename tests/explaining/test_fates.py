"""What became of a rollback, from the facts of the golden hour."""

from __future__ import annotations

from dashboard.golden_topics import shared_golden_fleet

from crl_stream.core.identity import TaskKey
from crl_stream.explaining.fates import fates_of, undo_commands


def test_a_rollback_names_its_undo_only_while_no_other_change_has_followed() -> None:
    fleet = shared_golden_fleet()
    events = list(fleet.rollbacks.values())
    facts = [fact for key in fleet.tasks for fact in fleet.facts_of(key)]
    fates = fates_of(events, facts)
    undo = undo_commands(events, fates)
    for event in events:
        is_latest = event.enforced and event.epoch == fleet.tasks[TaskKey(event.agent_name, event.task_type)].epoch
        # Undoing an aborted rollout begins no epoch.
        is_undone = any(one.what == "undone" for one in fates[event.rollback_id])
        wanted = event.undo_command if is_latest and not is_undone else None
        assert undo.get(event.rollback_id) == wanted, event.rollback_id
    assert 0 < len(undo) < len(events)
