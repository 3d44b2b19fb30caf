"""The hooks are found by listing their folder; each is optional, tested, and described."""

from __future__ import annotations

import importlib
import importlib.util
import re

import pytest
from source_tree import PACKAGE, ROOT

FOLDER = ROOT / PACKAGE / "hooks"
HOOKS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in {"__init__", "watching"})
ANNOUNCED = {
    "claude_agent": ("claude_agent_sdk", "claude-agent-sdk"),
    "crewai": ("crewai", "crewai"),
    "langgraph": ("langchain_core", "langgraph"),
    "openai_agents": ("agents", "openai-agents"),
    "pydantic_ai": ("pydantic_ai", "pydantic-ai-slim"),
}
FOUR = ("stream", "cancelled", "nested|handoffs", "retr")
"""What must count once with every hook, as the names of its checks say it."""


def test_every_hook_is_announced() -> None:
    assert sorted(ANNOUNCED) == HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_without_its_framework_says_in_one_sentence_what_to_install(name: str) -> None:
    library, package = ANNOUNCED[name]
    if importlib.util.find_spec(library) is not None:
        pytest.skip(f"{library} is installed here")
    with pytest.raises(ImportError) as raised:
        importlib.import_module(f"{PACKAGE}.hooks.{name}")
    said = str(raised.value)
    assert said.startswith(f"{PACKAGE}.hooks.{name} needs ")
    assert said.endswith(f": pip install {package}")


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_and_checks_streams_cancellations_nesting_and_retries(name: str) -> None:
    assert f"`{PACKAGE}.hooks.{name}." in (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    checks = (ROOT / "tests" / "joins" / "hook_checks" / f"checks_{name}.py").read_text(encoding="utf-8")
    names = re.findall(r"^def (test_\w+)", checks, re.MULTILINE)
    assert [topic for topic in FOUR if not any(re.search(topic, check) for check in names)] == []
    assert (ROOT / "tests" / "joins" / f"test_hooks_{name}.py").exists()
