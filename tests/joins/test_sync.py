"""``crl sync`` on a real Kafka, read by flagd's provider, by Node and by Go."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from installation import Installation
from source_tree import ROOT

from crl_stream.core import messages as m
from crl_stream.wire.topics import ACTIVE_VARIANTS, DEAD_LETTERS, RECEIPTS, ROLLBACKS
from crl_stream.wire.weights import variant_of
from tests.joins.environments import python_of
from tests.joins.programs import end, install_packages, program

pytestmark = pytest.mark.integration
TASK = "refund-agent/answer"
NODE = ROOT / "examples" / "07_flagd_node"
GO = ROOT / "examples" / "plain_go"
SESSIONS = [f"session-{number}" for number in range(200)]


@asynccontextmanager
async def syncing(installation: Installation, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``crl sync`` until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crl_stream", "sync", *words),
        env=installation.environment(),
        cwd=installation.folder,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        await end(process)


async def told(process: asyncio.subprocess.Process, text: str) -> str:
    """Wait until the process says something with this text."""
    assert process.stderr is not None
    async with asyncio.timeout(150):
        while line := (await process.stderr.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"it ended without saying {text!r}")


async def register(installation: Installation, **variants: float) -> None:
    """Register variants with a temperature, and activate the first one."""
    for variant, temperature in variants.items():
        given = json.dumps({"model": "m-1", "temperature": temperature})
        code, _, err = await installation.run_crl("register", TASK, variant, "--configuration", given)
        assert code == 0, err
    await activate(installation, next(iter(variants)))


async def activate(installation: Installation, variant: str) -> None:
    code, _, err = await installation.run_crl("activate", TASK, variant, "--untested")
    assert code == 0, err


async def run(words: list[str], folder: Path, **environment: str) -> list[Any]:
    """Run a program of another language and return the JSON lines that it prints."""
    import os

    done = await asyncio.to_thread(
        subprocess.run,
        words,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def roll_out(installation: Installation) -> dict[str, int]:
    """Begin a rollout of ``wild``, and return the weights."""
    code, _, err = await installation.run_crl("rollout", "start", TASK, "wild", "--stages", "30,50", "--reason", "try")
    assert code == 0, err
    active = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda one: one.weights is not None, 120.0)
    assert active.weights is not None
    return dict(active.weights)


async def test_flagds_provider_adopts_a_rewritten_file_and_gives_sessions_the_shares_of_a_rollout(
    installation: Installation,
) -> None:
    python = python_of("openfeature")
    await installation.worker()
    await register(installation, calm=0.2, wild=1.8)
    file = installation.folder / "flags.json"
    async with syncing(installation, "--to", str(file), "--format", "flagd") as sync:
        await told(sync, "wrote")
        reader = await asyncio.create_subprocess_exec(
            *(str(python), str(ROOT / "tests" / "joins" / "openfeature" / "flagd_file.py"), str(file), TASK),
            env=installation.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert reader.stdin is not None and reader.stdout is not None

        async def ask(**question: Any) -> list[Any]:
            reader.stdin.write(json.dumps({"sessions": ["s"], "ours": False} | question).encode() + b"\n")
            async with asyncio.timeout(120):
                found: list[Any] = json.loads(await reader.stdout.readline())
            return found

        try:
            (found,) = await ask()
            assert (found["variant"], found["value"]["temperature"], found["reason"]) == ("calm", 0.2, "STATIC")
            assert (found["metadata"]["epoch"], found["metadata"]["source"]) == (1, "file")
            weights = await roll_out(installation)
            assert "other weights" in await told(sync, "wrote")
            # flagd's own hash gives about the same shares, and ours the same sessions as every other runtime.
            while (theirs := await ask(sessions=SESSIONS))[0]["reason"] != "TARGETING_MATCH":
                pass
            assert 30 <= sum(one["variant"] == "wild" for one in theirs) <= 90
            ours = await ask(sessions=SESSIONS, ours=True)
            assert [one["variant"] for one in ours] == [variant_of(weights, "calm", one) for one in SESSIONS]
            assert ours != theirs
            code, _, err = await installation.run_crl("rollout", "abort", TASK, "--reason", "enough")
            assert code == 0, err
            await activate(installation, "wild")
            (found,) = await ask(until="wild")
            assert (found["value"]["temperature"], found["error"]) == (1.8, None)
        finally:
            await end(reader)


async def test_an_agent_in_node_without_kafka_collapses_and_its_next_session_uses_the_other_variant(
    installation: Installation,
) -> None:
    node = program("node")
    await installation.worker()
    await register(installation, calm=0.2, wild=1.8)
    file, outcomes = installation.folder / "variants.json", installation.folder / "outcomes.jsonl"
    agent = [node, str(NODE / "plain_agent.mjs"), str(file), str(outcomes)]

    async def work(count: int) -> set[str]:
        """Let the agent work, and publish what it wrote."""
        done = await run([*agent, str(count)], installation.folder, CRL_CLIENT_RUNTIME_ID="node-1")
        code, _, err = await installation.run_crl("publish", "--file", str(outcomes))
        assert code == 0, err
        return {one["variantId"] for one in done}

    async with syncing(installation, "--to", str(file)) as sync:
        await told(sync, "wrote")
        assert await work(60) == {"calm"}
        await activate(installation, "wild")
        assert "uses wild" in await told(sync, "wrote")
        assert await work(40) == {"wild"}
        rollback = await installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=120.0)
        assert f"uses calm, epoch {rollback.epoch} ({rollback.rollback_id})" in await told(sync, "wrote")
        assert await work(1) == {"calm"}
        receipt = await installation.wait_for(RECEIPTS, m.Receipt, lambda r: r.epoch == rollback.epoch, 120.0)
        assert (receipt.runtime_id, receipt.variant_id) == ("node-1", "calm")
    assert await installation.messages(DEAD_LETTERS) == []


async def test_node_and_go_choose_the_variant_that_every_other_runtime_chooses(installation: Installation) -> None:
    node, go = program("node"), program("go")
    await installation.worker()
    await register(installation, calm=0.2, wild=1.8)
    weights = await roll_out(installation)
    file = installation.folder / "variants.json"
    code, _, err = await installation.run_crl("sync", "--to", str(file), "--once")
    assert code == 0, err
    expected = [variant_of(weights, "calm", session) for session in SESSIONS]
    assert set(expected) == {"calm", "wild"}
    chosen = await run([go, "run", ".", str(file), TASK, *SESSIONS], GO)
    assert [one["variant_id"] for one in chosen] == expected
    assert {(one["variant_id"], one["variant_source"], one["configuration"]["temperature"]) for one in chosen} == {
        ("calm", "file", 0.2),
        ("wild", "explore", 1.8),
    }
    choose = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ choose }} from {json.dumps(str(NODE / "choose.mjs"))};
        const task = JSON.parse(readFileSync({json.dumps(str(file))})).tasks[{json.dumps(TASK)}];
        for (const one of {json.dumps(SESSIONS)}) console.log(JSON.stringify(choose(task, one)));
    """
    chosen = await run([node, "--input-type=module", "--eval", choose], installation.folder)
    assert [one["variantId"] for one in chosen] == expected


