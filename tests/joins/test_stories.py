"""Every way to join has a story: collapse, rollback, the next turn on the other variant, and the proof of who moved."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import PACKAGE, ROOT, environment_of_this_checkout

HERE = Path(__file__).parent
PROOF = "prove_that_it_moved"
_OTHER_HOOKS = "test_hook_stories.py::test_the_same_agent_with_any_other_framework_is_rolled_back_in_the_same_way"
_SPANS = "test_bridges.py::test_an_agent_that_only_emits_spans_collapses_and_its_next_turn_uses_the_other_variant"
_EVENTS = (
    "test_bridges.py::test_an_agent_that_only_sends_cloudevents_collapses_and_its_next_turn_uses_the_other_variant"
)
_FLAGD = (
    "test_sync.py::test_an_agent_joined_by_flagds_own_provider_collapses_and_its_next_session_uses_the_other_variant"
)
_PLAIN_FILE = (
    "test_sync.py::test_an_agent_that_reads_the_plain_file_collapses_and_its_next_session_uses_the_other_variant"
)
_KAFKA = "test_every_way.py::test_an_agent_with_a_plain_kafka_client_collapses_and_its_next_turn_uses_the_other_variant"
STORIES: dict[str, dict[str, str]] = {
    "plain Python": {
        "Client": ("test_plain_client.py::test_the_plain_example_collapses_and_its_next_turn_uses_the_other_variant"),
    },
    "a web service with FastAPI": {
        "Client": "test_fastapi.py::test_a_service_collapses_and_its_next_session_uses_the_other_variant",
    },
    "OpenFeature": {
        "CrlProvider": (
            "test_openfeature.py::"
            "test_an_agent_joined_by_openfeature_collapses_and_its_next_session_uses_the_other_variant"
        ),
    },
    "LangGraph and LangChain": {
        "langgraph": (
            "test_hook_stories.py::"
            "test_an_agent_that_collapses_is_rolled_back_and_its_next_session_uses_the_other_variant"
        ),
    },
    "OpenAI Agents (also pydantic-ai, Claude Agent SDK, CrewAI)": {
        hook: f"{_OTHER_HOOKS}[{hook}]" for hook in ("openai_agents", "pydantic_ai", "claude_agent", "crewai")
    },
    "OpenTelemetry, OpenInference, CloudEvents": {
        "otlp_json": f"{_SPANS}[otlp_json-opentelemetry]",
        "otlp_proto": f"{_SPANS}[otlp_proto-opentelemetry]",
        "OpenInference": f"{_SPANS}[otlp_proto-openinference]",
        "CloudEvents, structured": f"{_EVENTS}[structured]",
        "CloudEvents, binary": f"{_EVENTS}[binary]",
        "the real Collector": (
            "test_bridges.py::test_the_example_that_uses_opentelemetry_only_does_what_its_readme_says"
        ),
    },
    "flagd and Node, without Kafka": {
        "flagd's provider for Node": f"{_FLAGD}[node]",
        "flagd's provider for Python": f"{_FLAGD}[python]",
        "the plain file in Node": f"{_PLAIN_FILE}[node]",
        "the plain file in Go": f"{_PLAIN_FILE}[go]",
    },
    "an optimiser that proposes variants": {
        "GEPA": (
            "test_optimiser.py::test_what_an_optimiser_proposes_is_approved_by_a_person_"
            "and_carried_to_active_by_its_own_outcomes"
        ),
    },
    "prompts in Langfuse or MLflow": {
        "langfuse": "test_mirror_langfuse.py::test_a_rollback_and_a_persons_move_go_through_langfuse",
        "mlflow": (
            "test_mirror_mlflow.py::"
            "test_an_agent_whose_prompts_are_in_mlflow_collapses_and_its_next_turn_uses_the_other_version"
        ),
    },
    "any language with a Kafka client": {client: f"{_KAFKA}[{client}]" for client in ("librdkafka", "node", "go")},
}
"""For each row of the README's table, the ways that it stands for and the test that tells the story of each."""
ALL = [(way, test) for row in STORIES.values() for way, test in row.items()]


def test_every_row_of_the_readmes_table_has_stories() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Join your agents\n")[2].partition("\n## ")[0]
    _, *rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    assert rows == list(STORIES)


def test_every_hook_and_every_prompt_store_has_a_story() -> None:
    ways = {way for way, _ in ALL}
    hooks = {path.stem for path in (ROOT / PACKAGE / "hooks").glob("*.py")} - {"__init__", "watching"}
    stores = {path.stem for path in (ROOT / PACKAGE / "mirrors").glob("*.py")} & {"langfuse", "mlflow"}
    assert (hooks | stores) - ways == set()
    assert len(hooks) == 5 and len(stores) == 2


def test_every_story_is_a_test_that_runs() -> None:
    files = sorted({str(HERE / test.partition("::")[0]) for _, test in ALL})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=environment_of_this_checkout(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    there = {line.removeprefix("tests/joins/") for line in done.stdout.splitlines()}
    assert [test for _, test in ALL if test not in there] == [], done.stderr


def calls_of(file: str) -> dict[str, set[str]]:
    """Return the names that each function of a file calls."""
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return {
        function.name: {getattr(call.func, "id", "") for call in ast.walk(function) if isinstance(call, ast.Call)}
        for function in tree.body
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("test", sorted({test.partition("[")[0] for _, test in ALL}))
def test_every_story_ends_with_the_proof(test: str) -> None:
    file, _, name = test.partition("::")
    calls = calls_of("story.py") | calls_of(file)
    found, left = set[str](), {name}
    while left:
        found |= left
        left = {called for function in left for called in calls.get(function, ())} - found
    assert PROOF in found
