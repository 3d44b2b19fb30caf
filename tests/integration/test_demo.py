"""The demo starts on an empty machine, plays its story, and keeps its data."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from source_tree import environment_of_this_checkout

from crl_stream.settings.model import Client

pytestmark = pytest.mark.integration


async def test_the_demo_tells_the_whole_story_and_ends_with_success(tmp_path: Path) -> None:
    own = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "CRL_CLIENT_CACHE_DIR": str(Client().cache_dir)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crl_stream", "demo", "--json"),
        env=environment_of_this_checkout() | own,
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    steps = [json.loads(line) for line in out.splitlines()]
    told = list(dict.fromkeys(step["step"] for step in steps))
    assert told == [
        "broker",
        "worker",
        "first_seen",
        "register",
        "auto_apply",
        "healthy",
        "collapse",
        "alert",
        "rollback",
        "rollback_followed",
        "undo",
        "undo_followed",
        "end",
    ]
    for step in ("rollback_followed", "undo_followed"):
        followed = [s["invocation"] for s in steps if s["step"] == step]
        assert len(followed) == 3
        assert max(followed) <= 2
    # The demo keeps its data apart from real data: it creates no topic, file or consumer group that a real fleet uses.
    logs = tmp_path / "crl-stream" / "broker" / "logs"
    topics = {path.name.rpartition("-")[0] for path in logs.iterdir() if path.is_dir()}
    assert {name for name in topics if not name.startswith(("__", "demo.", "crl-demo"))} == set()
    assert {name for name in topics if name.startswith("demo.crl.")}
    assert not (tmp_path / "telemetry").exists()
    assert (tmp_path / "crl-stream" / "worker" / "demo" / "telemetry" / "rollback_events.jsonl").read_bytes()
    assert b"Traceback" not in err
