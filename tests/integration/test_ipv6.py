"""The worker's views on ``::1`` are found and queried by the command line and by other workers."""

from __future__ import annotations

import json
import socket

import pytest
from builders import an_invocation
from installation import Installation, WorkerProcess, keys_for

from crl_stream.broker.ports import free_port

pytestmark = pytest.mark.integration


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def start(installation: Installation, port: int) -> WorkerProcess:
    program = ("-m", "crl_stream", "--set", f"worker.web_port={port}", "worker")
    return installation.start_worker(program, worker_web_host="::1")


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
async def test_workers_on_the_ipv6_loopback_answer_people_and_each_other(installation: Installation) -> None:
    ports = [free_port("::1"), free_port("::1")]
    workers: list[WorkerProcess] = []
    for port in ports:
        worker = start(installation, port)
        worker.url = f"http://[::1]:{port}"
        workers.append(worker)
        await worker.ready()
    for worker in workers:
        await worker.ready()
    keys = [key for partition in range(4) for key in keys_for(partition, 4, 1)]
    for key in keys:
        await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    await installation.settled()
    for worker in workers:
        for key in keys:
            assert (await worker.get(f"/api/tasks/{key}"))[0] == 200
        assert (await worker.get("/api/tasks"))[1]["partial"] is False
    for host in ("::1", "[::1]"):
        code, out, err = await installation.run_crl(
            "status", "--json", worker_web_host=host, worker_web_port=str(ports[0])
        )
        assert code == 0, err
        assert len(json.loads(out)["tasks"]) == 4
    taken = start(installation, ports[0])
    assert taken.process.wait(30) == 2
    assert "the port is taken" in taken.log.read_text()
    anywhere = installation.start_worker(worker_web_host="::")
    assert anywhere.process.wait(30) == 2
    assert "to the network without a token" in anywhere.log.read_text()
