"""The example of a plain runtime: its active variant collapses, and its next turn uses the other one."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest
from installation import Installation
from source_tree import ROOT

from crl_stream.core import messages as m
from crl_stream.wire.topics import ROLLBACKS, TASKS
from joins.proof import prove_that_it_moved

pytestmark = pytest.mark.integration
TASK = "example-agent/small-talk"


async def test_the_plain_example_collapses_and_its_next_turn_uses_the_other_variant(installation: Installation) -> None:
    await installation.worker()
    runtime = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / "01_plain_python.py"),
        env=installation.environment(client_runtime_id="plain-1", client_cache_dir=str(installation.folder / "cache")),
        cwd=installation.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await installation.wait_for(TASKS, m.TaskSnapshot, lambda one: one.n_outcomes >= 30, 60.0)
        for order in (("register",), ("activate", "--untested")):
            code, _, err = await installation.run_crl(*order, TASK, "careless", "--reason", "a new prompt")
            assert code == 0, err
        rollback = await installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=120.0)
        assert (rollback.from_variant, rollback.to_variant) == ("careless", "careful")
        await prove_that_it_moved(installation, rollback, "plain-1")
    finally:
        runtime.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(runtime.communicate(), 30)
    turns = [line.partition(": ")[0] for line in out.decode().splitlines()]
    steps = [f"careful (live, epoch {rollback.epoch})", "careless (live, epoch 2)"]
    assert list(dict.fromkeys(reversed(turns)))[:2] == steps, (out, err)
