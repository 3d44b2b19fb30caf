"""Agents that report with other systems only, on a real Kafka and with the real packages of those systems."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from installation import Installation

from crl_stream.bridges.kinds import KINDS
from crl_stream.broker.ports import free_port
from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS, DECISIONS, INVOCATIONS, RECEIPTS, ROLLBACKS, TASKS
from joins.collector import collector, program, running
from joins.environments import ROOT, python_of
from joins.langfuse_double import PASSWORD, USER, Langfuse, langfuse
from joins.proof import prove_that_it_moved
from joins.story import (
    AGENT,
    PROGRAMS,
    RUNTIME,
    TASK,
    Agent,
    agent,
    collapse_and_rollback,
    outcomes,
    the_story_of_a_rollback,
)

pytestmark = pytest.mark.integration


def agent_with_spans(installation: Installation, *options: str) -> AbstractAsyncContextManager[Agent]:
    """Start the program ``otel_agent.py`` with the packages of its environment."""
    words = (PROGRAMS / "otel_agent.py", "--kafka", installation.kafka.bootstrap_servers, *options)
    return agent(installation, python_of("bridges"), *words)


async def a_bridge(installation: Installation, name: str, **options: Any) -> Any:
    """Start a worker with one bridge and nothing else, and wait until it is ready."""
    own = {field: str(value) for field, value in options.items() if not field.startswith("bridges_")}
    others = {field: value for field, value in options.items() if field not in own}
    environment = {f"bridges_{name}_{field}": value for field, value in own.items()} | others
    worker = installation.start_worker(("-m", "crl_stream", "worker", "--role", "bridge"), **environment)
    await worker.ready()
    return worker


@asynccontextmanager
async def bridged(installation: Installation, kind: str) -> AsyncIterator[str]:
    """Start a worker, and a bridge that reads a topic; yields the name of the topic, and deletes it in the end."""
    topic = f"{installation.id}-source"
    await installation.worker(profile="guide")
    await a_bridge(installation, "source", kind=kind, topic=topic)
    try:
        yield topic
    finally:
        await remove(installation, topic)


@pytest.mark.parametrize(
    ("encoding", "attributes"),
    [("otlp_json", "opentelemetry"), ("otlp_proto", "opentelemetry"), ("otlp_proto", "openinference")],
)
async def test_an_agent_that_only_emits_spans_collapses_and_its_next_turn_uses_the_other_variant(
    installation: Installation, encoding: str, attributes: str
) -> None:
    async with bridged(installation, "otlp") as topic:
        options = ("--topic", topic, "--encoding", encoding, "--attributes", attributes)
        async with agent_with_spans(installation, *options) as told:
            await the_story_of_a_rollback(installation, told)
    found = await outcomes(installation, 60)
    assert {(one.tokens_input, one.provider, one.model, one.session_id) for one in found} == {
        (120, "local", "model-1", "conversation-1")
    }
    assert all(one.trace_id == one.invocation_id.partition("-")[0] for one in found)


@pytest.mark.parametrize("runtime", [None, RUNTIME])
async def test_spans_that_name_no_epoch_prove_the_move_by_their_variant_and_by_no_receipt(
    installation: Installation, runtime: str | None
) -> None:
    options = ("--no-epoch",) if runtime else ("--no-epoch", "--no-runtime")
    async with (
        bridged(installation, "otlp") as topic,
        agent_with_spans(installation, "--topic", topic, *options) as told,
    ):
        rollback = await collapse_and_rollback(installation, told)
        before = len(await outcomes(installation, 1))
        assert await told.do(3, epoch=rollback.epoch) == [["steady", rollback.epoch]] * 3
        found = await outcomes(installation, before + 3)
        await installation.settled()
    # These are what there is: the first outcomes after the rollback name the other variant.
    assert [one.variant_id for one in found[before:]] == [rollback.to_variant] * 3
    assert {(one.runtime_id, one.active_epoch) for one in found} == {(runtime, None)}
    # Nobody is expected, nobody is called stuck, and nothing claims that somebody has moved.
    assert await installation.messages(RECEIPTS) == []
    assert [one for one in await installation.messages(DECISIONS) if isinstance(one, m.Adoption)] == []
    assert [one for one in await installation.messages(ALERTS) if one.kind == "rollback_stuck"] == []
    code, out, err = await installation.run_crl("runtimes", f"{AGENT}/{TASK}")
    assert code == 0, err
    assert ("NAMES NO EPOCH" if runtime else "No runtime has sent a runtime_id with an outcome yet.") in out + err
    assert await installation.messages(DEAD_LETTERS) == []


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_an_agent_that_only_sends_cloudevents_collapses_and_its_next_turn_uses_the_other_variant(
    installation: Installation, mode: str
) -> None:
    async with bridged(installation, "cloudevents") as topic:
        words = (PROGRAMS / "cloudevents_agent.py", installation.kafka.bootstrap_servers, topic, mode)
        async with agent(installation, python_of("bridges"), *words) as told:
            await the_story_of_a_rollback(installation, told)


@pytest.mark.parametrize("encoding", ["otlp_json", "otlp_proto"])
async def test_what_the_real_collector_writes_is_read(installation: Installation, encoding: str) -> None:
    program()
    topic = f"{installation.id}-spans"
    exporter = {"traces": {"topic": topic, "encoding": encoding}, "partition_traces_by_id": True}
    await installation.worker(profile="guide")
    await a_bridge(installation, "otel", kind="otlp", topic=topic)
    try:
        async with (
            collector(installation.kafka.bootstrap_servers, installation.folder, exporter) as url,
            agent_with_spans(installation, "--to", url) as told,
        ):
            await the_story_of_a_rollback(installation, told)
    finally:
        await remove(installation, topic)


async def test_the_example_that_uses_opentelemetry_only_does_what_its_readme_says(installation: Installation) -> None:
    program()
    folder, port = ROOT / "examples" / "06_otel_only", free_port("127.0.0.1")
    kafka = installation.kafka.bootstrap_servers
    await installation.worker(config=str(folder / "crl.toml"))
    bridge = installation.start_worker(
        ("-m", "crl_stream", "worker", "--role", "bridge"), config=str(folder / "crl.toml")
    )
    await bridge.ready()

    async def turns(*arguments: str) -> list[str]:
        environment = installation.environment() | {
            "XDG_CACHE_HOME": str(installation.folder),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        }
        words = [str(folder / "agent.py"), "--turns", *arguments]
        process = await asyncio.create_subprocess_exec(
            python_of("bridges"), *words, stdout=subprocess.PIPE, env=environment
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return [line.split()[2] for line in out.decode().splitlines()]

    environment = {"OTLP_PORT": str(port), "CRL_BOOTSTRAP_SERVERS": kafka}
    try:
        async with running(folder / "collector.yaml", installation.folder, port, environment):
            assert await turns("30") == ["careful"] * 30
            await outcomes(installation, 30)
            for order in (("register",), ("activate", "--untested")):
                words = ("refund-agent/refund", "bold", "--reason", "a new prompt")
                code, _, err = await installation.run_crl(*order, *words)
                assert code == 0, err
            assert await turns("30") == ["bold"] * 30
            await outcomes(installation, 60)
            rolled_back = asyncio.create_task(installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=120.0))
            while not rolled_back.done():
                await turns("3", "--breaks", "bold")
            rollback = await rolled_back
            assert (rollback.from_variant, rollback.to_variant) == ("bold", "careful")
            assert await turns("1") == ["careful"]
            await prove_that_it_moved(installation, rollback, "refunds-1")
    finally:
        await remove(installation, "otlp_spans")


async def remove(installation: Installation, topic: str) -> None:
    """Delete the topic of the other system."""
    async with installation.admin._admin() as admin:
        await admin.delete_topics([topic])


async def the_forms_of_an_outcome() -> list[tuple[str, list[tuple[str, bytes]], bytes]]:
    """Return the same outcome in every form: its name, headers and value."""
    process = await asyncio.create_subprocess_exec(
        python_of("bridges"), str(PROGRAMS / "outcome_in_every_form.py"), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    return [
        (form, [(name, base64.b64decode(text)) for name, text in headers.items()], base64.b64decode(value))
        for form, headers, value in json.loads(out)
    ]


async def test_one_outcome_in_every_form_lands_in_the_same_window(installation: Installation) -> None:
    spans, events = f"{installation.id}-spans", f"{installation.id}-events"
    await installation.worker(profile="guide")
    options = {"bridges_spans_kind": "otlp", "bridges_spans_topic": spans}
    await a_bridge(installation, "events", kind="cloudevents", topic=events, **options)
    forms = await the_forms_of_an_outcome()
    assert [form for form, _, _ in forms] == ["otlp_json", "otlp_proto", "openinference", "structured", "binary"]
    try:
        for form, headers, value in forms:
            topic = spans if form.startswith("o") else events
            await installation.producer.send_and_wait(topic, value, headers=headers)
            await installation.producer.send_and_wait(topic, value, headers=headers)  # as after a crash of the sender
        found = await outcomes(installation, len(forms))
        snapshot = await installation.wait_for(TASKS, m.TaskSnapshot, lambda one: one.n_duplicates == len(forms))
    finally:
        await remove(installation, spans)
        await remove(installation, events)
    own = {"invocation_id": "-", "trace_id": None}
    assert {from_text(one.timestamp) for one in found} == {1_763_562_603_000}
    assert len({encode(msgspec.structs.replace(one, timestamp="-", **own)) for one in found}) == 1
    [variant] = snapshot.variants
    assert (variant.variant_id, variant.window.outcomes) == ("steady", "S" * len(forms))
    assert await installation.records(DEAD_LETTERS) == []


# -- scores ------------------------------------------------------------------------------------------
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def an_observation(number: int) -> dict[str, Any]:
    return {"subject": {"kind": "observation", "id": f"{number:016x}", "traceId": TRACE}}


async def feedback(installation: Installation, count: int, seconds: float = 60.0) -> list[m.Feedback]:
    """Wait until the log has so many records of scores, and return them, repeated ones too."""
    found: list[m.Feedback] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            there = [received.message for received in await installation.records(INVOCATIONS)]
            found = [one for one in there if isinstance(one, m.Feedback)]
            await asyncio.sleep(0.1)
    return found


async def test_the_stand_in_for_langfuse_keeps_the_contract_of_the_real_package() -> None:
    async with langfuse() as double:
        for number in range(1, 8):
            double.add(
                "helpful", number, f"2026-11-28T10:00:0{number}Z", metadata={"n": number}, **an_observation(number)
            )
        double.add("helpful", True, "2026-11-28T10:01:00Z", subject={"kind": "trace", "id": TRACE})
        words = [str(PROGRAMS / "langfuse_scores.py"), double.url, USER, PASSWORD, "helpful", "2026-11-28T10:00:02Z"]
        process = await asyncio.create_subprocess_exec(python_of("bridges"), *words, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        theirs = list(double.asked)
        double.asked.clear()
        options = KINDS["langfuse"].options.model_validate(langfuse_options(double))
        ours: list[Any] = []
        following = ""
        async with aiohttp.ClientSession(headers=KINDS["langfuse"].pull.headers(options)) as session:
            while True:
                url, query = KINDS["langfuse"].pull.request(options, 1_795_860_002_000, following)
                async with session.get(url, params=query) as response:
                    page = KINDS["langfuse"].pull.read(await response.read())
                ours += page.scores
                if not (following := page.next):
                    break
        assert [{**one, "fromTimestamp": ""} for one in double.asked] == [
            {**one, "fromTimestamp": ""} for one in theirs
        ]
        found = json.loads(out)
        assert [one[1] for one in found] == [json.loads(one.value)["id"] for one in ours]
        assert found[0] == ["ScoreV3_Boolean", "score-8", True, "trace", None]
        assert found[1] == ["ScoreV3_Numeric", "score-7", 7, "observation", {"n": 7}]
        assert len(found) == 7


def langfuse_options(double: Langfuse) -> dict[str, Any]:
    return {
        "kind": "langfuse",
        "url": double.url,
        "public_key": USER,
        "secret_key": PASSWORD,
        "evaluator": "helpful",
        "score_min": 1,
        "score_max": 5,
        "agent_name": AGENT,
        "task_type": TASK,
        "poll_seconds": 0.2,
        "start": "2026-11-28T10:00:00Z",
    }


async def test_scores_of_langfuse_arrive_once_each_although_the_bridge_is_killed(installation: Installation) -> None:
    async with langfuse() as double:
        options = langfuse_options(double)
        for number in range(1, 11):
            double.add("helpful", 1 + number % 5, f"2026-11-28T10:00:{number:02}Z", **an_observation(number))
        double.add("other", 1, "2026-11-28T10:00:30Z", **an_observation(1))
        worker = await a_bridge(installation, "scores", **options)
        await feedback(installation, 10)
        worker.kill()
        double.fails = 2
        double.add("helpful", 5, "2026-11-28T09:59:59Z", **an_observation(11))  # before the start: not ours
        double.add("helpful", 5, "2026-11-28T10:00:00Z", **an_observation(12))  # late, within the overlap
        double.scores[0] |= {"value": 5, "updatedAt": "2026-11-28T10:05:00Z"}  # somebody changed a score
        await a_bridge(installation, "scores", **options)
        found = await feedback(installation, 12)
        double.add("helpful", "good", "2026-11-28T10:02:00Z", **an_observation(13))
        letter = await a_letter(installation)
    assert len(found) == len({one.feedback_id for one in found}) == 12
    assert [(one.quality, one.invocation_id) for one in found[:2]] == [
        (0.25, f"{TRACE}-{1:016x}"),
        (0.5, f"{TRACE}-{2:016x}"),
    ]
    assert {(one.invocation_id[-2:], one.quality) for one in found[10:]} == {("0c", 1.0), ("01", 1.0)}
    assert {(one.agent_name, one.task_type, one.evaluator, one.source) for one in found} == {
        (AGENT, TASK, "helpful", "EVAL")
    }
    assert letter.reason == "wrong_type"


async def a_letter(installation: Installation, seconds: float = 30.0) -> Any:
    """Wait for the first dead letter, and return its reason and origin."""
    async with asyncio.timeout(seconds):
        while not (found := await installation.records(DEAD_LETTERS)):
            await asyncio.sleep(0.1)
    return read_letter(found[0].record.headers)


async def test_a_webhook_of_langsmith_is_answered_once_its_scores_cannot_be_lost(installation: Installation) -> None:
    port, token = free_port("127.0.0.1"), "a-secret-of-the-rule"
    options = {"kind": "langsmith", "port": port, "secret": token, "evaluator": "correct", "agent_name": AGENT}
    worker = await a_bridge(installation, "rules", **options, requests_per_second="4")
    metadata = {"crl.task_type": TASK, "crl.invocation_id": "invocation-1"}
    stats = {"correct": {"n": 2, "avg": 0.75, "values": {}}, "other": {"n": 1, "avg": 0.0}}
    run = {"id": "6ab80f10-d79c-4fa2-b441-922ed6feb630", "extra": {"metadata": metadata}, "feedback_stats": stats}
    payload = {"rule_id": "rule", "runs": [run, {"id": "another", "feedback_stats": None}], "feedback_stats": {}}
    url, headers = f"http://127.0.0.1:{port}/", {"X-CRL-Secret": token}
    async with aiohttp.ClientSession() as session:
        for given, sent, status in (
            ({}, b"{}", 401),
            ({"X-CRL-Secret": "wrong"}, b"{}", 401),
            (headers, b"", 400),
            (headers, b"x" * 1_000_000, 413),
            (headers, json.dumps(payload).encode(), 202),
        ):
            async with session.post(url, data=sent, headers=given) as response:
                assert response.status == status
        worker.kill()
        [score] = await feedback_after_restart(installation, options)
        async with session.post(url, data=b"not JSON", headers=headers) as response:
            assert response.status == 202
        letter = await a_letter(installation)
        answers = []
        for _ in range(40):
            async with session.post(url, data=json.dumps(payload), headers=headers) as response:
                answers.append(response.status)
    assert (score.quality, score.invocation_id, score.evaluator) == (0.75, "invocation-1", "correct")
    assert letter.reason == "not_json"
    assert {202, 429} == set(answers)
    repeated = await feedback(installation, 1 + answers.count(202))
    assert len({one.feedback_id for one in repeated}) == 1


async def feedback_after_restart(installation: Installation, options: dict[str, Any]) -> list[m.Feedback]:
    await a_bridge(installation, "rules", **options, requests_per_second="4")
    return await feedback(installation, 1)
