"""The loop on a real broker: outcomes go in, a rollback comes out, and the state equals the fold of the log."""

from __future__ import annotations

import json
import shutil

import pytest
from builders import AGENT, TASK, a_collapse, a_command, an_invocation, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from source_tree import ROOT

from crl_stream.core import messages as m
from crl_stream.wire.topics import ACTIVE_VARIANTS, DECISIONS, DEGRADATIONS, POLICY_KEY, ROLLBACKS, TASKS

pytestmark = pytest.mark.integration


async def test_the_rollback_is_published_by_the_outcome_that_reveals_the_degradation(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    for message in a_collapse():
        if isinstance(message, m.Invocation):
            placed = await installation.publish(message)
        else:
            await installation.order(message)
            await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == 2)
    await installation.settled()
    [event] = await installation.messages(ROLLBACKS)
    alert = next(a for a in await installation.messages(DEGRADATIONS) if a.state == "degraded")
    assert (event.from_variant, event.to_variant, event.enforced) == ("api-optimized", "default", True)
    assert event.position == alert.position
    assert event.judged.offsets[-1] == event.position.offset <= placed.offset
    active = max(await installation.messages(ACTIVE_VARIANTS), key=lambda a: a.epoch)
    assert (active.variant_id, active.epoch, active.quarantined) == ("default", event.epoch, ["api-optimized"])
    status, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}/active")
    assert (status, page["active_variant"], page["epoch"]) == (200, "default", event.epoch)
    compared = await assert_topics_equal_the_fold(installation)
    assert compared.physical_duplicates == 0
    assert await worker.stop() == 0


async def test_an_operator_undoes_a_rollback_by_command_and_is_told_what_became_of_it(
    installation: Installation,
) -> None:
    await installation.worker()
    for message in a_collapse():
        if isinstance(message, m.Invocation):
            await installation.publish(message)
        else:
            await installation.order(message)
            await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == 2)
    event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    code, out, err = await installation.run_crl("undo", event.rollback_id, "--reason", "fixed", "--actor", "ada")
    assert code == 0, err
    assert "api-optimized is active, epoch 4" in out
    code, out, err = await installation.run_crl("undo", event.rollback_id)
    assert (code, out) == (5, "")
    assert "refused" in err
    assert f"crl activate {AGENT}/{TASK} VARIANT" in " ".join(err.partition("hint:")[2].split())
    await installation.settled()
    found = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult)]
    results = [r for r in found if r.command != "SetPolicy"]
    assert [(r.command, r.outcome) for r in results][-2:] == [("UndoRollback", "applied"), ("UndoRollback", "refused")]
    await assert_topics_equal_the_fold(installation)


async def test_an_order_for_a_mistyped_task_leaves_no_task_behind(installation: Installation) -> None:
    await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    mistyped = f"{AGENT}/{TASK}s"
    for order in (["unpin", mistyped], ["hold", mistyped]):
        code, out, err = await installation.run_crl(*order)
        assert (code, out) == (4, ""), err
        assert f"did you mean {AGENT}/{TASK}?" in err
    code, _, err = await installation.run_crl("hold", f"{AGENT}/new", "--new-task")
    assert code == 0, err
    code, _, err = await installation.run_crl("resume", f"{AGENT}/new")
    assert code == 0, err
    await installation.settled()
    tasks = {snapshot.task_type for snapshot in await installation.messages(TASKS)}
    assert tasks == {TASK, "new"}
    await assert_topics_equal_the_fold(installation)


async def test_a_worker_that_starts_again_goes_on_where_it_was(installation: Installation) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 15))
    await installation.settled()
    assert await worker.stop() == 0
    await installation.publish(*invocations("default", "S" * 10))
    worker = await installation.worker()
    await installation.settled()
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert page["n_outcomes"] == 25
    assert (await assert_topics_equal_the_fold(installation)).physical_duplicates == 0


async def test_the_same_outcome_twice_is_counted_as_a_duplicate_and_applied_once(installation: Installation) -> None:
    worker = await installation.worker()
    same = an_invocation()
    await installation.publish(same, same, an_invocation())
    await installation.settled()
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert (page["n_outcomes"], page["n_duplicates"]) == (2, 1)


async def test_the_policy_of_the_settings_is_in_force_once_a_worker_is_ready(installation: Installation) -> None:
    worker = await installation.worker(degradation_lookback_window="40", operations_exploration="0.25")
    _, page = await worker.get("/api/worker")
    assert {p["policy_hash"] for p in page["partitions"]} == {page["policy_hash"]}
    await installation.publish(*invocations("default", "S" * 45))
    await installation.settled()
    _, task = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert task["variants"][0]["window"]["size"] == 40
    active = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant)
    assert active.exploration == 0.25
    await assert_topics_equal_the_fold(installation)


async def test_a_file_of_real_outcomes_gets_the_decisions_that_replay_lists(installation: Installation) -> None:
    await installation.worker()
    # A copy is published, because the journal is written beside the file.
    file = shutil.copy(ROOT / "examples" / "tau-bench-gpt-4o-airline.jsonl", installation.folder)
    code, out, err = await installation.run_crl("publish", "--file", file, "--json")
    assert code == 0, err
    assert json.loads(out)["sent"] == 200
    await installation.settled()
    code, out, err = await installation.run_crl("replay", file, "--json")
    assert code == 0, err
    replayed = [json.loads(line) for line in out.splitlines()]
    for topic in (DEGRADATIONS, ROLLBACKS, DECISIONS):
        records = [r for r in await installation.records(topic) if r.record.key != POLICY_KEY]
        live = [said(json.loads(r.record.value)) for r in records]
        assert live == [said(line["message"]) for line in replayed if line["topic"] == topic], topic
    assert sum(line["topic"] == DEGRADATIONS for line in replayed) >= 2
    await assert_topics_equal_the_fold(installation)


def said(message: dict[str, object]) -> dict[str, object]:
    """Return the content of a decision, without its time and position."""
    places = {"timestamp", "position", "judged", "alert_id", "decision_id", "activation_id", "rollback_id", "cause_id"}
    return {name: value for name, value in message.items() if name not in places}


async def test_a_held_task_is_not_rolled_back_until_it_is_resumed(installation: Installation) -> None:
    await installation.worker()
    story = a_collapse()
    for message in story[:-12]:
        if isinstance(message, m.Invocation):
            await installation.publish(message)
        else:
            await installation.order(message)
            await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == 2)
    await installation.order(a_command(m.HoldTask))
    await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.held is not None)
    await installation.publish(*story[-12:])
    await installation.settled()
    assert await installation.messages(ROLLBACKS) == []
    await installation.order(a_command(m.ResumeTask))
    await installation.settled()
    await installation.publish(an_invocation("api-optimized", "failure", active_epoch=2))
    event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    assert event.from_variant == "api-optimized"
    await assert_topics_equal_the_fold(installation)
