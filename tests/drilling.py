"""Runs `crl drill` and `crl status` for tests, and reads what they print."""

from __future__ import annotations

import json
from typing import Any

from builders import a_policy
from installation import Installation, WorkerProcess

from crl_stream.core import messages as m
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.wire.topics import DECISIONS


async def drill(installation: Installation, *options: str, **settings: str) -> tuple[int, Any, str]:
    """Run a drill and return its exit code, its JSON and stderr."""
    code, out, err = await installation.run_crl("drill", "--json", *options, **settings)
    return code, json.loads(out) if out else None, err


async def status(installation: Installation, worker: WorkerProcess) -> Any:
    _, out, _ = await installation.run_crl("status", "--json", worker_web_port=worker.url.rpartition(":")[2])
    return json.loads(out)


def steps_of(report: Any) -> list[str]:
    return [step["name"] for step in report["steps"]]


async def put_in_force(installation: Installation, policy: Policy) -> None:
    command = a_policy(PolicySet(policy))
    await installation.order(command)
    await installation.wait_for(DECISIONS, m.CommandResult, lambda result: result.command_id == command.command_id)
