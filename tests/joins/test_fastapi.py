"""A web service joined by the asynchronous client: collapse, rollback, and the next session on the other variant."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from itertools import count
from typing import Any

import pytest
from installation import Installation
from source_tree import ROOT

from crl_stream.broker.ports import free_port
from crl_stream.core import messages as m
from crl_stream.wire.topics import ROLLBACKS
from joins.environments import python_of
from joins.programs import end
from joins.proof import prove_that_it_moved

pytestmark = pytest.mark.integration
TASK = "web-agent/answer"


async def ask(port: int, session: str) -> Any:
    """Ask the service once, as a browser does."""

    def post() -> Any:
        url = f"http://127.0.0.1:{port}/answer?session={session}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=20) as response:
            return json.load(response)

    return await asyncio.to_thread(post)


async def ask_until(port: int, variant: str, numbers: count[int], enough: int = 1) -> None:
    """Let new sessions ask until ``enough`` of them were answered by the variant."""
    found = 0
    while found < enough:
        try:
            found += (await ask(port, f"s{next(numbers)}"))["variant"] == variant
        except urllib.error.URLError:  # the service is starting
            await asyncio.sleep(0.1)


async def test_a_service_collapses_and_its_next_session_uses_the_other_variant(installation: Installation) -> None:
    python, port, numbers = python_of("service"), free_port("127.0.0.1"), count()
    await installation.worker()
    for variant, temperature in (("calm", 0.2), ("wild", 1.8)):
        given = json.dumps({"model": "m-1", "temperature": temperature})
        code, _, err = await installation.run_crl("register", TASK, variant, "--configuration", given)
        assert code == 0, err
    code, _, err = await installation.run_crl("activate", TASK, "calm", "--untested")
    assert code == 0, err
    service = await asyncio.create_subprocess_exec(
        *(str(python), "-m", "uvicorn", "--app-dir", str(ROOT / "examples"), "02_fastapi_service:app"),
        *("--port", str(port), "--log-level", "warning"),
        env=installation.environment(client_runtime_id="web-1", client_cache_dir=str(installation.folder / "cache")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(240):
            await ask_until(port, "calm", numbers, 60)
            code, _, err = await installation.run_crl("activate", TASK, "wild", "--untested")
            assert code == 0, err
            following = asyncio.create_task(ask_until(port, "never", numbers, 1))
            rollback = await installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=120.0)
            assert (rollback.from_variant, rollback.to_variant) == ("wild", "calm")
            await prove_that_it_moved(installation, rollback, "web-1")
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            answered = await ask(port, "next-session")
            assert (answered["variant"], answered["epoch"]) == ("calm", rollback.epoch)
    finally:
        await end(service)
