"""Agents that use OpenFeature: its own conformance suite, and a story from collapse to receipt."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from builders import AT
from installation import Installation
from source_tree import ROOT, environment_of_this_checkout

from crl_stream.core import messages as m
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import ACTIVE_VARIANTS, ROLLBACKS, VARIANTS
from tests.joins.environments import python_of
from tests.joins.programs import end
from tests.joins.proof import prove_that_it_moved

pytestmark = pytest.mark.integration
HERE = Path(__file__).parent / "openfeature"
TASK = "refund-agent/answer"
_LAST = {"incarnation": 1, "position": m.Position(partition=0, offset=1)}


async def run(installation: Installation, *words: str, **environment: str) -> Any:
    """Run a program with the packages of OpenFeature."""
    return await asyncio.to_thread(
        subprocess.run,
        [str(python_of("openfeature")), *words],
        env=installation.environment(**environment),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def the_suites_flags() -> list[tuple[str, m.ActiveVariant, m.VariantCatalogue]]:
    """Return the flags of OpenFeature's suite as tasks of the agent ``suite``, each with its active variant."""
    found = []
    for name, flag in json.loads((HERE / "suite" / "test-flags.json").read_text()).items():
        if flag.get("disabled") or "contextEvaluator" in flag or not flag.get("defaultVariant"):
            continue
        who = {"agent_name": "suite", "task_type": name}
        active = m.ActiveVariant(
            **who,
            variant_id=flag["defaultVariant"],
            epoch=1,
            previous_variant=None,
            quarantined=[],
            pinned=None,
            held=None,
            exploration=0.0,
            mode="enforce",
            since=AT,
            cause="command",
            cause_id="cmd-1",
            policy_hash="0" * 16,
            engine_version="1",
            **_LAST,
        )
        variants = [
            m.RegisteredVariant(
                variant_id=variant_id,
                state="registered",
                quarantined=False,
                configuration=value if isinstance(value, dict) else {"value": value},
            )
            for variant_id, value in flag["variants"].items()
        ]
        found.append((f"suite/{name}", active, m.VariantCatalogue(**who, timestamp=AT, variants=variants, **_LAST)))
    return found


async def test_the_provider_passes_every_scenario_of_openfeatures_own_suite_that_is_about_a_provider(
    installation: Installation,
) -> None:
    python_of("openfeature")
    for key, active, catalogue in the_suites_flags():
        await installation.send(encode(catalogue), key.encode(), VARIANTS)
        await installation.send(encode(active), key.encode(), ACTIVE_VARIANTS)
    program = [str(HERE / "conformance.py"), installation.kafka.bootstrap_servers, installation.kafka.topic_prefix]
    done = await run(installation, *program, str(installation.folder))
    assert done.returncode == 0, done.stderr
    scenarios = [json.loads(line) for line in done.stdout.splitlines()]
    applied = [one for one in scenarios if "failed" in one]
    assert [one for one in applied if one["failed"]] == []
    assert (len(applied), len(scenarios) - len(applied)) == (67, 36), "scenarios that apply, and that do not"


def test_the_provider_keeps_the_laws_of_the_client_and_links_outcomes_to_evaluations() -> None:
    words = ["-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", str(HERE / "provider_cases.py")]
    done = subprocess.run(
        [str(python_of("openfeature")), *words],
        cwd=ROOT,
        env=environment_of_this_checkout(),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5_000:]
    assert "58 passed" in done.stdout


async def test_an_agent_joined_by_openfeature_collapses_and_its_next_session_uses_the_other_variant(
    installation: Installation,
) -> None:
    python = python_of("openfeature")
    await installation.worker()
    for variant, temperature in (("calm", 0.2), ("wild", 1.8)):
        given = json.dumps({"model": "m-1", "temperature": temperature})
        code, _, err = await installation.run_crl("register", TASK, variant, "--configuration", given)
        assert code == 0, err
    code, _, err = await installation.run_crl("activate", TASK, "calm", "--untested")
    assert code == 0, err
    agent = await asyncio.create_subprocess_exec(
        str(python),
        str(ROOT / "examples" / "03_openfeature_agent.py"),
        "0.005",
        env=installation.environment(client_runtime_id="of-1"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert agent.stdout is not None
    try:
        async with asyncio.timeout(240):
            await lines(agent.stdout, "calm", 60)
            code, _, err = await installation.run_crl("activate", TASK, "wild", "--untested")
            assert code == 0, err
            await lines(agent.stdout, "wild", 1)
            rollback = await installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=120.0)
            assert (rollback.from_variant, rollback.to_variant) == ("wild", "calm")
            (line,) = await lines(agent.stdout, f"'rollback_id': '{rollback.rollback_id}'", 1)
            assert " calm " in line and f"'epoch': {rollback.epoch}" in line
            await prove_that_it_moved(installation, rollback, "of-1")
    finally:
        await end(agent)


async def lines(stream: asyncio.StreamReader, text: str, count: int) -> list[str]:
    """Read lines until ``count`` of them contain the text; return those."""
    found: list[str] = []
    while len(found) < count:
        line = (await stream.readline()).decode()
        assert line, "the agent ended"
        if text in line:
            found.append(line)
    return found
