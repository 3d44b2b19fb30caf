"""The alias of a prompt in a real MLflow follows the active variant, and a person's move of it becomes a command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from builders import AGENT, TASK, a_command, invocations
from installation import Installation, WorkerProcess

from crl_stream.core import messages as m
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, COMMANDS, DECISIONS, MIRRORS, RECEIPTS, ROLLBACKS, VARIANTS
from joins.environments import python_of
from joins.gate import Gate
from joins.mlflow_server import MLflowServer, Prompt
from joins.proof import prove_that_it_moved
from joins.story import PROGRAMS, RUNTIME, agent, fail_until_rolled_back

pytestmark = pytest.mark.integration

GOOD, BAD, OTHER = "default", "api-optimized", "terse"
MIRROR = ("-m", "crl_stream", "worker", "--role", "mirror")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    with MLflowServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
async def prompt(server: MLflowServer, installation: Installation) -> Prompt:
    prompt = Prompt(server, f"refund-{installation.id}")
    await prompt.create(versions=4)
    return prompt


async def a_mirror(installation: Installation, prompt: Prompt, **settings: str) -> WorkerProcess:
    options = {"mirrors_mlflow_host": prompt.server.url, "mirrors_mlflow_poll_seconds": "0.3"} | settings
    worker = installation.start_worker(MIRROR, **options)
    await worker.ready()
    return worker


async def the_variants(installation: Installation, prompt: Prompt) -> None:
    """Register three variants as versions 1, 2 and 4; two have outcomes, and the good one is active."""
    for variant, version in ((GOOD, 1), (BAD, 2), (OTHER, 4)):
        await installation.order(a_command(m.RegisterVariant, variant_id=variant, ref=prompt.ref(version)))
    await installation.wait_for(VARIANTS, m.VariantCatalogue, lambda found: len(found.variants) == 3)
    await installation.publish(*invocations(GOOD, "S" * 30), *invocations(BAD, "S" * 30, variant_source="explore"))
    await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant)
    await installation.settled()


async def activate(installation: Installation, variant: str, epoch: int) -> None:
    await installation.order(a_command(m.ActivateVariant, variant_id=variant, untested=variant == OTHER))
    await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == epoch)


async def collapse(installation: Installation, epoch: int = 2) -> m.RollbackEvent:
    await installation.publish(*invocations(BAD, "S" * 10, active_epoch=epoch))
    await installation.publish(*invocations(BAD, "F" * 12, active_epoch=epoch))
    event: m.RollbackEvent = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    return event


async def receipt(installation: Installation, epoch: int) -> m.Receipt:
    found: m.Receipt = await installation.wait_for(
        RECEIPTS, m.Receipt, lambda r: r.runtime_id == "mirror:mlflow" and r.epoch == epoch
    )
    return found


async def settled(installation: Installation, epoch: int) -> m.MirrorLabel:
    """Wait until the alias has been seen to agree with this epoch."""
    found: m.MirrorLabel = await installation.wait_for(
        MIRRORS, m.MirrorLabel, lambda r: r.epoch == epoch and r.conflict is None
    )
    return found


async def a_mirrored_task(installation: Installation, prompt: Prompt, **settings: str) -> WorkerProcess:
    """Start everything, with the bad variant active in epoch 2 and the alias at its version; return the mirror."""
    await installation.worker()
    await the_variants(installation, prompt)
    mirror = await a_mirror(installation, prompt, **settings)
    await settled(installation, 1)
    await activate(installation, BAD, epoch=2)
    assert (await receipt(installation, 2)).variant_id == BAD
    return mirror


async def receipts(installation: Installation) -> list[m.Receipt]:
    return [found for found in await installation.messages(RECEIPTS) if found.runtime_id == "mirror:mlflow"]


async def conflicts(installation: Installation) -> list[m.Alert]:
    return [alert for alert in await installation.messages(ALERTS) if alert.kind == "mirror_conflict"]


async def a_conflict(installation: Installation, said: str, *, resolved: bool = False) -> m.Alert:
    found: m.Alert = await installation.wait_for(
        ALERTS, m.Alert, lambda a: a.kind == "mirror_conflict" and said in a.text and a.resolved is resolved
    )
    return found


async def test_a_rollback_moves_the_alias_within_seconds_and_a_receipt_proves_it(
    installation: Installation, prompt: Prompt
) -> None:
    mirror = await a_mirrored_task(installation, prompt)
    assert await prompt.alias() == 2

    event = await collapse(installation)
    proof = await receipt(installation, event.epoch)
    assert (proof.agent_name, proof.task_type, proof.variant_id, proof.late_invocations) == (AGENT, TASK, GOOD, 0)
    assert proof.milliseconds < 10_000
    assert await prompt.alias() == 1
    assert await conflicts(installation) == []
    assert [r.epoch for r in await receipts(installation)] == [2, event.epoch]
    assert await mirror.stop() == 0


async def test_an_agent_whose_prompts_are_in_mlflow_collapses_and_its_next_turn_uses_the_other_version(
    installation: Installation, prompt: Prompt
) -> None:
    await a_mirrored_task(installation, prompt)
    words = (python_of("mirrors"), PROGRAMS / "prompt_agent.py", "mlflow", prompt.server.url, AGENT, TASK)
    async with agent(installation, *words, HOME=str(installation.folder)) as told:
        assert await told.do(12, epoch=2) == [[BAD, 2, "Version 2"]] * 12
        rollback = await fail_until_rolled_back(installation, told, BAD)
        assert await told.do(1, epoch=rollback.epoch) == [[GOOD, rollback.epoch, "Version 1"]]
        await prove_that_it_moved(installation, rollback, RUNTIME)
    assert (await receipt(installation, rollback.epoch)).variant_id == GOOD
    assert await prompt.alias() == 1


async def test_a_person_moves_the_alias_and_the_active_variant_follows_with_the_name_in_the_audit(
    installation: Installation, prompt: Prompt
) -> None:
    await a_mirrored_task(installation, prompt)
    await prompt.move(1, by="alice")
    active = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == 3)
    assert (active.variant_id, active.cause) == (GOOD, "command")
    [result] = [r for r in await installation.messages(DECISIONS) if getattr(r, "command_id", "") == active.cause_id]
    assert (result.actor, result.outcome) == ("alice (by mlflow)", "applied")
    assert result.reason == f"the label production was moved to {prompt.ref(1)}"
    code, out, err = await installation.run_crl("audit", f"{AGENT}/{TASK}")
    assert code == 0, err
    assert "alice (by mlflow)" in out
    await receipt(installation, 3)

    # The name is at version 1 for ever, but the next person to move the alias there is not alice.
    await prompt.move(2)
    await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.epoch == 4)
    await receipt(installation, 4)
    await prompt.move(1)
    last = await installation.wait_for(DECISIONS, m.CommandResult, lambda r: r.epoch == 5)
    assert last.actor == "mlflow"
    assert await conflicts(installation) == []


async def test_an_alias_at_a_version_that_no_variant_is_gets_one_alert_and_is_left_alone(
    installation: Installation, prompt: Prompt
) -> None:
    mirror = await a_mirrored_task(installation, prompt)
    await prompt.move(3)
    alert = await a_conflict(installation, "no variant of the task is")
    assert f"version 3 of {prompt.name}" in alert.text
    mirror.kill()
    mirror = await a_mirror(installation, prompt)
    event = await collapse(installation)
    again = await a_conflict(installation, "although the mirror had left version 2")
    assert again.cause_id == alert.alert_id
    assert await prompt.alias() == 3, "a person's choice is never overwritten"
    assert [one.resolved for one in await conflicts(installation)] == [False, False]

    await prompt.move(1)
    end = await a_conflict(installation, "follows again", resolved=True)
    assert end.cause_id == alert.alert_id
    assert (await settled(installation, event.epoch)).left == "1"
    assert len(await conflicts(installation)) == 3


async def test_a_move_that_the_monitor_refuses_is_explained_and_not_undone(
    installation: Installation, prompt: Prompt
) -> None:
    await a_mirrored_task(installation, prompt)
    event = await collapse(installation)
    await receipt(installation, event.epoch)
    await prompt.move(2)
    alert = await a_conflict(installation, f"{BAD} was not activated")
    assert f"{BAD} is quarantined" in alert.text
    assert await prompt.alias() == 2
    commands = [r for r in await installation.messages(DECISIONS) if getattr(r, "actor", "") == "mlflow"]
    assert [one.outcome for one in commands] == ["refused"], "it is asked for once"


async def test_a_mirror_that_is_killed_between_the_move_and_the_receipt_is_continued_by_the_next_one(
    installation: Installation, prompt: Prompt
) -> None:
    async with Gate(prompt.server.url) as gate:
        mirror = await a_mirrored_task(installation, prompt, mirrors_mlflow_host=gate.url)
        gate.hold = True
        event = await collapse(installation)
        async with asyncio.timeout(30):
            await gate.held.wait()
        mirror.kill()
        moves = gate.moves
        assert await prompt.alias() == 1
        assert [r.epoch for r in await receipts(installation)] == [2], "the alias has moved and there is no receipt"

        gate.hold = False
        mirror = await a_mirror(installation, prompt, mirrors_mlflow_host=gate.url)
        await receipt(installation, event.epoch)
        assert [r.epoch for r in await receipts(installation)] == [2, event.epoch]
        assert gate.moves == moves, "the second process has seen that the alias has moved"
        assert await conflicts(installation) == []

        # Nothing is left to do, and a further process does nothing.
        mirror.kill()
        await a_mirror(installation, prompt, mirrors_mlflow_host=gate.url)
        await activate(installation, OTHER, epoch=event.epoch + 1)
        await receipt(installation, event.epoch + 1)
        assert [r.epoch for r in await receipts(installation)] == [2, event.epoch, event.epoch + 1]
        assert gate.moves == moves + 1
        assert await conflicts(installation) == []


async def test_a_store_that_is_down_during_a_rollback_gets_its_move_when_it_is_back(
    installation: Installation, prompt: Prompt
) -> None:
    mirror = await a_mirrored_task(installation, prompt, mirrors_mlflow_alert_after_seconds="1")
    prompt.server.stop()
    event = await collapse(installation)
    down = await installation.wait_for(ALERTS, m.Alert, lambda a: a.kind == "mirror_unreachable")
    assert "has not answered since" in down.text
    # A new process finds the store down as well, but people have been told.
    mirror.kill()
    await a_mirror(installation, prompt, mirrors_mlflow_alert_after_seconds="1")
    await asyncio.to_thread(prompt.server.start)
    await receipt(installation, event.epoch)
    assert await prompt.alias() == 1
    back = await installation.wait_for(ALERTS, m.Alert, lambda a: a.kind == "mirror_unreachable" and a.resolved)
    assert back.cause_id == down.alert_id
    alerts = [a.resolved for a in await installation.messages(ALERTS) if a.kind == "mirror_unreachable"]
    assert alerts == [False, True]


async def test_of_two_mirrors_one_works_and_the_other_takes_over_when_it_is_killed(
    installation: Installation, prompt: Prompt
) -> None:
    async with Gate(prompt.server.url) as gate:
        first = await a_mirrored_task(installation, prompt, mirrors_mlflow_host=gate.url)
        second = await a_mirror(installation, prompt, mirrors_mlflow_host=gate.url)
        event = await collapse(installation)
        await receipt(installation, event.epoch)
        assert gate.moves == 2, "one of them has moved it, once"
        working = [one for one in (first, second) if "moving production" in one.log.read_text()]
        working[-1].kill()
        await activate(installation, OTHER, epoch=event.epoch + 1)
        await receipt(installation, event.epoch + 1)
        assert gate.moves == 3
        assert await prompt.alias() == 4
        assert await conflicts(installation) == []


async def test_a_rollback_before_a_persons_command_wins_and_the_label_does_not_go_back_and_forth(
    installation: Installation, prompt: Prompt
) -> None:
    """Both happen while the monitor is down; its log has the outcomes first."""
    async with Gate(prompt.server.url) as gate:
        await a_mirrored_task(installation, prompt, mirrors_mlflow_host=gate.url)
        moves = gate.moves
        installation.workers[0].kill()
        await installation.publish(*invocations(BAD, "S" * 10 + "F" * 12, active_epoch=2))
        await prompt.move(4, by="alice")
        command = await installation.wait_for(
            COMMANDS, m.ActivateVariant, lambda c: c.actor == "alice (by mlflow)" and c.variant_id == OTHER
        )
        assert command.expected_epoch == 2
        await installation.worker()
        event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
        alert = await a_conflict(installation, f"{OTHER} was not activated")
        result = await installation.wait_for(DECISIONS, m.CommandResult, lambda r: r.command_id == command.command_id)
        assert (result.outcome, result.detail[:20]) == ("refused", "the epoch is 3, not ")
        assert (await prompt.alias(), gate.moves) == (4, moves)

        await prompt.move(1)
        assert (await a_conflict(installation, "follows again", resolved=True)).cause_id == alert.alert_id
        await receipt(installation, event.epoch)
        assert (await prompt.alias(), gate.moves) == (1, moves)
        assert len(await conflicts(installation)) == 2
