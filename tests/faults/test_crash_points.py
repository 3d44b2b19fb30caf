"""A crash at each point between two writes: afterwards, the published records and the state agree again."""

from __future__ import annotations

import asyncio

import pytest
from builders import a_collapse, a_command, an_invocation, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import ROLLBACKS

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.mark.parametrize(("line", "duplicates"), [("outputs:1", True), ("rows:1", False), ("memory:1", False)])
async def test_a_crash_between_two_writes_leaves_no_trace_but_equal_bytes(
    installation: Installation, line: str, duplicates: bool
) -> None:
    first = await installation.worker()  # the worker writes the policy to every partition; later records go to one
    assert await first.stop() == 0
    for message in a_collapse():
        if isinstance(message, m.Invocation):
            await installation.publish(message)
        else:
            await installation.order(message)
    worker = installation.start_worker(("-m", "campaign.live.launcher", "--die", line, "worker"))
    assert await asyncio.to_thread(worker.process.wait, 60) == -9
    worker = await installation.worker()
    await installation.settled()
    compared = await assert_topics_equal_the_fold(installation)
    assert (compared.physical_duplicates > 0) is duplicates
    assert len({e.rollback_id for e in await installation.messages(ROLLBACKS)}) <= 1
    assert ("were already folded and are skipped" in worker.log.read_text()) is not duplicates


async def test_a_stopped_process_leaves_before_it_writes_anything_late(installation: Installation) -> None:
    import signal

    worker = await installation.worker(worker_session_timeout_seconds="3")
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    worker.process.send_signal(signal.SIGSTOP)
    await installation.publish(*invocations("default", "S" * 5))
    other = await installation.worker(worker_session_timeout_seconds="3")
    await installation.settled()
    worker.process.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(worker.process.wait, 60) == 70
    assert "the process was paused" in worker.log.read_text()
    await installation.publish(an_invocation())
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
    assert await other.stop() == 0


async def test_a_log_that_was_made_anew_is_refused_and_adopted_on_request(installation: Installation) -> None:
    from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS

    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 12))
    await installation.settled()
    assert await worker.stop() == 0
    name = installation.names(INVOCATIONS)
    async with installation.admin._admin() as admin:
        await admin.delete_topics([name])
        while name in await admin.list_topics():
            await asyncio.sleep(0.05)
    await installation.admin.apply()
    await installation.producer.stop()
    from aiokafka import AIOKafkaProducer

    installation.producer = AIOKafkaProducer(bootstrap_servers=installation.kafka.bootstrap_servers, acks="all")
    await installation.producer.start()
    await installation.publish(*invocations("default", "S" * 3))
    worker = installation.start_worker()
    assert await asyncio.to_thread(worker.process.wait, 60) == 70
    assert "crl topics adopt" in worker.log.read_text()
    code, out, err = await installation.run_crl("topics", "adopt")
    assert (code, "incarnation 1" in out) == (0, True), err
    code, out, err = await installation.run_crl("topics", "adopt", "--yes")
    assert (code, "incarnation 1" in out) == (0, True), err
    worker = await installation.worker()
    await installation.publish(an_invocation("other", variant_source="explore"))
    await installation.order(a_command(m.ActivateVariant, variant_id="other"))
    active = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda a: a.variant_id == "other")
    assert (active.incarnation, active.epoch) == (1, 2)
    await installation.settled()  # outputs are published before rows reach memory
    _, page = await worker.get(f"/api/tasks/{active.agent_name}/{active.task_type}")
    assert page["n_outcomes"] == 16