async def test_node_and_go_agree_with_the_vectors_of_the_contract() -> None:
    words = [program("node"), str(ROOT / "tests" / "joins" / "openfeature" / "vectors.mjs")]
    (found,) = await run([*words, str(NODE / "choose.mjs"), str(ROOT / "topics" / "weights.json")], ROOT)
    assert found["wrong"] == [] and found["compared"] > 20
    done = await asyncio.to_thread(
        subprocess.run, [program("go"), "test", "./..."], cwd=GO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_an_agent_in_node_follows_through_flagds_provider(installation: Installation) -> None:
    node = program("node")
    folder = installation.folder / "07_flagd_node"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
    await asyncio.to_thread(install_packages, folder)
    await installation.worker()
    await register(installation, calm=0.2, wild=1.8)
    file, outcomes = installation.folder / "flags.json", installation.folder / "outcomes.jsonl"
    async with syncing(installation, "--to", str(file), "--format", "flagd") as sync:
        await told(sync, "wrote")
        agent = await asyncio.create_subprocess_exec(
            *(node, "flagd_agent.mjs", str(file), str(outcomes), "100000"),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
        )
        assert agent.stdout is not None
        try:
            async with asyncio.timeout(150):
                first = json.loads(await agent.stdout.readline())
                assert (first["variantId"], first["epoch"]) == ("calm", 1)
                weights = await roll_out(installation)
                while (line := json.loads(await agent.stdout.readline()))["variantId"] != "wild":
                    pass
                for _ in range(60):
                    assert line["variantId"] == variant_of(weights, "calm", line["sessionId"])
                    line = json.loads(await agent.stdout.readline())
                code, _, err = await installation.run_crl("rollout", "abort", TASK, "--reason", "enough")
                assert code == 0, err
                await activate(installation, "wild")
                while (line := json.loads(await agent.stdout.readline()))["epoch"] != 3:
                    pass
                assert line["variantId"] == "wild"
        finally:
            await end(agent)
        code, _, err = await installation.run_crl("publish", "--file", str(outcomes))
        assert code == 0, err
    receipt = await installation.wait_for(RECEIPTS, m.Receipt, lambda r: r.epoch == 3, 120.0)
    assert (receipt.runtime_id, receipt.variant_id) == ("node-agent", "wild")


async def test_a_task_that_kafka_no_longer_knows_does_not_empty_the_file(installation: Installation) -> None:
    file = installation.folder / "variants.json"
    before = {"format": "crl-sync", "version": 1, "tasks": {TASK: {"variant_id": "calm"}}}
    file.write_text(json.dumps(before))
    async with syncing(installation, "--to", str(file)) as sync:
        assert "keeps its last state" in await told(sync, "knows no active variant")
    assert json.loads(file.read_text()) == before
