"""``crl sync`` on a real Kafka, read by flagd's provider, by Node and by Go."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from installation import Installation
from source_tree import ROOT, environment_of_this_checkout

from crl_stream.core import messages as m
from crl_stream.wire.topics import ACTIVE_VARIANTS, RECEIPTS, ROLLBACKS
from crl_stream.wire.weights import variant_of
from tests.joins.environments import python_of
from tests.joins.programs import end, install_packages, program
from tests.joins.proof import prove_that_it_moved

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


async def publish(installation: Installation, outcomes: Path) -> None:
    """Publish what an agent has written since the last call."""
    code, _, err = await installation.run_crl("publish", "--file", str(outcomes))
    assert code == 0 or "were published before" in err, err


@pytest.mark.parametrize("language", ["node", "go"])
async def test_an_agent_that_reads_the_plain_file_collapses_and_its_next_session_uses_the_other_variant(
    installation: Installation, language: str
) -> None:
    file, outcomes = installation.folder / "variants.json", installation.folder / "outcomes.jsonl"
    command = [program(language), str(NODE / "plain_agent.mjs"), str(file), str(outcomes)]
    if language == "go":
        built = str(installation.folder / "plain_go")
        await run([program("go"), "build", "-o", built, "."], GO)
        command = [built, "-outcomes", str(outcomes), str(file), TASK]
    numbers = count()

    async def work(times: int) -> set[tuple[str, int]]:
        """Let the agent serve new sessions, and publish what it wrote; return the variants and epochs that it used."""
        rest = [f"session-{next(numbers)}" for _ in range(times)] if language == "go" else [str(times)]
        done = await run([*command, *rest], installation.folder, CRL_CLIENT_RUNTIME_ID="plain-1")
        await publish(installation, outcomes)
        return {
            (one.get("variantId", one.get("variant_id")), one.get("epoch", one.get("active_epoch"))) for one in done
        }

    await installation.worker()
    await register(installation, calm=0.2, wild=1.8)
    async with syncing(installation, "--to", str(file)) as sync:
        await told(sync, "wrote")
        assert await work(60) == {("calm", 1)}
        await activate(installation, "wild")
        assert "uses wild" in await told(sync, "wrote")
        rolled_back = asyncio.create_task(installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=150.0))
        while not rolled_back.done():
            assert await work(3) <= {("wild", 2), ("calm", 3)}
        rollback = await rolled_back
        assert (rollback.from_variant, rollback.to_variant) == ("wild", "calm")
        assert f"uses calm, epoch {rollback.epoch} ({rollback.rollback_id})" in await told(sync, "wrote")
        assert await work(1) == {("calm", rollback.epoch)}
        await prove_that_it_moved(installation, rollback, "plain-1")


@asynccontextmanager
async def answering(words: list[str], folder: Path, environment: dict[str, str]) -> AsyncIterator[Callable[..., Any]]:
    """Run an agent until the end of the block; yields a function that waits until it uses a variant in an epoch."""
    agent = await asyncio.create_subprocess_exec(*words, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE)
    assert agent.stdout is not None
    stdout = agent.stdout
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read() -> None:
        while line := await stdout.readline():
            queue.put_nowait(json.loads(line))

    async def uses(variant: str, epoch: int) -> None:
        async with asyncio.timeout(150):
            while ((line := await queue.get())["variantId"], line["epoch"]) != (variant, epoch):
                pass

    reading = asyncio.create_task(read())
    try:
        yield uses
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        await end(agent)


@pytest.mark.parametrize("language", ["python", "node"])
async def test_an_agent_joined_by_flagds_own_provider_collapses_and_its_next_session_uses_the_other_variant(
    installation: Installation, language: str
) -> None:
    folder = ROOT
    if language == "python":
        command = [str(python_of("openfeature")), str(ROOT / "examples" / "flagd_python.py")]
    else:
        folder = installation.folder / "07_flagd_node"
        shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
        await asyncio.to_thread(install_packages, folder)
        command = [program("node"), "flagd_agent.mjs"]
    file, outcomes = installation.folder / "flags.json", installation.folder / "outcomes.jsonl"
    command += [str(file), str(outcomes)]
    environment = environment_of_this_checkout() | {"CRL_CLIENT_RUNTIME_ID": "flagd-1"}
    await installation.worker()
    await register(installation, calm=0.2, wild=1.8)
    async with syncing(installation, "--to", str(file), "--format", "flagd") as sync:
        await told(sync, "wrote")
        done = await run([*command, "60", "0"], folder, **environment)
        assert {(one["variantId"], one["epoch"]) for one in done} == {("calm", 1)}
        await publish(installation, outcomes)
        # Slow enough that few outcomes are published after the change; many look like a runtime that is stuck.
        slowly = {"python": "0.4", "node": "400"}[language]
        async with answering([*command, "100000", slowly], folder, environment) as uses:
            await uses("calm", 1)
            await activate(installation, "wild")
            await uses("wild", 2)
            rolled_back = asyncio.create_task(installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=150.0))
            while not rolled_back.done():
                await publish(installation, outcomes)
            rollback = await rolled_back
            assert (rollback.from_variant, rollback.to_variant) == ("wild", "calm")
            await uses("calm", rollback.epoch)
            await publish(installation, outcomes)
            await prove_that_it_moved(installation, rollback, "flagd-1")


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
    written = [json.loads(line) for line in outcomes.read_text().splitlines()]
    sources = {
        epoch: {(one["variant_id"], one["variant_source"]) for one in written if one["active_epoch"] == epoch}
        for epoch in (1, 3)
    }
    assert sources == {1: {("calm", "file"), ("wild", "explore")}, 3: {("wild", "file")}}


async def test_a_task_that_kafka_no_longer_knows_does_not_empty_the_file(installation: Installation) -> None:
    file = installation.folder / "variants.json"
    before = {"format": "crl-sync", "version": 1, "tasks": {TASK: {"variant_id": "calm"}}}
    file.write_text(json.dumps(before))
    async with syncing(installation, "--to", str(file)) as sync:
        assert "keeps its last state" in await told(sync, "knows no active variant")
    assert json.loads(file.read_text()) == before
