"""The example of a plain runtime works against a real broker and worker, and Ctrl-C ends it quietly."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest
from installation import Installation
from source_tree import ROOT

from crl_stream.core import messages as m
from crl_stream.wire.topics import DEAD_LETTERS, RECEIPTS

pytestmark = pytest.mark.integration


async def test_the_plain_example_is_watched_and_ctrl_c_ends_it_quietly(installation: Installation) -> None:
    await installation.worker()
    runtime = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / "01_plain_python.py"),
        env=installation.environment(client_runtime_id="plain-1"),
        cwd=installation.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        receipt = await installation.wait_for(RECEIPTS, m.Receipt, seconds=60.0)
        assert (receipt.runtime_id, receipt.variant_id, receipt.agent_name) == ("plain-1", "careful", "example-agent")
    finally:
        runtime.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(runtime.communicate(), 30)
    assert (runtime.returncode, b"Traceback" in err) == (0, False), err.decode()
    assert b"careful (live, epoch 1)" in out
    assert await installation.messages(DEAD_LETTERS) == []
